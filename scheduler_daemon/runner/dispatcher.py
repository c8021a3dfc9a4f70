"""Turns what is due into runs: plan, claim, hand over. Every occurrence ends with one row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from scheduler_daemon.clock import Clock
from scheduler_daemon.errors import DatabaseUnavailableError
from scheduler_daemon.ledger.claims import Claims, Granted, OtherRevisionError
from scheduler_daemon.ledger.values import NewRun, StoredRun, new_run_id
from scheduler_daemon.model import JobSpec, Overlap, RunKind, RunStatus
from scheduler_daemon.runner.book import Book
from scheduler_daemon.runner.claiming import claims_of
from scheduler_daemon.runner.orders import RunOrder
from scheduler_daemon.runner.planning import Outage, Situation
from scheduler_daemon.runner.pool import Pool
from scheduler_daemon.runner.rollover import Turnover

CLAIM_AT_ONCE = 250
MAX_SKEW = timedelta(seconds=5)
EARLY = timedelta(seconds=1)
RETRY_S = 0.5
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A run outside the plan. `spec` may be of a job that no entry of the configuration schedules."""

    spec: JobSpec
    kind: RunKind = RunKind.MANUAL
    parameters: Mapping[str, Any] = field(default_factory=dict)
    actor: str | None = None
    queue: bool = False


class Dispatcher:
    """One loop. `due()` says that there may be work; `step()` does all there is.

    `hold` maps reasons (the database is away, the clock is off, …) for which nothing is claimed. `turning` is
    the task that makes, or last made, a turn; `turned_at` when one last came a step further.
    """

    def __init__(self, *, claims: Claims, book: Book, pool: Pool, clock: Clock, scope: str) -> None:
        self.book = book
        self.hold: dict[str, str] = {}
        self.able_since = clock.now()
        self.outages: list[Outage] = []
        self.skew = timedelta(0)
        self.turned_at = time.monotonic()
        self.turning: asyncio.Task[Any] | None = None
        self.before_turn: Callable[[], None] = lambda: None
        self.on_outage: Callable[[Outage], None] = lambda outage: None
        self.on_cancel: Callable[[list[UUID]], None] = lambda ids: None
        self._claims = claims
        self._pool = pool
        self._clock = clock
        self._scope = scope
        self._due: set[str] = set()
        self._keys: set[str] = set()
        self._waiting_keys: set[str] = set()
        self._ready: dict[UUID, RunOrder] = {}
        self._held_since: dict[str, datetime] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._loop(), name="dispatcher")

    async def stop(self) -> None:
        """Nothing is claimed any more when this returns."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def due(self, jobs: Iterable[str]) -> None:
        self._due.update(jobs)
        self._wake.set()

    def key_freed(self, key: str) -> None:
        """A run under this key has ended, or a retry's time has come: what waits for it may start."""
        if key in self._waiting_keys:
            self._keys.add(key)
            self._wake.set()

    def waits(self, key: str) -> None:
        """Something under this key waits; look after it."""
        self._waiting_keys.add(key)
        self._keys.add(key)
        self._wake.set()

    def look_at_waiting(self) -> None:
        """Runs on other nodes end without a word."""
        if self._waiting_keys:
            self._keys |= self._waiting_keys
            self._wake.set()

    def hold_for(self, reason: str, message: str) -> None:
        """Claim nothing until `release(reason)`; what comes due meanwhile is a misfire for that reason."""
        if reason not in self.hold:
            self._held_since.setdefault(reason, self._clock.now())
            log.warning("claiming is held", reason=reason, why=message)
        self.hold[reason] = message

    def release(self, reason: str) -> None:
        if self.hold.pop(reason, None) is not None:
            log.info("claiming goes on", reason=reason)
            self.outage_ended(self._held_since.pop(reason, self._clock.now()), reason)

    @property
    def waiting(self) -> int:
        """How many runs, or keys under which runs wait, this daemon knows of."""
        return len(self._ready) + len(self._waiting_keys)

    def knows(self, run_id: UUID) -> bool:
        return run_id in self._ready or self._pool.knows(str(run_id))

    def poke(self) -> None:
        """Make a turn, whether or not there is anything to do: `turned_at` (monotonic) follows."""
        self._wake.set()

    def free(self) -> None:
        """A worker has room."""
        if self._ready and self._pool.thirsty:
            self._wake.set()

    def began(self, now: datetime, *, alone: bool) -> None:
        """A start: what came due before it was missed. Beside other nodes, the last minute is left to them
        first, and is then late, not missed.
        """
        self.able_since = now if alone else now - timedelta(minutes=1)
        self.outages.append(Outage(start=BEGINNING, end=self.able_since, reason="daemon_down"))

    def outage_ended(self, start: datetime, reason: str) -> None:
        """Nothing could run since `start`; from now on it can."""
        now = self._clock.now()
        self.outages = [o for o in self.outages if o.end > now - timedelta(days=1)]
        outage = Outage(start=start, end=now, reason=reason)
        self.outages.append(outage)
        self.on_outage(outage)
        self.able_since = now
        self.due(self.book.jobs)

    async def request(self, wanted: Request) -> tuple[NewRun, UUID | None]:
        """Claim a run outside the plan and hand it over.

        Returns the run (not live, if it collides and may not queue) and the id of the run in its way.
        """
        spec = wanted.spec
        run = NewRun(
            id=new_run_id(),
            job=spec.name,
            scope=self._scope_of(spec),
            kind=wanted.kind,
            status=RunStatus.SKIPPED,
            concurrency=spec.concurrency_key,
            planned=False,
            parameters=dict(wanted.parameters),
            actor=wanted.actor,
        )
        token, blocker = await self._claims.add(
            run,
            concurrent=spec.overlap is Overlap.ALLOW,
            queue=wanted.queue,
            capacity=self._pool.capacity,
        )
        if run.status.live:
            self._hand_over([run], token)
        return run, blocker

    async def settle(self) -> None:
        """Everything due up to now has its row when this returns (unless the database is away)."""
        self._due.update(self.book.jobs)
        await self.step()

    async def step(self) -> bool:
        """Do all there is; whether there was anything.

        1. start what waited for a worker, as far as there is room;
        2. start what waited for another run to end;
        3. plan the due jobs from their watermarks, and claim the result in batches;
        4. a stale watermark is read from the claim's answer, and the rest planned again.
        """
        async with self._turn:
            self.turning = asyncio.current_task()
            self.before_turn()
            if self.hold:
                self.turned_at = time.monotonic()
                return False
            worked = await self._start_granted()
            worked = await self._start_waiting() or worked
            due, self._due = self._due, set()
            try:
                while due:
                    worked = True
                    due = await self._claim_all(due)
            except BaseException:
                self._due |= due
                raise
            self.turned_at = time.monotonic()
            return worked

    async def turn_over(self, change: Callable[[], Awaitable[Turnover]]) -> None:
        """Between two turns: another book, and what settling the old one granted."""
        async with self._turn:
            self.turning = asyncio.current_task()
            turnover = await change()
            self.book = turnover.old
            if turnover.granted is not None:
                self._after(turnover.granted)
            self.book = turnover.book
        self.due(self.book.jobs)

    def adopt(self, runs: Sequence[StoredRun], token: UUID | None = None) -> None:
        """Live rows that are this daemon's, and that nobody has in hand: run them, or let them wait."""
        for run in runs:
            if run.waiting in ("overlap", "retry"):
                self.waits(run.concurrency)
            elif not self._pool.knows(str(run.id)):
                order = self._order(run, str(token or run.claim_token))
                if order is None:
                    continue
                if run.status is RunStatus.QUEUED:
                    self._ready[run.id] = order
                else:
                    self._pool.submit([order])
        self._wake.set()

    async def end_queued(self, ids: Sequence[UUID], *, reason: str, message: str) -> set[UUID]:
        """End runs that have not started; those that are no longer queued are left alone."""
        ended = await self._claims.end_queued(ids, reason=reason, message=message)
        for run_id in ended:
            self._ready.pop(run_id, None)
        return ended

    async def _loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.step()
            except DatabaseUnavailableError as error:
                log.debug("claiming stopped", why=str(error))
                self.turned_at = time.monotonic()
                self._again()
            except OtherRevisionError as other:
                self.hold_for("other_revision", f"revision {str(other)[:12]} of another node is in force")
            except Exception:
                log.exception("a turn of the dispatcher failed; it is tried again")
                self._again()

    def _again(self) -> None:
        asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)

    async def _start_granted(self) -> bool:
        room = self._pool.capacity
        if not self._ready or room <= 0:
            return False
        chosen = dict(list(self._ready.items())[:room])
        started, token = await self._claims.start_granted(list(chosen))
        for run_id in chosen:
            self._ready.pop(run_id, None)
        self._pool.submit(replace(chosen[i], token=str(token)) for i in chosen if i in started)
        return True

    async def _start_waiting(self) -> bool:
        keys, self._keys = self._keys, set()
        if not keys:
            return False
        try:
            started = await self._claims.start_next(keys, self._concurrent, self._eligible)
        except BaseException:
            self._keys |= keys
            raise
        self._waiting_keys -= keys - {run.concurrency for run, _ in started}
        self._waiting_keys |= await self._claims.keys_waiting(keys)
        orders = [self._order(run, str(token)) for run, token in started]
        self._pool.submit(order for order in orders if order is not None)
        return bool(started)

    async def _claim_all(self, due: set[str]) -> set[str]:
        """Claim in batches; the jobs whose watermark had moved come back."""
        claims = claims_of(self.book, due, self.situation(self._clock.now()))
        again: set[str] = set()
        for start in range(0, len(claims), CLAIM_AT_ONCE):
            batch = claims[start : start + CLAIM_AT_ONCE]
            again |= self._after(await self._claims.claim(batch, self._pool.capacity))
            self.turned_at = time.monotonic()
        return again

    def situation(self, now: datetime) -> Situation:
        """An instant later than the database's clock + 1 s waits."""
        shared = min(now, now + self.skew + EARLY)
        return Situation(now=shared, able_since=self.able_since, outages=self.outages)

    def _after(self, granted: Granted) -> set[str]:
        decision = granted.decision
        for name, _, watermark, _, _ in decision.watermarks:
            if job := self.book.jobs.get(name):
                job.watermark = watermark
        stale: set[str] = set()
        for name, _, watermark in decision.stale:
            if job := self.book.jobs.get(name):
                job.watermark = watermark
                stale.add(name)
        self.skew = granted.at - self._clock.now()
        self._hand_over(decision.runs(), granted.token)
        if decision.to_cancel:
            self.on_cancel(decision.to_cancel)
        return stale

    def _hand_over(self, runs: Sequence[NewRun], token: UUID) -> None:
        now: list[RunOrder] = []
        for run in runs:
            if run.waiting == "overlap":
                self._waiting_keys.add(run.concurrency)
                continue
            order = self._order(run, str(token))
            if order is None:
                continue
            if run.waiting is None:
                now.append(order)
            else:
                self._ready[run.id] = order
        self._pool.submit(now)

    def _order(self, run: NewRun | StoredRun, token: str) -> RunOrder | None:
        """None if the job has left the configuration since."""
        spec = self.book.spec(run.job)
        if spec is None:
            return None
        return RunOrder(
            id=str(run.id),
            token=token,
            spec=spec,
            kind=run.kind,
            scope=run.scope,
            attempt=run.attempt,
            first_run=run.first_run,
            scheduled_for=run.scheduled_for,
            parameters={**spec.parameters, **(run.parameters or {})},
            isolate=self._isolate(spec.name),
        )

    def _isolate(self, name: str) -> str | None:
        job = self.book.jobs.get(name)
        return job.spec.extension if job is not None and job.isolate else None

    def _concurrent(self, name: str) -> bool:
        spec = self.book.spec(name)
        return spec is not None and spec.overlap is Overlap.ALLOW

    def _eligible(self, name: str, scope: str) -> bool:
        return scope in ("", self._scope) and self.book.spec(name) is not None

    def _scope_of(self, spec: JobSpec) -> str:
        return self._scope if spec.nodes == "every" else ""
