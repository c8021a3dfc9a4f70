"""One run, from the message that handed it over to its outcome."""

from __future__ import annotations

import asyncio
import inspect
import operator
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from scheduler_daemon.extension import Job, JobResult
from scheduler_daemon.jobplane import processes
from scheduler_daemon.jobplane.context import Context, Surroundings, scheduled_instant
from scheduler_daemon.jobplane.discovery import Registry
from scheduler_daemon.jobplane.journal import Journal, RunLogger
from scheduler_daemon.jobplane.sections import MismatchError, build
from scheduler_daemon.jobplane.tasks import RunTasks
from scheduler_daemon.jobplane.text import clean_or_none, describe, format_traceback
from scheduler_daemon.jobplane.wire import Message

_MOST_ITEMS = 2**63 - 1


class RefusedError(Exception):
    """This run cannot start; the text says why."""


class Run:
    """A run that this worker was handed; `cancel` may come from the IO thread at any time."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        self.message = message
        self.id: str = message["id"]
        self.cancel_reason: str | None = None
        self.started_at: float | None = None
        self.context: Context | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._job: Job | None = None
        self._limit: int | None = message.get("memory_limit")
        self.out_of_memory = False

    def cancel(self, reason: str) -> None:
        self.cancel_reason = reason
        if self.context:
            self.context.cancel()
        if self._loop and self._task:
            self._loop.call_soon_threadsafe(self._task.cancel)

    def prepare(
        self,
        registry: Registry,
        sections: Mapping[str, Any],
        surroundings: Surroundings,
        journal: Journal,
        report: Callable[[Message], None],
    ) -> None:
        """Find the job, check its configuration and parameters. Raises RefusedError."""
        message = self.message
        extension, name = message["extension"], message["job"]
        loaded = registry.extensions.get(extension)
        if loaded is None:
            raise RefusedError(f'no extension "{extension}" is installed')
        job = loaded.jobs.get(name)
        if job is None or loaded.extension is None:
            raise RefusedError("; ".join(loaded.faults) or f'extension "{extension}" has no job "{name}"')
        self._job = job
        self.context = Context(
            run_id=self.id,
            job_name=message["name"],
            extension=extension,
            kind=message["kind"],
            attempt=message["attempt"],
            scheduled_for=scheduled_instant(message["scheduled_for"]),
            parameters=_checked("parameters", job.parameters, message["parameters"] or {}),
            config=_checked(
                f"extensions.{extension}", loaded.extension.config_model, sections.get(extension) or {}
            ),
            logger=RunLogger(journal, message["name"]),
            surroundings=surroundings,
            report=report,
        )
        label = surroundings.connections.label
        label.name = f"run:{self.id}"
        label.timeout_ms = (
            max(1, int((message.get("timeout_s") or 0) * 1000)) if message.get("timeout_s") else 0
        )
        if self.cancel_reason:
            self.context.cancel()

    def execute(self, loop: asyncio.AbstractEventLoop, tasks: RunTasks) -> Message:
        """Run the job here, in the main thread; every way that its code can end ends here."""
        assert self.context is not None
        assert self._job is not None
        worker = os.getpid()
        try:
            if self._limit:
                processes.limit_data(self._limit)
            answer = self._job.execute(self.context)
            if inspect.isawaitable(answer):
                answer = self._await(loop, tasks, answer)
            outcome = self._ended(_result(answer))
        except BaseException as exc:  # the one place that catches what a job's code does
            if self._limit:
                processes.unlimit_data()
            outcome = self._raised(exc)
        if os.getpid() != worker:  # a process that the job forked and never ended
            os._exit(0 if outcome["status"] == "succeeded" else 1)
        if self._limit:
            processes.unlimit_data()
        return outcome

    def refusal(self, text: str) -> Message:
        """The outcome of a run that never started."""
        if self.cancel_reason:
            return self._outcome("cancelled", error=f"cancelled before it started: {self.cancel_reason}")
        return self._outcome("failed", error=text)

    def _await(self, loop: asyncio.AbstractEventLoop, tasks: RunTasks, answer: Awaitable[Any]) -> Any:
        async def caught() -> tuple[Any, BaseException | None]:
            # SystemExit must not leave a task: asyncio would stop its loop for it
            try:
                return await answer, None
            except BaseException as exc:
                return None, exc

        self._task = tasks.start(caught(), f"run:{self.id}")
        self._loop = loop
        if self.cancel_reason:
            self._task.cancel()
        try:
            result, exc = loop.run_until_complete(self._task)
        finally:
            task, self._task = self._task, None
            task.cancel()
        if exc is not None:
            raise exc
        return result

    def _ended(self, result: JobResult) -> Message:
        noticed = self.context is not None and self.context.noticed
        status = "succeeded" if result.ok else "failed"
        if self.cancel_reason and (noticed or not result.ok):
            status = "cancelled"
        message = clean_or_none(result.message)
        return self._outcome(
            status,
            message=message,
            error=None if result.ok else message or "failed, without a message",
            items_processed=result.items_processed,
            items_failed=result.items_failed,
        )

    def _raised(self, exc: BaseException) -> Message:
        trace = format_traceback(exc, ours=(__file__,))
        if isinstance(exc, MemoryError) and self._limit:
            self.out_of_memory = True
            text = f"MemoryError: beyond the memory limit of {self._limit:,} bytes"
            return self._outcome("failed", message="memory limit", error=text, traceback=trace)
        if self.cancel_reason:
            text = "cancelled" if self.cancel_reason == "cancelled" else f"cancelled: {self.cancel_reason}"
            if not isinstance(exc, asyncio.CancelledError):
                text += f"; it ended with {describe(exc)}"
            return self._outcome("cancelled", error=text, traceback=trace)
        text = describe(exc)
        if isinstance(exc, asyncio.CancelledError):
            text = f"{text}: raised by the job itself; nobody cancelled the run"
        elif isinstance(exc, SystemExit):
            text = f"SystemExit: the job called sys.exit({clean_or_none(exc.code, 200)})"
        return self._outcome("failed", error=text, traceback=trace)

    def _outcome(self, status: str, **rest: Any) -> Message:
        empty = dict.fromkeys(("items_processed", "items_failed", "message", "error", "traceback"))
        return {
            "t": "outcome",
            "id": self.id,
            "status": status,
            "started_at": self.started_at,
            "finished_at": time.time(),
            **empty,
            "steps": [],
            "logs_dropped": 0,
            **rest,
        }


def _checked(where: str, model: Any, data: Any) -> Any:
    if not isinstance(data, Mapping):
        raise RefusedError(f"{where}: must be a mapping of keys to values")
    try:
        return build(model, data)
    except MismatchError as exc:
        problems = (f"{'.'.join([where, *map(str, path)])}: {text}" for path, text in exc.problems)
        raise RefusedError("; ".join(problems)) from None
    except Exception as exc:  # a model's validators are an extension's code
        raise RefusedError(f"{where}: cannot be checked: {describe(exc)}") from exc


def _result(answer: Any) -> JobResult:
    """Raises TypeError that says what `execute` should have returned."""
    if answer is None:
        return JobResult.success()
    if not isinstance(answer, JobResult):
        raise TypeError(f"execute() returned {type(answer).__name__}; it must return a JobResult or None")
    for name in ("items_processed", "items_failed"):
        _check_count(name, getattr(answer, name))
    return answer


def _check_count(name: str, value: Any) -> None:
    if value is None:
        return
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if isinstance(value, bool) or not 0 <= count <= _MOST_ITEMS:
        raise TypeError(f"the result's {name} is {value!r:.100}; it must be a whole number from 0")
