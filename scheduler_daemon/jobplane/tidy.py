"""After a run: end what it left behind, and put the process back as it was."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from scheduler_daemon.jobplane import processes
from scheduler_daemon.jobplane.connections import Connections
from scheduler_daemon.jobplane.journal import Journal, stream
from scheduler_daemon.jobplane.run import Run
from scheduler_daemon.jobplane.tasks import RunTasks
from scheduler_daemon.jobplane.text import describe

_SETTLE_S = 1.0
_THREADS_END_S = 0.1
_handler: Callable[[int], Any] = inspect.unwrap(signal.getsignal)
"""Without what tries first to make an enum of each handler."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD)


class ProcessState:
    """What a run may change of its process, as it was before the first one."""

    def __init__(self) -> None:
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._folder = os.getcwd()  # noqa: PTH109  # a string is what chdir takes
        self._environment = dict(os.environ)
        self._raw_environment = dict(_raw(os.environ))
        self._streams = [sys.stdout, sys.stderr]
        self._pipes = _identities()
        self._handlers = list(logging.getLogger().handlers)
        self._signals = {signum: signal.getsignal(signum) for signum in _SIGNALS}
        self._raw_signals = [_handler(signum) for signum in _SIGNALS]

    def restore(self) -> bool:
        """False: its output no longer goes where it should, and nothing here can mend that."""
        self._streams = [
            stream(number) if each.closed else each for number, each in enumerate(self._streams, start=1)
        ]
        sys.stdout, sys.stderr = self._streams
        logging.getLogger().handlers[:] = self._handlers
        signal.setitimer(signal.ITIMER_REAL, 0)
        if [_handler(signum) for signum in _SIGNALS] != self._raw_signals:
            for signum, handler in self._signals.items():
                signal.signal(signum, handler)
        os.umask(self._umask)
        with contextlib.suppress(OSError):  # somebody removed the folder: the next run may not need it
            os.chdir(self._folder)
        if _raw(os.environ) != self._raw_environment:
            os.environ.clear()
            os.environ.update(self._environment)
        return _identities() == self._pipes


def _raw(environment: Any) -> dict[bytes, bytes]:
    """What os.environ decodes at each look: comparing that is twenty times faster."""
    data: dict[bytes, bytes] = environment._data
    return data


def _identities() -> list[int]:
    """Inodes of the standard output streams; 0 where one is closed."""
    found = []
    for descriptor in (1, 2):
        try:
            found.append(os.fstat(descriptor).st_ino)
        except OSError:
            found.append(0)
    return found


class Tidy:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, tasks: RunTasks, journal: Journal, connections: Connections
    ) -> None:
        self._loop = loop
        self._tasks = tasks
        self._journal = journal
        self._connections = connections
        self._executor = self._new_executor()
        self._state = ProcessState()
        self._threads = threading.enumerate()
        self._thread_count = processes.thread_count()

    def after(self, run: Run) -> str | None:
        """Clear away what the run left; a text says why this worker must take no other."""
        try:
            reason = self._clear(run)
        except Exception as exc:  # say how the run ended, whatever it did to this process
            return f"its process could not be put back in order: {describe(exc)}"
        return "out of memory" if run.out_of_memory else reason

    def _clear(self, run: Run) -> str | None:
        reason = None if self._end_tasks() else "tasks left behind"
        if self._loop.is_closed():
            reason = "its event loop was closed"
        if not self._state.restore():
            reason = "its output streams were closed"
        if killed := processes.has_children() and processes.kill_children():
            names = ", ".join(killed[:10])
            self._journal.note("warning", f"killed what the run left behind: {names}", processes=len(killed))
        if not self._end_threads():
            names = ", ".join(t.name for t in threading.enumerate() if t not in self._threads)
            self._journal.note(
                "warning", f"the run left threads behind ({names or 'not Python’s'}); its worker is replaced"
            )
            reason = "threads left behind"
        if run.context and (left := run.context.clear()):
            self._journal.note("warning", f"its temporary directory could not be removed: {left}")
        return reason

    def _end_tasks(self) -> bool:
        left = self._tasks.left()
        if not left and not self._connections.used:
            return True
        try:
            return self._loop.run_until_complete(self._settle(left))
        except BaseException as exc:  # a task of the job may end in any way, by SystemExit too
            self._journal.note("warning", f"what the run left behind ended with {describe(exc)}")
            return False

    async def _settle(self, left: list[asyncio.Task[Any]]) -> bool:
        for task in left:
            task.cancel()
        pending: set[asyncio.Task[Any]] = set()
        if left:
            _, pending = await asyncio.wait(left, timeout=_SETTLE_S)
            self._journal.note("warning", f"cancelled {len(left)} tasks that the run left behind")
        if kept := await self._connections.settle():
            self._journal.note("warning", f"closed {kept} database connections that the run kept")
        return not pending

    def _end_threads(self) -> bool:
        if self._executor.used:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = self._new_executor()
        deadline = time.monotonic() + _THREADS_END_S
        while processes.thread_count() > self._thread_count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def _new_executor(self) -> _Executor:
        executor = _Executor()
        self._loop.set_default_executor(executor)
        return executor


class _Executor(ThreadPoolExecutor):
    """The loop's threads (`asyncio.to_thread`), which end with the run that used them."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="to_thread")
        self.used = False

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.used = True
        return super().submit(*args, **kwargs)
