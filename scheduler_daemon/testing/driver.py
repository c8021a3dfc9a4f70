"""From one event to the next, with a clock that stands in between."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast
from uuid import UUID

from scheduler_daemon.clock import Clock
from scheduler_daemon.ledger.claims import Claims
from scheduler_daemon.ledger.values import Retry, StoredRun
from scheduler_daemon.model import Outcome, RunKind, RunStatus
from scheduler_daemon.runner.book import Book
from scheduler_daemon.runner.dispatcher import Dispatcher, Request
from scheduler_daemon.runner.planning import Timetable
from scheduler_daemon.runner.pool import Pool
from scheduler_daemon.runner.retries import retry_of, retry_of_stored
from scheduler_daemon.testing.stage import Performance, Stage
from scheduler_daemon.testing.values import Outage

_TICK = timedelta(microseconds=1)


class VirtualClock(Clock):
    """Stands where it was set."""

    def __init__(self, now: datetime) -> None:
        super().__init__()
        self._now = now.astimezone(UTC)

    def set(self, now: datetime) -> None:
        self._now = now.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def offset(self) -> timedelta:
        return self._now - datetime.now(UTC)


class Ledger(Protocol):
    """What the driver needs of a ledger, besides what the dispatcher does."""

    async def end(self, outcome: Outcome, retry: Retry | None) -> None: ...
    async def live(self) -> list[StoredRun]: ...


class Driver:
    """`ledgers`: the dispatcher's side of the ledger, and the driver's.

    At one moment, in this order: an outage ends, what is due is claimed, runs end, an outage begins. So a
    run that takes as long as its job's interval is in the way of the next one, as it would be.
    """

    def __init__(self, clock: VirtualClock, ledgers: tuple[Claims, Ledger], stage: Stage, book: Book) -> None:
        self._clock = clock
        self._claims, self._ledger = ledgers
        self._stage = stage
        self._book = book
        self._fires: list[tuple[datetime, int, Timetable, Sequence[str]]] = []
        self._wakes: list[tuple[datetime, str]] = []
        self._outage: Outage | None = None
        self._ahead: list[Outage] = []
        self._started: dict[str, float] = {}
        self._unrecorded: list[Performance] = []
        self._to_cancel: list[UUID] = []

    async def play(self, end: datetime, outages: Sequence[Outage]) -> None:
        """Until `end`; every instant before it has its disposition then, unless an outage lasts until it."""
        self._ahead = list(outages)
        await self._begin()
        while (at := self._next()) is not None and at < end:
            self._clock.set(at)
            if self._outage is not None and self._outage.end == at:
                await self._resume(self._outage)
            await self._fire(at)
            await self._end_runs()
            if self._outage is None and self._ahead and self._ahead[0].start == at:
                self._halt(self._ahead.pop(0))
        if self._outage is None:
            self._clock.set(end - _TICK)
            await self._dispatcher.settle()
            await self._end_runs()

    def _next(self) -> datetime | None:
        """When something happens next."""
        moments = [fire[0] for fire in self._fires[:1]]
        if self._outage is not None:
            moments.append(self._outage.end)
        elif self._ahead:
            moments.append(self._ahead[0].start)
        if self._outage is None:
            moments += [wake[0] for wake in self._wakes[:1]]
        ends = self._stage.next_end()
        if ends is not None and (self._outage is None or self._outage.reason == "database_down"):
            moments.append(ends)
        return min(moments, default=None)

    async def _begin(self) -> None:
        """A start of the daemon: what the one before left is settled, startup jobs go first."""
        dispatcher = Dispatcher(
            claims=self._claims,
            book=self._book,
            pool=cast(Pool, self._stage),  # as much of one as a dispatcher uses
            clock=self._clock,
            scope="",
        )
        dispatcher.on_cancel = self._to_cancel.extend
        dispatcher.readiness.began(self._clock.now(), alone=True)
        self._dispatcher = dispatcher
        for run in await self._ledger.live():
            await self._settle(run)
        await self._hand_out_startup()
        dispatcher.due(self._book.jobs)
        self._set_timers()
        await self._turn()

    async def _hand_out_startup(self) -> None:
        now = self._clock.now()
        for name, job in self._book.jobs.items():
            if job.info is not None and job.info.run_on_startup and self._book.effectively_enabled(name, now):
                wanted = Request(spec=job.spec, kind=RunKind.STARTUP, actor="startup", queue=True)
                await self._dispatcher.request(wanted)

    async def _settle(self, run: StoredRun) -> None:
        """A run that an earlier daemon left: running ones are lost, queued ones are taken over."""
        now, spec = self._clock.now(), self._book.jobs[run.job].spec
        if run.status is RunStatus.RUNNING:
            outcome = Outcome(
                run_id=str(run.id),
                status=RunStatus.LOST,
                started_at=self._started.get(str(run.id)),
                finished_at=now.timestamp(),
                reason="daemon_died",
            )
            await self._end(outcome, retry_of_stored(spec, run, now.timestamp()), run.concurrency)
        elif run.waiting == "worker":
            order = self._dispatcher.order(run, str(run.claim_token))
            assert order is not None
            self._dispatcher.waiting.ready[run.id] = order
        else:
            self._wake_later(run.not_before or now, run.concurrency)

    def _set_timers(self) -> None:
        now, numbers = self._clock.now(), itertools.count()
        tables = self._book.tables().items()
        due = ((table.next_after(now), next(numbers), table, names) for table, names in tables)
        self._fires = [(at, number, table, names) for at, number, table, names in due if at is not None]
        heapq.heapify(self._fires)

    async def _fire(self, at: datetime) -> None:
        if self._outage is not None:
            return
        woken = False
        while self._fires and self._fires[0][0] == at:
            _, number, table, names = self._fires[0]
            self._dispatcher.due(names)
            following = table.next_after(at)
            if following is None:
                heapq.heappop(self._fires)
            else:
                heapq.heapreplace(self._fires, (following, number, table, names))
            woken = True
        while self._wakes and self._wakes[0][0] <= at:
            self._dispatcher.waiting.add(heapq.heappop(self._wakes)[1])
            woken = True
        if woken:
            await self._turn()

    async def _turn(self) -> None:
        await self._dispatcher.step()
        while self._to_cancel:
            run_id = self._to_cancel.pop()
            if not await self._dispatcher.end_queued([run_id], reason="cancelled", message=""):
                self._stage.cancel(str(run_id), "cancelled")

    def _halt(self, outage: Outage) -> None:
        self._outage = outage
        self._fires.clear()
        if outage.reason == "daemon_down":
            self._started = self._stage.clear()
            self._wakes.clear()
        elif outage.reason == "database_down":
            self._dispatcher.readiness.hold[outage.reason] = "the database is away"

    async def _resume(self, outage: Outage) -> None:
        self._outage = None
        if outage.reason == "daemon_down":
            await self._begin()
            return
        if outage.reason == "suspended":
            self._stage.stand_still(outage.end - outage.start)
        for run in self._unrecorded:
            await self._record(run)
        self._unrecorded.clear()
        readiness = self._dispatcher.readiness
        readiness.hold.clear()
        readiness.ended(outage.start, outage.reason)
        self._dispatcher.waiting.look_at_all()
        self._set_timers()
        await self._turn()

    async def _end_runs(self) -> None:
        if self._outage is not None and self._outage.reason != "database_down":
            return
        while ended := self._stage.ended():
            if self._outage is not None:
                self._unrecorded += ended
                continue
            for run in ended:
                await self._record(run)
            if len(self._dispatcher.waiting):
                await self._turn()

    async def _record(self, run: Performance) -> None:
        outcome = run.outcome()
        await self._end(outcome, retry_of(run.order, outcome), run.order.spec.concurrency_key)

    async def _end(self, outcome: Outcome, retry: Retry | None, key: str) -> None:
        await self._ledger.end(outcome, retry)
        if retry is not None:
            self._wake_later(datetime.fromtimestamp(retry.not_before, tz=UTC), key)
        self._dispatcher.waiting.freed(key)

    def _wake_later(self, at: datetime, key: str) -> None:
        heapq.heappush(self._wakes, (max(at, self._clock.now()), key))
