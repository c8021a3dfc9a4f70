"""The daemon's end of one worker."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.jobplane.wire import Decoder, Message, encode, frame
from scheduler_daemon.runner.wellformed import check

_LAST_BYTES_S = 1.0
log = structlog.get_logger(__name__)
_shared = memoryview(bytearray(32 * 1024))  # a turn of the loop takes no more of a flood than this


@dataclass(frozen=True, slots=True)
class Callbacks:
    """`on_messages`: what a worker says (wire.py), a message or more. `on_exit`: it is gone, with its exit
    code or minus the signal, and nothing of it comes after. `rest_s` says after each reading how long the
    next may wait: what comes meanwhile is then read at once."""

    on_messages: Callable[[WorkerLink, list[Message]], None]
    on_exit: Callable[[WorkerLink, int], None]
    rest_s: Callable[[], float]


class WorkerLink(asyncio.BufferedProtocol):
    """`generation` counts zygotes. `post_mortem`: once it has ended, what it printed last and Python's
    stack at a fatal signal, if there is any. Runs that it never said `started` did not start."""

    def __init__(
        self,
        *,
        callbacks: Callbacks,
        worker: int,
        generation: int,
        isolate: str | None,
        kill: Callable[[int, int], None],
    ) -> None:
        self.worker = worker
        self.generation = generation
        self.isolate = isolate
        self.pid = 0
        self.start_time = 0
        self.post_mortem: str | None = None
        self._callbacks = callbacks
        self._kill = kill
        self._decoder = Decoder(orjson.loads)
        self._transport: asyncio.Transport | None = None
        self._writer: _Writer | None = None
        self._status: int | None = None
        self._closed = False
        self._told = False
        self.gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def send(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """One frame; buffered where the worker does not read at once. To one that is gone: nothing."""
        if self._writer is not None:
            self._writer.write(encode(messages))

    def send_encoded(self, messages: Iterable[str]) -> None:
        """The same for messages that are JSON already."""
        if self._writer is not None:
            self._writer.write(frame(messages))

    def kill(self, signum: int) -> None:
        """Through its zygote, which for SIGKILL ends all its descendants, too."""
        if self._status is None:
            self._kill(self.worker, signum)

    @property
    def alive(self) -> bool:
        return self._status is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._writer = _Writer(transport.get_extra_info("socket"))
        transport.pause_reading()

    def listen(self) -> None:
        if self._transport and not self._closed:
            self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """One buffer for all links: it is read before the loop turns to another."""
        return _shared

    def buffer_updated(self, nbytes: int) -> None:
        try:
            messages = list(itertools.chain.from_iterable(self._decoder.feed(_shared[:nbytes])))
            check(messages)
        except JobPlaneError as error:
            log.error("a worker is killed for what it said", pid=self.pid, why=str(error))
            self.kill(9)
            if self._transport:
                self._transport.abort()
            return
        if messages:
            self._callbacks.on_messages(self, messages)
        rest_s = self._callbacks.rest_s()
        if rest_s and self._transport:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(rest_s, self.listen)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if self._writer is not None:
            self._writer.close()
        self._tell()

    def exited(self, status: int, post_mortem: str | None) -> None:
        """Its process has ended. What it sent last may still be on the way."""
        if self._status is not None:
            return
        self._status = status
        self.post_mortem = post_mortem
        self._tell()
        if not self._told:
            asyncio.get_running_loop().call_later(_LAST_BYTES_S, self._give_up)

    def discard(self) -> None:
        """It was never handed out: nobody wants to hear of it."""
        self._told = True
        if not self.gone.done():
            self.gone.set_result(0)
        self._give_up()

    def _give_up(self) -> None:
        """Some process still holds the worker's end: what there was to read has been read."""
        if self._transport and not self._closed:
            self._transport.abort()

    def _tell(self) -> None:
        if self._closed and self._status is not None and not self._told:
            self._told = True
            self._callbacks.on_exit(self, self._status)
            if not self.gone.done():
                self.gone.set_result(self._status)


class _Writer:
    """Writes beside the transport, on a descriptor of its own.

    A transport that cannot write closes at once, and forgets what it had not read yet: the last words of a
    worker that has just died. Here a failed write only ends the writing.
    """

    def __init__(self, sock: Any) -> None:
        self._sock: socket.socket | None = socket.socket(fileno=os.dup(sock.fileno()))
        self._sock.setblocking(False)
        self._unsent = bytearray()
        self._watching = False

    def write(self, data: bytes) -> None:
        if self._sock is None:
            return
        waiting = bool(self._unsent)
        self._unsent += data
        if not waiting:
            self._push()

    def close(self) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().remove_writer(self._sock)
            self._sock.close()
            self._sock = None

    def _push(self) -> None:
        assert self._sock is not None
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            loop.add_writer(self._sock, self._push)
            self._watching = True
            return
        except OSError:
            self.close()
            return
        if self._watching:
            loop.remove_writer(self._sock)
            self._watching = False
