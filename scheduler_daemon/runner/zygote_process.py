"""The daemon's end of one zygote: its process, its channel, what it prints."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scheduler_daemon import systemd
from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.jobplane.processes import MARK
from scheduler_daemon.jobplane.wire import Decoder, Message, encode, receive

_KEPT = 64_000


class ZygoteProcess:
    """`on_message` gets each message, `on_output` each line that it or an import printed, `on_exit` once,
    after the last of both, the exit code or minus the signal."""

    def __init__(
        self,
        python: Path,
        mark: str,
        *,
        on_message: Callable[[Message], None],
        on_output: Callable[[str], None],
        on_exit: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_output = on_output
        self._on_exit = on_exit
        self._decoder = Decoder()
        self._outbox: deque[tuple[bytes, list[int]]] = deque()
        self._partial = b""
        self.printed = ""
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._output, their_output = os.pipe()
        try:
            self._process = _popen(python, mark, theirs.fileno(), their_output)
        except OSError as exc:
            self._sock.close()
            os.close(self._output)
            raise JobPlaneError(f"{python} cannot be started: {exc.strerror}") from exc
        finally:
            theirs.close()
            os.close(their_output)
        self.pid = self._process.pid
        self._watch()

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """`descriptors` are duplicated: the caller closes its own."""
        if self.exited.done():
            return
        self._outbox.append((encode([message]), [os.dup(d) for d in descriptors]))
        self._flush()

    def kill(self) -> None:
        if not self.exited.done():
            self._process.kill()

    def _watch(self) -> None:
        self._sock.setblocking(False)
        os.set_blocking(self._output, False)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._sock, self._read)
        self._loop.add_reader(self._output, self._read_output)
        self._loop.add_reader(self._pidfd, self._ended)

    def _read(self) -> None:
        try:
            data, _ = receive(self._sock)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._sock)
            return
        try:
            frames = self._decoder.feed(data)
        except JobPlaneError:
            self.kill()
            return
        for frame in frames:
            for message in frame:
                self._on_message(message)

    def _flush(self) -> None:
        try:
            while self._outbox:
                data, descriptors = self._outbox[0]
                sent = _send(self._sock, data, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                self._outbox[0] = (data[sent:], [])
                if sent == len(data):
                    self._outbox.popleft()
            self._loop.remove_writer(self._sock)
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._flush)
        except OSError:  # it is dying: `_ended` comes
            self._loop.remove_writer(self._sock)

    def _read_output(self) -> None:
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._output)
            return
        self.printed = (self.printed + data.decode("utf-8", "backslashreplace"))[-_KEPT:]
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._on_output(line.decode("utf-8", "backslashreplace"))

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        status = self._process.wait()
        for read, descriptor in ((self._read, self._sock.fileno()), (self._read_output, self._output)):
            while self._loop.remove_reader(descriptor) and _readable(descriptor):
                self._loop.add_reader(descriptor, read)
                read()
        self._loop.remove_writer(self._sock)
        for _, descriptors in self._outbox:
            for descriptor in descriptors:
                os.close(descriptor)
        self._outbox.clear()
        self._sock.close()
        os.close(self._output)
        os.close(self._pidfd)
        self.exited.set_result(status)
        self._on_exit(status)


def _popen(python: Path, mark: str, channel: int, output: int) -> subprocess.Popen[bytes]:
    program: list[Any] = [
        python,
        "-P",
        "-u",
        "-m",
        "scheduler_daemon.jobplane",
        "zygote",
        str(channel),
        str(os.getpid()),
    ]
    return subprocess.Popen(
        program,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=[channel],
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name not in systemd.PRIVATE} | {MARK: mark},
    )


def _send(sock: socket.socket, data: bytes, descriptors: list[int]) -> int:
    if descriptors:
        return socket.send_fds(sock, [data], descriptors)
    return sock.send(data)


def _readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], 0)[0])
