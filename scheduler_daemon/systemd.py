"""sd_notify(3): what systemd is told, where it listens. Without systemd, nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from datetime import timedelta

import structlog

PRIVATE = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
"""What is between systemd and the daemon: no child inherits it, none may speak for the daemon."""
STATUS_EVERY_S = 5.0
log = structlog.get_logger(__name__)


def notify(
    *,
    ready: bool = False,
    stopping: bool = False,
    watchdog: bool = False,
    status: str | None = None,
    extend: timedelta | None = None,
) -> None:
    """One datagram. `extend` asks for that much more time to start or to stop."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    lines = [
        *(["READY=1"] if ready else []),
        *(["STOPPING=1"] if stopping else []),
        *(["WATCHDOG=1"] if watchdog else []),
        *([f"STATUS={' '.join(status.split())}"] if status is not None else []),
        *([f"EXTEND_TIMEOUT_USEC={int(extend.total_seconds() * 1e6)}"] if extend else []),
    ]
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(lines).encode(), address)
        except OSError:
            return


def watchdog_limit() -> float | None:
    """Seconds without a ping after which systemd restarts us (WatchdogSec=); None: it does not."""
    try:
        limit_s = int(os.environ.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    meant = os.environ.get("WATCHDOG_PID", "")
    return limit_s if limit_s > 0 and meant in ("", str(os.getpid())) else None


class Watchdog:
    """Tells systemd how things stand, and that they move: no ping while `stalled()` has something to say.

    `status()` is one line for `systemctl status`.
    """

    def __init__(self, stalled: Callable[[], str | None], status: Callable[[], str]) -> None:
        self._stalled = stalled
        self._status = status
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if os.environ.get("NOTIFY_SOCKET"):
            limit_s = watchdog_limit() or 4 * STATUS_EVERY_S
            self._task = asyncio.create_task(self._watch(min(STATUS_EVERY_S, limit_s / 4)), name="watchdog")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self, interval_s: float) -> None:
        while True:
            self.look()
            await asyncio.sleep(interval_s)

    def look(self) -> None:
        """One round."""
        why = self._stalled()
        said = why or self._status()
        if why is not None and said != self._said:
            log.error("stalled: systemd gets no sign of life until this ends", why=why)
        notify(watchdog=why is None, status=None if said == self._said else said)
        self._said = said
