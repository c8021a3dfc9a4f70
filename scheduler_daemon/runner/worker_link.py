"""The daemon's end of one worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.jobplane.wire import Decoder, Message, encode

_LAST_BYTES_S = 1.0
_shared = memoryview(bytearray(256 * 1024))


@dataclass(frozen=True, slots=True)
class Callbacks:
    """`on_messages`: one frame of what a worker says (wire.py). `on_exit`: it is gone, with its exit code
    or minus the signal, and nothing of it comes after."""

    on_messages: Callable[[WorkerLink, list[Message]], None]
    on_exit: Callable[[WorkerLink, int], None]


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
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._status: int | None = None
        self._closed = False
        self._told = False
        self.gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def send(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """One frame; buffered where the worker does not read at once. To one that is gone: nothing."""
        if self._transport and not self._closed:
            self._transport.write(encode(messages))

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
        transport.pause_reading()

    def listen(self) -> None:
        if self._transport and not self._closed:
            self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """One buffer for all links: it is read before the loop turns to another."""
        return _shared

    def buffer_updated(self, nbytes: int) -> None:
        try:
            frames = self._decoder.feed(_shared[:nbytes])
        except JobPlaneError:
            self.kill(9)
            if self._transport:
                self._transport.abort()
            return
        for frame in frames:
            self._callbacks.on_messages(self, frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
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
