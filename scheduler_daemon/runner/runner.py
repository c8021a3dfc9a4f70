"""Everything that runs jobs, as one thing to start and stop: dispatcher, pool, recorder, streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog

from scheduler_daemon.errors import SchedulerError
from scheduler_daemon.ledger.outcomes import Ending, Outcomes, Start
from scheduler_daemon.ledger.presence import Presence
from scheduler_daemon.ledger.values import Decision, NewRun, SpanExtension, StoredRun
from scheduler_daemon.model import LogRecord, Outcome, RunKind, RunStatus
from scheduler_daemon.redaction import Redactor
from scheduler_daemon.runner.dispatcher import Dispatcher
from scheduler_daemon.runner.health import Health
from scheduler_daemon.runner.orders import EndedRun, RunOrder, RunWatcher
from scheduler_daemon.runner.pool import Pool
from scheduler_daemon.runner.recorder import Recorder
from scheduler_daemon.runner.retries import retry_of
from scheduler_daemon.runner.streams import Streams

MOST_UNWRITTEN = 1_000
NOT_RUN = (RunStatus.SKIPPED, RunStatus.MISSED)
log = structlog.get_logger(__name__)


class Runner:
    """Hears everything of every run (RunEvents), and passes it on to those whom it concerns.

    What jobs say passes the `redactor` before anybody sees it.
    """

    def __init__(self, *, recorder: Recorder, outcomes: Outcomes, presence: Presence) -> None:
        self.streams = Streams()
        self.health = Health()
        self.recorder = recorder
        self.watchers: list[RunWatcher] = []
        self.redactor = Redactor()
        self._so_far: dict[str, dict[str, Mapping[str, Any]]] = {}
        self.startup_messages: dict[str, str] = {}
        self.pool: Pool
        self.dispatcher: Dispatcher
        self._outcomes = outcomes
        self._presence = presence
        self._ended: dict[str, tuple[RunOrder, Ending]] = {}
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        recorder.on_recorded = self._recorded

    def wire(self, pool: Pool, dispatcher: Dispatcher) -> None:
        """The pool and the dispatcher tell this runner, which needs them too."""
        self.pool, self.dispatcher = pool, dispatcher
        dispatcher.on_cancel = lambda ids: self._spawn(self._cancel_all(ids))
        dispatcher.on_decided = self._decided

    def over(self) -> Container[str]:
        """Runs that have ended and are being recorded. A database that falls behind gets no more to do."""
        return self._ended.keys() if len(self._ended) <= MOST_UNWRITTEN else ()

    def started(self, order: RunOrder, start: Start) -> None:
        self.recorder.started(start, order)
        for watcher in self.watchers:
            watcher.run_started(order, start)
        self._tell(order, "started", {"event": "started", "at": start.at, "worker_pid": start.worker_pid})

    def ended(self, order: RunOrder, ending: Ending) -> None:
        outcome = self.redactor.outcome(ending.outcome)
        if outcome is not ending.outcome:
            ending = replace(ending, outcome=outcome)
        known = self.dispatcher.book.spec(order.spec.name) is not None
        if known and (retry := retry_of(order, outcome)) is not None:
            ending = replace(ending, retry=retry)
        if ending.logs_dropped:
            full = f"the run's log is full: {ending.logs_dropped:,} more lines were not kept"
            self._log(_line(order, outcome.finished_at, "WARN", full, {}))
        self._say(order, outcome)
        self._ended[order.id] = (order, ending)
        self._so_far.pop(order.id, None)
        self.recorder.ended(ending, alone=self.pool.in_hand <= 1)

    def logged(self, order: RunOrder, record: LogRecord) -> None:
        record = self.redactor.record(record)
        self._log(record)
        if self.streams:
            self._publish(order, {"event": "log", **_log_event(record)})

    def step(self, order: RunOrder, step: Mapping[str, Any]) -> None:
        event = {k: v for k, v in step.items() if k not in ("t", "id")}
        self._tell(order, f"step {step['name']}", {"event": "step", **self.redactor.value(event)})

    def progress(self, order: RunOrder, progress: Mapping[str, Any]) -> None:
        event = {k: v for k, v in progress.items() if k not in ("t", "id")}
        self._tell(order, "progress", {"event": "progress", **self.redactor.value(event)})

    def so_far(self, run_id: str) -> list[Mapping[str, Any]]:
        """For a watcher who comes late: start, each step and the progress of a running run, as they stand."""
        return list(self._so_far.get(run_id, {}).values())

    def sql_must_end(self, order: RunOrder) -> None:
        self._spawn(self._outcomes.end_sql_of(order.id))

    def free(self) -> None:
        self.dispatcher.waiting.room()

    async def finished(self, run_id: str) -> None:
        """Returns once the run's end is recorded; the run must be in hand here."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(run_id, []).append(waiter)
        await waiter

    def in_hand(self) -> set[str]:
        """Runs that are here: handed to the pool, or ended and being recorded."""
        return self.pool.ids() | self._ended.keys()

    async def adopt(
        self, find: Callable[[], Awaitable[Sequence[StoredRun]]], token: UUID | None = None
    ) -> None:
        """Live rows that are this daemon's, and that nobody has in hand: run them, or let them wait.

        What was in hand before `find` looked may have ended since: it is left alone.
        """
        async with self.dispatcher.between_turns():
            before = self.in_hand()
            for run in await find():
                if run.waiting in ("overlap", "retry"):
                    self._let_wait(run)
                elif str(run.id) not in before | self.in_hand():
                    self._take(run, str(token or run.claim_token))

    def _let_wait(self, run: StoredRun) -> None:
        self.dispatcher.waiting.add(run.concurrency)
        if run.not_before is not None:
            self.wake_later(run.concurrency, run.not_before.timestamp())

    def _take(self, run: StoredRun, token: str) -> None:
        waiting = self.dispatcher.waiting
        waiting.drop(run.id)
        order = self.dispatcher.order(run, token)
        if order is None:
            return
        if run.status is RunStatus.QUEUED:
            waiting.ready[run.id] = order
        else:
            self.pool.submit([order])

    async def cancel(self, run_id: UUID, reason: str = "cancelled") -> None:
        """End a live run wherever it is: waiting, handed to a worker here, or on another node."""
        if await self.end_queued([run_id], reason, "cancelled before it started"):
            return
        if not self.pool.cancel(str(run_id), reason):
            await self._presence.request_cancel([run_id], reason)

    async def end_queued(self, ids: Sequence[UUID], reason: str, message: str) -> set[UUID]:
        """End those that have not started, and tell who watches; which they were."""
        ended = await self.dispatcher.end_queued(ids, reason=reason, message=message)
        for run_id in map(str, ended):
            end = {"event": "ended", "run": run_id, "status": "cancelled", "reason": reason}
            self.streams.publish(run_id, {**end, "message": message})
            self._let_waiters_go(run_id)
        return ended

    async def _cancel_all(self, ids: list[UUID]) -> None:
        for run_id in ids:
            await self.cancel(run_id)

    def _recorded(self, endings: list[Ending]) -> None:
        for ending in endings:
            order, _ = self._ended.pop(ending.outcome.run_id, (None, None))
            if order is None:
                continue
            key = order.spec.concurrency_key
            if ending.retry is not None:
                self.dispatcher.waiting.add(key)
                self.wake_later(key, ending.retry.not_before)
            self.dispatcher.waiting.freed(key)
            if self.streams:
                self._publish(order, {"event": "ended", **_outcome_event(ending)})
            self.health.ended(order.spec.name, ending.outcome)
            if order.kind is RunKind.STARTUP:
                said = ending.outcome.message or ending.outcome.error or ""
                self.startup_messages[order.spec.name] = f"{ending.outcome.status.value}: {said}".strip(": ")
            self._tell_end(order.spec.name, order.kind, ending.outcome, final=ending.retry is None)
            self._let_waiters_go(order.id)

    def lost(self, run: StoredRun, *, reason: str, message: str, final: bool) -> None:
        """A run that somebody left behind, found and recorded as lost."""
        outcome = Outcome(
            run_id=str(run.id), status=RunStatus.LOST, finished_at=time.time(), reason=reason, error=message
        )
        self._tell_end(run.job, run.kind, outcome, final=final)

    def _tell_end(self, job: str, kind: RunKind, outcome: Outcome, *, final: bool) -> None:
        ended = EndedRun(job=job, kind=kind, outcome=outcome, final=final)
        for watcher in self.watchers:
            watcher.run_ended(ended)

    def _let_waiters_go(self, run_id: str) -> None:
        for waiter in self._waiters.pop(run_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def wake_later(self, key: str, at: float) -> None:
        """A retry under this key comes due then (Unix seconds)."""
        delay = max(0.0, at - time.time()) + 0.01
        asyncio.get_running_loop().call_later(delay, self.dispatcher.waiting.add, key)

    def _say(self, order: RunOrder, outcome: Outcome) -> None:
        """Each run's end also goes to its log (its start: see the recorder)."""
        level, fields = _level(outcome), _summary(outcome)
        trace = {"traceback": outcome.traceback} if level == "ERROR" and outcome.traceback else {}
        message = f"run {outcome.status.value}"
        record = _line(order, outcome.finished_at, level, message, {**fields, **trace})
        self._log(record)
        if level == "ERROR":
            log.warning(record.message, job=order.spec.name, run_id=order.id, recorded=True, **fields)

    def _log(self, record: LogRecord) -> None:
        self.recorder.logged(record)
        for watcher in self.watchers:
            watcher.run_logged(record)

    def _decided(self, decision: Decision) -> None:
        spans: list[NewRun | SpanExtension] = [run for run in decision.inserts if run.status in NOT_RUN]
        spans += decision.extensions
        if spans:
            for watcher in self.watchers:
                watcher.not_run(spans)

    def _tell(self, order: RunOrder, key: str, event: Mapping[str, Any]) -> None:
        self._so_far.setdefault(order.id, {})[key] = event
        self._publish(order, event)

    def _publish(self, order: RunOrder, event: Mapping[str, Any]) -> None:
        if self.streams:
            self.streams.publish(order.id, {"run": order.id, "job": order.spec.name, **event})

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except SchedulerError as error:
            log.warning("could not be done", why=str(error))
        except Exception:
            log.exception("internal error")


def _line(order: RunOrder, at: float, level: str, message: str, fields: Mapping[str, Any]) -> LogRecord:
    return LogRecord(
        timestamp=at,
        level=level,
        module=__name__,
        message=message,
        run_id=order.id,
        job=order.spec.name,
        fields=fields,
    )


def _level(outcome: Outcome) -> str:
    if outcome.status is RunStatus.SUCCEEDED:
        return "INFO"
    return "WARN" if outcome.status is RunStatus.CANCELLED else "ERROR"


def _summary(outcome: Outcome) -> dict[str, Any]:
    said = {
        "started_at": _moment(outcome.started_at),
        "processed": outcome.items_processed,
        "failed": outcome.items_failed,
        "message": outcome.message if outcome.message != outcome.error else None,
        "error": outcome.error,
        "duration_ms": _duration_ms(outcome),
    }
    return {name: value for name, value in said.items() if value is not None}


def _moment(at: float | None) -> str | None:
    """For people, and for machines that read times."""
    if at is None:
        return None
    second, fraction = divmod(at, 1)
    return f"{_second(int(second))}.{int(fraction * 1000):03d}Z"


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _duration_ms(outcome: Outcome) -> float | None:
    if outcome.started_at is None:
        return None
    return round((outcome.finished_at - outcome.started_at) * 1000, 3)


def _log_event(record: LogRecord) -> dict[str, Any]:
    return {
        "at": record.timestamp,
        "level": record.level,
        "module": record.module,
        "message": record.message,
        "fields": dict(record.fields),
    }


def _outcome_event(ending: Ending) -> dict[str, Any]:
    outcome = ending.outcome
    event = asdict(outcome)
    del event["run_id"]
    return {
        **event,
        "status": outcome.status.value,
        "duration_ms": _duration_ms(outcome),
        "logs_dropped": ending.logs_dropped,
    }
