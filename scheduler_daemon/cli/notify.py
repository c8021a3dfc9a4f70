"""Notifications: do they arrive?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scheduler_daemon.cli.command import Session, command
from scheduler_daemon.cli.terminal import Terminal, clean


@command("test")
def test(session: Session) -> int:
    """Send a test message to every channel, now, whatever the quiet hours.

    Exit code 0 only if all of them took it.

    \b
    Example:
      systemprompt infra notify test
    """
    answer = session.client.post("/v1/notifications/test")
    session.show(answer, _lines)
    return 1 if any(one["error"] for one in answer["channels"]) else 0


def _lines(answer: Mapping[str, Any], terminal: Terminal) -> Iterator[str]:
    for one in answer["channels"]:
        told = terminal.paint(clean(one["error"]), "red") if one["error"] else terminal.paint("sent", "green")
        yield f"{one['channel']}: {told}"
