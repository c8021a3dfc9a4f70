"""The zygote: imports every extension once, then forks a warm worker per request, and buries them.

It stays single-threaded (fork), and runs no job. `serve` returns in the worker, never in the zygote.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import NoReturn

from scheduler_daemon.jobplane import processes, seat
from scheduler_daemon.jobplane.discovery import Registry, find, load
from scheduler_daemon.jobplane.seat import Seat
from scheduler_daemon.jobplane.wire import PROTOCOL, Decoder, Message, encode, receive

_BURIAL_S = 0.5
_STOP_S = 0.8


@dataclass
class Zygote:
    sock: socket.socket
    registry: Registry = field(default_factory=Registry)
    request: Message = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._decoder = Decoder()
        self._messages: list[Message] = []
        self._descriptors: list[int] = []
        self._seats: dict[int, Seat] = {}
        self._dead: list[tuple[float, Message]] = []
        self._resident: set[int] = set()
        self._retiring = False
        self._stopping = False
        self._pid = os.getpid()
        self._wake: tuple[int, int] = (-1, -1)

    def discover(self) -> None:
        """Answer the first message with the catalogue."""
        while not self._messages:
            self._read()
        self.request = self._messages.pop(0)
        self.registry.foreign = self.request.get("foreign", {})
        self._import_all()
        problems = self.registry.problems(self.request["sections"], self.request["jobs"])
        self._say(
            {
                "t": "catalogue",
                "protocol": PROTOCOL,
                "extensions": self.registry.infos(),
                "problems": [{"where": p.where, "path": p.path, "message": p.message} for p in problems],
            }
        )

    def serve(self) -> Seat:
        """Fork, kill and bury as the daemon says. Returns only in a worker that was just forked."""
        self._resident = processes.children()
        self._catch_signals()
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        while True:
            while self._messages:
                if mine := self._obey(self._messages.pop(0)):
                    return mine
            ready = {descriptor for descriptor, _ in poll.poll(20 if self._dead else None)}
            if self._wake[0] in ready:
                os.read(self._wake[0], 4096)
            if self._stopping:
                self._stop()
            self._bury()
            if self.sock.fileno() in ready:
                self._read()

    def _import_all(self) -> None:
        excluded = self.request.get("exclude", {})
        timeout = self.request.get("import_timeout_s", 10.0)
        for found in find(job["extension"] for job in self.request["jobs"]):
            if found.name in excluded:
                continue
            self._say({"t": "importing", "extension": found.name, "distribution": found.distribution})
            threads = processes.thread_count()
            faulthandler.dump_traceback_later(timeout, exit=True)
            loaded = load(found)
            faulthandler.cancel_dump_traceback_later()
            if os.getpid() != self._pid:
                os._exit(0)  # the import forked, and this is its child
            loaded.leaves_threads = _threads_stay(threads)
            self.registry.add(loaded)
        self._say({"t": "importing", "extension": None, "distribution": None})

    def _catch_signals(self) -> None:
        """What an import did to signals is undone here."""
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        processes.die_with_parent(os.getppid(), signal.SIGTERM)

    def _on_term(self, *_: object) -> None:
        self._stopping = True

    def _read(self) -> None:
        try:
            data, descriptors = receive(self.sock)
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        if not data:
            self._stop()
        for frame in self._decoder.feed(data):
            self._messages += frame

    def _say(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # the daemon is gone: the next read says so
            self.sock.sendall(encode([message]))

    def _obey(self, message: Message) -> Seat | None:
        kind = message["t"]
        if kind in ("fork", "spawn"):
            return self._fork(message)
        if kind == "kill":
            self._kill(message["worker"], message["signal"])
        elif kind == "retire":
            self._retiring = True
            self._leave_if_done()
        elif kind == "stop":
            self._stop()
        return None

    def _fork(self, message: Message) -> Seat | None:
        channel = self._descriptors.pop(0)
        new, writers = seat.prepare(message["worker"], channel, message.get("extension"))
        pid = os.fork()
        if pid == 0:
            self._become_worker(new, writers)
            return new
        for descriptor in (channel, *writers):
            os.close(descriptor)
        self._seats[pid] = new
        self._say({"t": "forked", "worker": new.worker, "pid": pid, "start_time": processes.start_time(pid)})
        return None

    def _become_worker(self, new: Seat, writers: tuple[int, int]) -> None:
        processes.die_with_parent(self._pid)
        os.setsid()
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        self.sock.close()
        others = [descriptor for other in self._seats.values() for descriptor in other.descriptors()[1:]]
        for descriptor in (*others, *self._wake, *self._descriptors):
            os.close(descriptor)
        for number, descriptor in enumerate(writers, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        if new.isolate:
            self._execute_afresh(new)
        gc.enable()

    def _execute_afresh(self, new: Seat) -> NoReturn:
        known = {
            name: dict(item.extension.resources)
            for name, item in self.registry.extensions.items()
            if item.extension
        }
        foreign = {name: {k: str(v) for k, v in kinds.items()} for name, kinds in known.items()}
        request = {**self.request, "foreign": {**self.registry.foreign, **foreign}}
        request["foreign"].pop(new.isolate, None)
        memory = os.memfd_create("request")
        os.write(memory, json.dumps(request).encode())
        for descriptor in (memory, *new.descriptors()):
            os.set_inheritable(descriptor, True)
        program = [
            sys.executable,
            "-P",
            "-m",
            "scheduler_daemon.jobplane",
            "worker",
            new.to_json(),
            str(memory),
        ]
        os.execv(program[0], program)  # noqa: S606  # no shell is wanted

    def _kill(self, worker: int, signum: int) -> None:
        for pid, each in self._seats.items():
            if each.worker == worker:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)

    def _bury(self) -> None:
        """Reap; kill what dead workers left to us; report a death once nothing of it is left."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._note_death(*ended)
        if not self._dead:
            return
        foreign = processes.children() - self._resident - self._seats.keys()
        for pid in foreign:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        now = time.monotonic()
        while self._dead and (not foreign or self._dead[0][0] < now):
            self._say(self._dead.pop(0)[1])
        self._leave_if_done()

    def _note_death(self, pid: int, status: int) -> None:
        self._resident.discard(pid)
        left = self._seats.pop(pid, None)
        if left is None:
            return
        message = {
            "t": "exited",
            "worker": left.worker,
            "pid": pid,
            "status": os.waitstatus_to_exitcode(status),
            "post_mortem": left.post_mortem(),
        }
        for descriptor in left.descriptors()[1:]:
            os.close(descriptor)
        self._dead.append((time.monotonic() + _BURIAL_S, message))

    def _leave_if_done(self) -> None:
        if self._retiring and not self._seats and not self._dead:
            self._stop()

    def _stop(self) -> NoReturn:
        """Kill all, wait until it is gone, exit."""
        processes.kill_children(within_s=_STOP_S)
        os._exit(0)


def _threads_stay(before: int) -> bool:
    deadline = time.monotonic() + 0.2
    while processes.thread_count() > before:
        if time.monotonic() > deadline:
            return True
        time.sleep(0.005)
    return False
