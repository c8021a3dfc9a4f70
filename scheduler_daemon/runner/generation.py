"""One zygote from its start to its end, and the workers it forked."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.extension import Logger
from scheduler_daemon.jobplane.wire import Message
from scheduler_daemon.runner.worker_link import Callbacks, WorkerLink
from scheduler_daemon.runner.zygote_process import ZygoteProcess

_FIRST_WORD_S = 60.0
_FORK_S = 15.0
_MARGIN_S = 3.0
_DUMP = re.compile(r"^(Timeout \(|Fatal Python error)", re.MULTILINE)
_THREAD = "(most recent call first):"
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Culprit:
    """The extension in whose import a zygote died or hung; `traceback` is where that was, if known."""

    extension: str
    distribution: str
    error: str
    traceback: str | None
    killed: bool = False


class KilledError(JobPlaneError):
    """SIGKILL comes from outside (the kernel short of memory, a person): nobody's fault the first time."""


class CulpritError(Exception):
    def __init__(self, culprit: Culprit) -> None:
        super().__init__(culprit.error)
        self.culprit = culprit


class Generation:
    """`interpreter` is the program and the mark that its processes carry (processes.MARK). `on_end` is called
    once, after the exits of all its workers."""

    def __init__(
        self,
        number: int,
        interpreter: tuple[Path, str],
        log: Logger,
        on_end: Callable[[Generation, int], None],
    ) -> None:
        self.number = number
        self.mark = interpreter[1]
        self.links: dict[int, WorkerLink] = {}
        self._log = log
        self._on_end = on_end
        self._forks: dict[int, asyncio.Future[None]] = {}
        self._importing: tuple[str, str] | None = None
        self._answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._patience: asyncio.TimerHandle | None = None
        self._hung = False
        self._import_timeout_s = 0.0
        self._zygote = ZygoteProcess(
            *interpreter, on_message=self._on_message, on_output=self._on_output, on_exit=self._on_exit
        )

    @property
    def pid(self) -> int:
        return self._zygote.pid

    @property
    def ended(self) -> bool:
        return self._zygote.exited.done()

    async def discover(self, request: Message, import_timeout_s: float) -> Message:
        """The catalogue message. Raises CulpritError, or JobPlaneError where nobody is to blame."""
        self._import_timeout_s = import_timeout_s
        self._zygote.send({**request, "import_timeout_s": import_timeout_s})
        self._wait_for(_FIRST_WORD_S)
        try:
            return await self._answer
        finally:
            self._wait_for(None)

    async def spawn(self, worker: int, isolate: str | None, callbacks: Callbacks) -> WorkerLink:
        """Raises JobPlaneError."""
        link = WorkerLink(
            worker=worker,
            generation=self.number,
            isolate=isolate,
            callbacks=callbacks,
            kill=self._kill_worker,
        )
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            await loop.create_unix_connection(lambda: link, sock=ours)
            forked = self._forks[worker] = loop.create_future()
            self.links[worker] = link
            order: Message = {"t": "fork", "worker": worker}
            if isolate is not None:
                order = {"t": "spawn", "worker": worker, "extension": isolate}
            self._zygote.send(order, (theirs.fileno(),))
        try:
            async with asyncio.timeout(_FORK_S):
                await forked
        except BaseException as exc:
            self._forks.pop(worker, None)
            self._kill_worker(worker, signal.SIGKILL)
            link.discard()
            if isinstance(exc, TimeoutError):
                raise JobPlaneError(f"the zygote did not fork a worker within {_FORK_S:g} s") from None
            raise
        loop.call_soon(link.listen)
        return link

    def retire(self) -> None:
        self._zygote.send({"t": "retire"})

    async def stop(self, within_s: float) -> None:
        """Kill its workers and end it."""
        self._zygote.send({"t": "stop"})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._zygote.exited), within_s)
        self._zygote.kill()
        await self._zygote.exited
        await asyncio.gather(*(link.gone for link in self.links.values()))

    def _kill_worker(self, worker: int, signum: int) -> None:
        self._zygote.send({"t": "kill", "worker": worker, "signal": int(signum)})

    def _wait_for(self, seconds: float | None) -> None:
        if self._patience:
            self._patience.cancel()
        self._patience = None
        if seconds is not None:
            self._patience = asyncio.get_running_loop().call_later(seconds, self._lose_patience)

    def _lose_patience(self) -> None:
        self._hung = True
        self._zygote.kill()

    def _on_message(self, message: Message) -> None:
        kind = message["t"]
        if kind == "importing":
            name = message["extension"]
            self._importing = (name, message["distribution"]) if name else None
            self._wait_for(self._import_timeout_s + _MARGIN_S)
        elif kind == "catalogue":
            if not self._answer.done():
                self._answer.set_result(message)
        elif kind == "forked":
            self._on_forked(message)
        elif kind == "exited" and (link := self.links.get(message["worker"])):
            self._on_worker_exit(link, message["status"], message["post_mortem"])

    def _on_forked(self, message: Mapping[str, Any]) -> None:
        link = self.links[message["worker"]]
        link.pid, link.start_time = message["pid"], message["start_time"]
        forked = self._forks.pop(message["worker"], None)
        if forked and not forked.done():
            forked.set_result(None)

    def _on_worker_exit(self, link: WorkerLink, status: int, post_mortem: str | None) -> None:
        link.gone.add_done_callback(lambda _: self.links.pop(link.worker, None))
        link.exited(status, post_mortem)

    def _on_output(self, line: str) -> None:
        extension = self._importing[0] if self._importing else None
        self._log.info("the job plane printed", line=line, extension=extension)

    def _on_exit(self, status: int) -> None:
        if not self._answer.done():
            self._answer.set_exception(self._failure(status))
        for forked in self._forks.values():
            if not forked.done():
                forked.set_exception(JobPlaneError(f"the zygote {ending(status)}"))
        self._forks.clear()
        for link in list(self.links.values()):
            self._on_worker_exit(link, -signal.SIGKILL, None)
        self._on_end(self, status)

    def _failure(self, status: int) -> Exception:
        printed = self._zygote.printed.strip()
        dump = _DUMP.search(printed)
        trace = printed[dump.start() :] if dump else printed or None
        if self._importing is None:
            last = printed.splitlines()[-1:] or ["it printed nothing"]
            kind = KilledError if status == -signal.SIGKILL else JobPlaneError
            return kind(f"the zygote {ending(status)} before it had found the extensions: {last[0]}")
        name, distribution = self._importing
        hung = self._hung or (dump and dump.group().startswith("Timeout"))
        what = (
            f"did not end within {self._import_timeout_s:g} s{_where(trace)}"
            if hung
            else f"ended the process: it {ending(status)}"
        )
        killed = status == -signal.SIGKILL and not hung
        return CulpritError(
            Culprit(name, distribution, f"{distribution}[{name}]: its import {what}", trace, killed)
        )


def _where(trace: str | None) -> str:
    """Where it hung: the innermost line of Python in the main thread, which a dump has last."""
    frames = [found.groups() for found in _FRAME.finditer((trace or "").rpartition(_THREAD)[2])]
    inner = [(file, line) for file, line in frames if not file.startswith("<")][:1]
    return "".join(f", at {file}:{line}" for file, line in inner)


def ending(status: int) -> str:
    """`died of SIGSEGV`, `exited with code 3`."""
    if status >= 0:
        return f"exited with code {status}"
    try:
        return f"died of {signal.Signals(-status).name}"
    except ValueError:
        return f"died of signal {-status}"
