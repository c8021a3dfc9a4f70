"""Writes what happened, in batches, within 30 ms; at once what nothing else could join; to disk while the
database is away.

Order is kept: nothing goes to the database while older batches are still in the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import structlog

from scheduler_daemon.errors import DatabaseUnavailableError
from scheduler_daemon.ledger.outcomes import Batch, Ending, Outcomes, Start
from scheduler_daemon.model import LogRecord, Outcome
from scheduler_daemon.runner.orders import RunOrder
from scheduler_daemon.runner.spool import Spool
from scheduler_daemon.tasks import end

DELAY_S = 0.03
FULL_DISK_S = 1.0
LAST_PATIENCE_S = 10.0
MAX_LOGS_HELD = 20_000
LOGS_AT_ONCE = 2_500
log = structlog.get_logger(__name__)


class Recorder:
    """`on_recorded(endings)` is called once they are in the database (or, while it is away, on disk)."""

    def __init__(self, outcomes: Outcomes, spool: Spool) -> None:
        self.on_recorded: Callable[[list[Ending]], None] = lambda endings: None
        self.disk_low = False
        self.logs_lost = 0
        self._outcomes = outcomes
        self._spool = spool
        self._batch = Batch()
        self._under_way = Batch()
        self._starting: dict[str, RunOrder] = {}
        self._replaying = asyncio.Lock()
        self._wake = asyncio.Event()
        self._at_once = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._write_for_ever(), name="recorder")

    async def stop(self) -> None:
        """Everything told so far is in the database, or on disk, when this returns: within a time in which
        whoever stops us does not lose patience, also where the database gives no answer.
        """
        self._stopping = True
        self._at_once.set()
        self._wake.set()
        task, self._task = self._task, None
        if task is None:
            return
        _, unanswered = await asyncio.wait([task], timeout=LAST_PATIENCE_S)
        if unanswered:
            log.warning("the database gives no answer; what it has not heard is kept on disk")
            await end([task])
            for batch in (self._under_way, self._batch):
                await self._keep(batch)

    def started(self, start: Start, order: RunOrder) -> None:
        self._batch.starts.append(start)
        self._starting[order.id] = order
        self._wake.set()

    def ended(self, ending: Ending, *, alone: bool = False) -> None:
        """`alone`: no other run is in hand, whose end could go into the same batch."""
        self._batch.endings.append(ending)
        if alone:
            self._at_once.set()
        self._wake.set()

    def logged(self, record: LogRecord) -> None:
        if self.disk_low or len(self._batch.logs) >= MAX_LOGS_HELD:
            self.logs_lost += 1
            return
        self._batch.logs.append(record)
        self._wake.set()

    @property
    def spooled(self) -> int:
        """Bytes on disk that wait for the database."""
        return self._spool.size

    async def flushed(self) -> None:
        """Returns when all that was told before this call is written."""
        if self._task is None:
            return
        written = asyncio.get_running_loop().create_future()
        self._waiters.append(written)
        self._at_once.set()
        self._wake.set()
        await written

    async def replay(self) -> None:
        """Write what an outage, or an earlier daemon, left on disk; oldest first.

        Raises DatabaseUnavailableError; what is left then is still on disk.
        """
        async with self._replaying:
            for batch in self._spool.batches():
                await self._put(batch)
            lost, unreadable = self._spool.clear()
        if lost:
            log.warning("log lines lost while the database was away", lines=lost)
        if unreadable:
            log.error("lines of the spool could not be read", lines=unreadable)

    async def _write_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._stopping:
                await self._wait_for_others()
            batch = self._take()
            self._log_starts(batch)
            waiters: list[asyncio.Future[None]] = []
            if not self._batch:
                waiters, self._waiters = self._waiters, []
            self._under_way = batch
            kept = await self._write(batch) if batch else True
            self._under_way = Batch()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
            if self._stopping and not (self._batch and kept):
                return

    def _take(self) -> Batch:
        """What has come in; of a flood of log lines a part: other runs' outcomes do not wait for all."""
        batch, self._batch = self._batch, Batch()
        if len(batch.logs) > LOGS_AT_ONCE:
            batch.logs, rest = batch.logs[:LOGS_AT_ONCE], batch.logs[LOGS_AT_ONCE:]
            runs = {record.run_id for record in rest}
            waiting = [ending for ending in batch.endings if ending.outcome.run_id in runs]
            batch.endings = [ending for ending in batch.endings if ending.outcome.run_id not in runs]
            self._batch = Batch(endings=waiting, logs=rest)
            self._at_once.set()
            self._wake.set()
        return batch

    async def _wait_for_others(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._at_once.wait(), DELAY_S)
        self._at_once.clear()

    def _log_starts(self, batch: Batch) -> None:
        """Each run's start goes to its log; of a run that has ended already, its end says when it started."""
        starting, self._starting = self._starting, {}
        for ending in batch.endings:
            starting.pop(ending.outcome.run_id, None)
        at = {start.run_id: start.at for start in batch.starts} if starting else {}
        batch.logs.extend(_start_line(order, at[run_id]) for run_id, order in starting.items())

    async def _write(self, batch: Batch) -> bool:
        try:
            if self._spool:
                await self.replay()
            await self._put(batch)
        except DatabaseUnavailableError:
            if not await self._keep(batch):
                return False
        try:
            self.on_recorded(batch.endings)
        except Exception:
            log.exception("what follows the end of a run failed")
        return True

    async def _keep(self, batch: Batch) -> bool:
        """On disk, or where that is full in memory, all but the logs, until one of the two takes it."""
        try:
            self._spool.append(batch)
        except OSError as error:
            log.error("outcomes can be kept nowhere but in memory", why=str(error), logs_lost=len(batch.logs))
            self.logs_lost += len(batch.logs)
            self._batch.starts[:0] = batch.starts
            self._batch.endings[:0] = batch.endings
            if not self._stopping:
                await asyncio.sleep(FULL_DISK_S)
                self._wake.set()
            return False
        return True

    async def _put(self, batch: Batch) -> None:
        """Write a batch; one that the database refuses is written piece by piece, without what it refuses."""
        try:
            await self._outcomes.write(batch)
        except DatabaseUnavailableError:
            raise
        except Exception:
            log.exception("a batch was refused; its parts are written one by one", endings=len(batch.endings))
            for part in _parts(batch):
                await self._put_part(part)

    async def _put_part(self, part: Batch) -> None:
        for attempt in (part, _bare(part)):
            try:
                await self._outcomes.write(attempt)
            except DatabaseUnavailableError:
                raise
            except Exception as error:
                log.error("refused", why=str(error), endings=[e.outcome.run_id for e in part.endings])
            else:
                return


def _start_line(order: RunOrder, at: float) -> LogRecord:
    return LogRecord(
        timestamp=at,
        level="INFO",
        module=__name__,
        message="run started",
        run_id=order.id,
        job=order.spec.name,
        fields={"kind": order.kind.value, "attempt": order.attempt},
    )


def _parts(batch: Batch) -> Iterator[Batch]:
    yield from (Batch(starts=[start]) for start in batch.starts)
    yield from (Batch(endings=[ending]) for ending in batch.endings)
    yield from (Batch(logs=[record]) for record in batch.logs)


def _bare(part: Batch) -> Batch:
    """That a run ended, and how, without what it said."""
    return Batch(endings=[replace(e, outcome=_without_words(e.outcome)) for e in part.endings])


def _without_words(outcome: Outcome) -> Outcome:
    return Outcome(
        run_id=outcome.run_id,
        status=outcome.status,
        reason=outcome.reason,
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
        error="the database refused what this run reported",
    )
