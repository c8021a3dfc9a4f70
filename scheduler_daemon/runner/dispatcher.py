"""Turns what is due into runs: plan, claim, hand over. Every occurrence ends with one row."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog

from scheduler_daemon.clock import Clock
from scheduler_daemon.errors import DatabaseUnavailableError, OtherRevisionError
from scheduler_daemon.ledger.claims import Claims, Granted
from scheduler_daemon.ledger.values import Claim, Decision, NewRun, StoredRun, new_run_id
from scheduler_daemon.model import JobSpec, Overlap, RunKind, RunStatus
from scheduler_daemon.runner.book import Book
from scheduler_daemon.runner.claiming import claims_of
from scheduler_daemon.runner.orders import RunOrder
from scheduler_daemon.runner.planning import Outage
from scheduler_daemon.runner.pool import Pool
from scheduler_daemon.runner.readiness import Readiness
from scheduler_daemon.runner.rollover import Turnover
from scheduler_daemon.runner.waiting import Waiting
from scheduler_daemon.tasks import end

CLAIM_AT_ONCE = 500
BATCHES = 6
CLAIMS_UNDER_WAY = 2
"""While the database writes one batch, the next is made ready."""
RETRY_S = 0.5
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

    `turning` are the tasks that make, or last made, a turn; `turned_at` (monotonic) when one last came a step
    further.
    """

    def __init__(self, *, claims: Claims, book: Book, pool: Pool, clock: Clock, scope: str) -> None:
        self.book = book
        self.readiness = Readiness(clock)
        self.readiness.on_end = self._outage_ended
        self.waiting = Waiting(claims, pool, self.poke)
        self.on_outage: Callable[[Outage], None] = lambda outage: None
        self.turned_at = time.monotonic()
        self.turning: Collection[asyncio.Task[Any] | None] = ()
        self.before_turn: Callable[[], None] = lambda: None
        self.on_cancel: Callable[[list[UUID]], None] = lambda ids: None
        self.on_decided: Callable[[Decision], None] = lambda decision: None
        self._claims = claims
        self._pool = pool
        self._clock = clock
        self._scope = scope
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._loop(), name="dispatcher")

    async def stop(self) -> None:
        """Nothing is claimed any more when this returns."""
        if self._task is not None:
            await end([self._task])
            self._task = None

    def due(self, jobs: Iterable[str]) -> None:
        self._due.update(jobs)
        self._wake.set()

    def _outage_ended(self, outage: Outage) -> None:
        """Every job may have something due."""
        self.on_outage(outage)
        self.due(self.book.jobs)

    def poke(self) -> None:
        """Make a turn, whether or not there is anything to do: `turned_at` (monotonic) follows."""
        self._wake.set()

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
            self.turning = (asyncio.current_task(),)
            self.before_turn()
            began = self._clock.now()
            if self.readiness.hold:
                self.turned_at = time.monotonic()
                return False
            worked = await self.waiting.start_ready()
            worked = await self.waiting.start_next(self.book, self._scope, self.order) or worked
            due, self._due = self._due, set()
            try:
                while due:
                    worked = True
                    due = await self._claim_all(due)
            except BaseException:
                self._due |= due
                raise
            self.turned_at = time.monotonic()
            self.readiness.settled = began
            return worked

    async def turn_over(self, change: Callable[[], Awaitable[Turnover]]) -> None:
        """Between two turns: another book, and what settling older ones granted."""
        async with self.between_turns():
            turnover = await change()
            for book, granted in turnover.settled:
                self.book = book
                self._after(granted)
            self.book = turnover.book
        self.due(self.book.jobs)

    @contextlib.asynccontextmanager
    async def between_turns(self) -> AsyncIterator[None]:
        """No turn is under way, and none begins."""
        async with self._turn:
            self.turning = (asyncio.current_task(),)
            yield
        self.poke()

    async def end_queued(self, ids: Sequence[UUID], *, reason: str, message: str) -> set[UUID]:
        """End runs that have not started; those that are no longer queued are left alone."""
        ended = await self._claims.end_queued(ids, reason=reason, message=message)
        for run_id, key in ended.items():
            self.waiting.drop(run_id)
            self.waiting.add(key)
        return set(ended)

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
                self.readiness.hold_for("other_revision", str(other))
            except Exception:
                log.exception("a turn of the dispatcher failed; it is tried again")
                self._again()

    def _again(self) -> None:
        asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)

    async def _claim_all(self, due: set[str]) -> set[str]:
        """Claim in batches; the jobs whose watermark had moved come back."""
        early = self.readiness.too_early.total_seconds()
        if early:
            asyncio.get_running_loop().call_later(early + 0.01, self.due, tuple(due))
        claims = claims_of(self.book, due, self.readiness.situation(self._clock.now()))
        at_once = max(CLAIM_AT_ONCE, -(-len(claims) // BATCHES))
        starts = range(0, len(claims), at_once)
        batches = iter([claims[start : start + at_once] for start in starts])
        if len(starts) < 2:
            return await self._claim_each(batches)
        lanes = [asyncio.create_task(self._claim_each(batches)) for _ in range(CLAIMS_UNDER_WAY)]
        self.turning = lanes
        await asyncio.gather(*lanes, return_exceptions=True)
        return {job for lane in lanes for job in lane.result()}

    async def _claim_each(self, batches: Iterator[Sequence[Claim]]) -> set[str]:
        again: set[str] = set()
        for batch in batches:
            with self._pool.expecting(len(batch)) as room:
                granted = await self._claims.claim(batch, room)
            again |= self._after(granted)
            self.turned_at = time.monotonic()
        return again

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
        self._hand_over(decision.runs(), granted.token)
        if decision.to_cancel:
            self.on_cancel(decision.to_cancel)
        self.on_decided(decision)
        return stale

    def _hand_over(self, runs: Sequence[NewRun], token: UUID) -> None:
        now: list[RunOrder] = []
        proof = str(token)
        for run in runs:
            if run.waiting == "overlap":
                self.waiting.keys.add(run.concurrency)
                continue
            order = self.order(run, proof)
            if order is None:
                continue
            if run.waiting is None:
                now.append(order)
            else:
                self.waiting.ready[run.id] = order
        self._pool.submit(now)

    def order(self, run: NewRun | StoredRun, token: str) -> RunOrder | None:
        """None if the job has left the configuration since."""
        spec = self.book.spec(run.job)
        if spec is None:
            return None
        own = run.parameters
        return RunOrder(
            id=str(run.id),
            token=token,
            spec=spec,
            kind=run.kind,
            scope=run.scope,
            attempt=run.attempt,
            first_run=run.first_run,
            scheduled_for=run.scheduled_for,
            parameters={**spec.parameters, **own} if own else spec.parameters,
            isolate=self._isolate(spec.name),
            told=None if own else self.book.told(spec),
        )

    def _isolate(self, name: str) -> str | None:
        job = self.book.jobs.get(name)
        return job.spec.extension if job is not None and job.isolate else None

    def _scope_of(self, spec: JobSpec) -> str:
        return self._scope if spec.nodes == "every" else ""
