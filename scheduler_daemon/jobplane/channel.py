"""A worker's end of its socket, served by the worker's one IO thread.

The main thread is busy with a job most of the time, perhaps for ever; this thread hears the daemon
meanwhile, and sends what the job says: the first AT_ONCE messages of each FLUSH_S at once (a job may be
about to crash), the others together.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
import traceback
from typing import Any, Protocol

from scheduler_daemon.jobplane import processes
from scheduler_daemon.jobplane.wire import SILENCE_S, Decoder, Message, encode_split

FLUSH_S = 0.015
AT_ONCE = 4
_ABANDONED = 75
_BROKEN = 70


class Receiver(Protocol):
    """Called in the IO thread; must return at once."""

    def receive(self, message: Message) -> None: ...
    def drain(self) -> None:
        """Take what the job printed."""


class Channel:
    def __init__(
        self, sock: socket.socket, outputs: tuple[int, ...], *, silence_s: float = SILENCE_S
    ) -> None:
        self._sock = sock
        self._sock.setblocking(False)
        self._outputs = outputs
        self._silence_s = silence_s
        self._lock = threading.RLock()
        self._outbox: list[Message] = []
        self._unsent = bytearray()
        self._due = 0.0
        self._credit = AT_ONCE
        self._armed = False
        self._closed = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._decoder = Decoder()

    def start(self, receiver: Receiver) -> None:
        threading.Thread(target=self._serve, args=(receiver,), name="channel", daemon=True).start()

    def post(self, message: Message) -> None:
        """Send it soon: within FLUSH_S, together with what else comes."""
        with self._lock:
            outbox = self._outbox
            if outbox and message["t"] == "progress" and outbox[-1]["t"] == "progress":
                outbox[-1] = message
                return
            outbox.append(message)
            now = time.monotonic()
            if now >= self._due and not self._armed:
                self._due, self._credit = now + FLUSH_S, AT_ONCE
            if self._credit:
                self._credit -= 1
                self._flush()
            elif not self._armed:
                self._armed = True
                self._wake_thread()

    def send(self, *messages: Message) -> None:
        """Send now, after what waits; all in one frame unless it is long."""
        with self._lock:
            self._outbox.extend(messages)
            self._flush()

    def close(self, within_s: float = 2.0) -> None:
        """Send what is left, even if the daemon is slow to read; then nobody hears us any more."""
        deadline = time.monotonic() + within_s
        self.send()
        while self._unsent and (left := deadline - time.monotonic()) > 0:
            select.select([], [self._sock], [], left)
            self.send()
        self._closed = True
        self._sock.close()

    def forget(self) -> None:
        """In a child that the job forked: it must not speak for the worker."""
        self._lock = threading.RLock()
        with contextlib.suppress(OSError):
            self._sock.close()

    def _flush(self) -> None:
        for frame in encode_split(self._outbox):
            self._unsent += frame
        self._outbox.clear()
        self._armed = False
        if not self._push():
            self._wake_thread()

    def _push(self) -> bool:
        """False: the daemon must read first; the IO thread waits for that."""
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            return False
        except OSError:  # the daemon is gone: the IO thread reads that and ends us
            self._unsent.clear()
        return True

    def _wake_thread(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    def _serve(self, receiver: Receiver) -> None:
        try:
            self._listen(receiver)
        except BaseException:  # a worker that cannot hear must not go on
            traceback.print_exc()
            os._exit(_BROKEN)

    def _listen(self, receiver: Receiver) -> None:
        heard = time.monotonic()
        while True:
            try:
                ready = self._wait(heard)
                if self._sock.fileno() in ready:
                    heard = time.monotonic()
                    self._read(receiver)
                if any(output in ready for output in self._outputs):
                    receiver.drain()
                self._send_due()
            except MemoryError:  # the job's limit holds for this thread too
                processes.unlimit_data()
                continue
            if time.monotonic() - heard > self._silence_s and not ready:
                abandon()

    def _send_due(self) -> None:
        with self._lock:
            if self._armed and time.monotonic() >= self._due:
                self._flush()
            self._push()

    def _wait(self, heard: float) -> set[int]:
        poll = self._poller()
        due = heard + self._silence_s
        if self._armed:
            due = min(due, self._due)
        events = poll.poll(max(0.0, due - time.monotonic()) * 1000 + 1)
        ready = {descriptor for descriptor, _ in events}
        if self._wake in ready:
            os.eventfd_read(self._wake)
        return ready

    def _poller(self) -> Any:
        poll = select.poll()
        descriptor = self._sock.fileno()
        if descriptor < 0:
            threading.Event().wait()  # closed: the process is ending
        poll.register(descriptor, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        for each in (self._wake, *self._outputs):
            poll.register(each, select.POLLIN)
        return poll

    def _read(self, receiver: Receiver) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data and not self._closed:
            abandon()
        for frame in self._decoder.feed(data):
            for message in frame:
                receiver.receive(message)


def abandon() -> None:
    """The daemon is gone, or deaf: end this run and all that it started."""
    processes.kill_children(within_s=0.5)
    os._exit(_ABANDONED)
