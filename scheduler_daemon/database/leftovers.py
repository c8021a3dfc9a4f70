"""What an earlier server left running on a data directory, and its end.

A process is taken for one of the directory's servers only if it is a `postgres` whose working directory is
that directory, which is what PostgreSQL's processes have; pids are held by pidfd, so none is mistaken.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scheduler_daemon.errors import DatabaseUnavailableError

FAST_STOP_S = 30.0
HARD_STOP_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    pid: int
    pidfd: int

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def wait(self, limit_s: float) -> bool:
        """Whether it has ended within `limit_s` seconds."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, limit_s) * 1000))


def end_leftovers(data: Path, log: Callable[[str], None]) -> None:
    """End every server process on `data`, gently first, and remove a postmaster.pid that is nobody's.

    Raises DatabaseUnavailableError if one cannot be ended. Only whoever holds the state directory's lock may.
    """
    with _leftovers(data) as found:
        for leftover in found:
            if leftover.pid == _postmaster(data):
                log(f"an earlier daemon's PostgreSQL (pid {leftover.pid}) is still running; stopping it")
                leftover.send(signal.SIGINT)
                leftover.wait(FAST_STOP_S)
        for number in (signal.SIGQUIT, signal.SIGKILL):
            _end(found, number)
        if alive := [leftover.pid for leftover in found if not leftover.wait(0)]:
            raise DatabaseUnavailableError(
                f"{data}: PostgreSQL (pid {alive[0]}) is in use there and does not end"
            )
    (data / "postmaster.pid").unlink(missing_ok=True)


def _end(found: Sequence[Leftover], number: signal.Signals) -> None:
    alive = [leftover for leftover in found if not leftover.wait(0)]
    for leftover in alive:
        leftover.send(number)
    limit = time.monotonic() + HARD_STOP_S
    for leftover in alive:
        leftover.wait(limit - time.monotonic())


@contextlib.contextmanager
def _leftovers(data: Path) -> Iterator[Sequence[Leftover]]:
    with contextlib.ExitStack() as stack:
        found = []
        for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
            if not _serves(pid, data):
                continue
            with contextlib.suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                stack.callback(os.close, pidfd)
                if _serves(pid, data):
                    found.append(Leftover(pid=pid, pidfd=pidfd))
        yield found


def _serves(pid: int, data: Path) -> bool:
    process = Path("/proc", str(pid))
    try:
        if (process / "cwd").readlink() != data.resolve():
            return False
        return (process / "exe").readlink().name.removesuffix(" (deleted)") == "postgres"
    except OSError:
        return False


def _postmaster(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().partition("\n")[0])
    except (OSError, ValueError):
        return None
