"""One worker as the pool sees it: what it was handed, what it runs now, and the guard on that run."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from scheduler_daemon.ledger.outcomes import Ending, Start
from scheduler_daemon.model import LogRecord, Outcome, RunStatus, StepRecord
from scheduler_daemon.runner.orders import RunEvents, RunOrder
from scheduler_daemon.runner.plane import WorkerLink

TERM_TO_KILL_S = 2.0
LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}
"""A worker's word for a level, and the ledger's."""
WHY = {"timeout": "timed out", "cancelled": "cancelled", "shutdown": "the daemon stopped"}


class Owner(Protocol):
    """The pool, as far as a slot needs it."""

    def run_done(self, run_id: str, took_s: float | None) -> None: ...
    def returned(self, slot: Slot, orders: Sequence[RunOrder]) -> None: ...
    def cancel(self, run_id: str, reason: str) -> bool: ...


class Slot:
    """A worker process. Runs are handed over in order; the first is, or soon will be, the current one."""

    def __init__(self, owner: Owner, events: RunEvents, isolate: str | None) -> None:
        self.isolate = isolate
        self.link: WorkerLink | None = None
        self.handed: dict[str, RunOrder] = {}
        self.current: RunOrder | None = None
        self.current_since = 0.0
        self.handed_since = 0.0
        self.runs_done = 0
        self.idle_since = time.monotonic()
        self.stopping = False
        self.taking_back = False
        self.died_before_a_start = False
        self._owner = owner
        self._events = events
        self._started: Start | None = None
        self._asked: dict[str, str] = {}
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def ready(self) -> bool:
        return self.link is not None and not self.stopping

    @property
    def idle(self) -> bool:
        return self.ready and not self.handed

    def hand(self, orders: Sequence[RunOrder]) -> None:
        assert self.link is not None
        if not self.handed:
            self.handed_since = time.monotonic()
        self.handed.update((order.id, order) for order in orders)
        self.link.send_encoded(order.encoded() for order in orders)

    def take_back(self) -> None:
        """Ask for what has not started: the current run turned out slow."""
        if self.link is not None and not self.taking_back:
            self.taking_back = True
            self.link.send([{"t": "take_back"}])

    def cancel(self, run_id: str, reason: str) -> None:
        """Ask the worker to end a run; if it is the current one, make sure of it."""
        assert self.link is not None
        self.link.send([{"t": "cancel", "id": run_id, "reason": reason}])
        if run_id in self._asked:
            return
        self._asked[run_id] = reason
        if self.current is not None and self.current.id == run_id:
            self._make_sure(self.current)

    def asked_to_end(self, run_id: str) -> str | None:
        """Why the run was to be cancelled, if it was."""
        return self._asked.get(run_id)

    def stop(self) -> None:
        self.stopping = True
        if self.link is not None:
            self.link.send([{"t": "stop"}])

    def receive(self, messages: Sequence[Mapping[str, Any]]) -> None:
        for message in messages:
            handler = self._handlers.get(message["t"])
            if handler is not None:
                handler(self, message)

    def exited(self, status: int) -> list[RunOrder]:
        """The process is gone: its current run ends now; returns what had not started."""
        self.stopping = True
        self._clear_timers()
        current, self.current = self.current, None
        self.died_before_a_start = current is None and status != 0
        if current is not None:
            self.handed.pop(current.id, None)
            self._events.ended(current, self._ending_by_exit(current, status))
        rest = list(self.handed.values())
        self.handed.clear()
        return rest

    def _on_started(self, message: Mapping[str, Any]) -> None:
        order = self.handed.get(message["id"])
        if order is None:
            return
        assert self.link is not None
        self.current, self.current_since = order, time.monotonic()
        self._started = Start(
            run_id=order.id,
            token=order.token,
            at=message["at"],
            worker_pid=self.link.pid,
            worker_start=self.link.start_time,
        )
        if order.spec.timeout is not None:
            self._after(order.spec.timeout.total_seconds(), self._time_out)
        if order.id in self._asked:
            self._make_sure(order)
        self._events.started(order, self._started)

    def _on_outcome(self, message: Mapping[str, Any]) -> None:
        order = self.handed.pop(message["id"], None)
        if order is None:
            return
        started = None
        if self.current is order:  # else one that was cancelled behind the current run
            self._clear_timers()
            started, self.current, self._started = self._started, None, None
        self.runs_done += 1
        self._events.ended(order, self._ending(order, message, started))
        self._asked.pop(order.id, None)
        began = message.get("started_at")
        self._owner.run_done(order.id, None if began is None else message["finished_at"] - began)

    def _on_returned(self, message: Mapping[str, Any]) -> None:
        self.taking_back = False
        back = [self.handed.pop(run_id) for run_id in message["ids"] if run_id in self.handed]
        asked = {order.id: self._asked.pop(order.id) for order in back if order.id in self._asked}
        self._owner.returned(self, back)
        for run_id, reason in asked.items():
            self._owner.cancel(run_id, reason)

    def _on_log(self, message: Mapping[str, Any]) -> None:
        order = self.handed.get(message.get("id") or "")
        if order is None:
            return
        record = LogRecord(
            timestamp=message["at"],
            level=LEVELS[message["level"]],
            module=message["module"],
            message=message["message"],
            run_id=order.id,
            job=order.spec.name,
            fields=message.get("fields") or {},
        )
        self._events.logged(order, record)

    def _on_step(self, message: Mapping[str, Any]) -> None:
        if order := self.handed.get(message["id"]):
            self._events.step(order, message)

    def _on_progress(self, message: Mapping[str, Any]) -> None:
        if order := self.handed.get(message["id"]):
            self._events.progress(order, message)

    def _on_leaving(self, message: Mapping[str, Any]) -> None:
        """It ends by itself, and takes nothing more; what it has not started comes back with its exit."""
        self.stopping = True

    _handlers: Mapping[str, Any] = {
        "leaving": _on_leaving,
        "started": _on_started,
        "outcome": _on_outcome,
        "returned": _on_returned,
        "log": _on_log,
        "step": _on_step,
        "progress": _on_progress,
    }

    def _ending(self, order: RunOrder, message: Mapping[str, Any], started: Start | None) -> Ending:
        status = RunStatus(message["status"])
        reason: str | None = None
        if status is RunStatus.CANCELLED:
            reason = message.get("reason") or self.asked_to_end(order.id) or "cancelled"
            status = RunStatus.TIMED_OUT if reason == "timeout" else status
        outcome = Outcome(
            run_id=order.id,
            status=status,
            reason=reason,
            started_at=message.get("started_at"),
            finished_at=message["finished_at"],
            items_processed=message.get("items_processed"),
            items_failed=message.get("items_failed"),
            message=message.get("message"),
            error=_told(message.get("error"), reason, order),
            traceback=message.get("traceback"),
            steps=tuple(_step(step) for step in message.get("steps") or ()),
        )
        return Ending(
            outcome=outcome,
            token=order.token,
            worker_pid=started.worker_pid if started else None,
            worker_start=started.worker_start if started else None,
            logs_dropped=message.get("logs_dropped") or 0,
        )

    def _ending_by_exit(self, order: RunOrder, status: int) -> Ending:
        reason = self.asked_to_end(order.id)
        verdict = {
            None: RunStatus.LOST,
            "timeout": RunStatus.TIMED_OUT,
        }.get(reason, RunStatus.CANCELLED)
        cause = _cause(status)
        error = f"its worker {cause}" if reason is None else f"{_why(reason, order)}; its worker {cause}"
        outcome = Outcome(
            run_id=order.id,
            status=verdict,
            reason=reason or "worker_died",
            started_at=self._started.at if self._started else None,
            finished_at=time.time(),
            error=error,
            traceback=self.link.post_mortem if self.link else None,
        )
        start = self._started
        return Ending(
            outcome=outcome,
            token=order.token,
            worker_pid=start.worker_pid if start else None,
            worker_start=start.worker_start if start else None,
        )

    def _make_sure(self, order: RunOrder) -> None:
        self._after(order.spec.kill_after.total_seconds(), self._terminate)

    def _time_out(self) -> None:
        if self.current is not None:
            self.cancel(self.current.id, "timeout")

    def _terminate(self) -> None:
        if self.link is not None and self.current is not None:
            self._events.sql_must_end(self.current)
            self.link.kill(signal.SIGTERM)
            self._after(TERM_TO_KILL_S, self._kill)

    def _kill(self) -> None:
        if self.link is not None:
            self.link.kill(signal.SIGKILL)

    def _after(self, delay_s: float, action: Any) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(delay_s, action))

    def _clear_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def _why(reason: str, order: RunOrder) -> str:
    if reason == "timeout" and order.spec.timeout is not None:
        return f"timed out after {order.spec.timeout.total_seconds():g} s"
    return WHY.get(reason, reason)


def _told(error: str | None, reason: str | None, order: RunOrder) -> str | None:
    """What the worker says, in words: it knows why a run was cancelled by the keyword alone."""
    if reason is None:
        return error
    keyword = f"cancelled: {reason}"
    rest = (error or keyword).removeprefix(keyword)
    return rest if rest == error else _why(reason, order) + rest


def _cause(status: int) -> str:
    if status < 0:
        try:
            return f"was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"
    return f"exited with status {status}"


def _step(step: Mapping[str, Any]) -> StepRecord:
    return StepRecord(
        name=step["name"], status=step["status"], duration_s=step["duration_s"], error=step.get("error")
    )
