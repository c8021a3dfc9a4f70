"""sd_notify(3): what systemd is told, where it listens. Without systemd, nothing."""

from __future__ import annotations

import os
import socket
from datetime import timedelta


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
        *([f"STATUS={status}"] if status is not None else []),
        *([f"EXTEND_TIMEOUT_USEC={int(extend.total_seconds() * 1e6)}"] if extend else []),
    ]
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(lines).encode(), address)
        except OSError:
            return
