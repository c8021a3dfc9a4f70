"""`python -m scheduler_daemon.jobplane zygote FD PARENT` and `… worker SEAT REQUEST-FD`: see wire.py."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from scheduler_daemon.jobplane import processes

_NOT_FOR_JOBS = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)


def main(arguments: list[str]) -> None:
    for name in _NOT_FOR_JOBS:
        os.environ.pop(name, None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if arguments[0] == "zygote":
        _zygote(int(arguments[1]), int(arguments[2]))
    else:
        _lone_worker(arguments[1], int(arguments[2]))


def _zygote(descriptor: int, parent: int) -> None:
    processes.die_with_parent(parent)
    processes.adopt_orphans()
    faulthandler.enable()
    from scheduler_daemon.jobplane import worker  # noqa: F401  # warm: forked workers share it
    from scheduler_daemon.jobplane.zygote import Zygote

    zygote = Zygote(socket.socket(fileno=descriptor))
    zygote.discover()
    seat = zygote.serve()
    _work(seat, zygote.registry, zygote.request)


def _lone_worker(seat_text: str, descriptor: int) -> None:
    from scheduler_daemon.jobplane.discovery import Registry, find, load
    from scheduler_daemon.jobplane.seat import Seat

    seat = Seat.from_json(seat_text)
    for each in seat.descriptors():
        os.set_inheritable(each, False)
    with open(descriptor, "rb") as file:  # a descriptor, not a path
        file.seek(0)
        request = json.load(file)
    registry = Registry(foreign=request["foreign"])
    faulthandler.enable(seat.crash)
    faulthandler.dump_traceback_later(request.get("import_timeout_s", 10.0), exit=True, file=seat.crash)
    for found in find():
        if found.name == seat.isolate:
            registry.add(load(found))
    faulthandler.cancel_dump_traceback_later()
    _work(seat, registry, request)


def _work(seat: Any, registry: Any, request: dict[str, Any]) -> None:
    from scheduler_daemon.jobplane.journal import stream
    from scheduler_daemon.jobplane.worker import Worker

    processes.adopt_orphans()
    processes.raise_oom_score()
    faulthandler.enable(seat.crash)
    sys.stdout, sys.stderr = stream(1), stream(2)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    os.chdir(Path(request["base_dir"]))
    try:
        Worker(seat, registry, request).serve()
    except BaseException:  # our own fault: the zygote tells its last words
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)


if __name__ == "__main__":
    main(sys.argv[1:])
