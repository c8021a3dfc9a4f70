"""Where messages go: Discord, a webhook, a command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from scheduler_daemon import systemd
from scheduler_daemon.notify.notices import Message
from scheduler_daemon.notify.sending import DeliveryError, post
from scheduler_daemon.reporting import NotificationSettings

COMMAND_S = 30.0
DESCRIPTION = 3800
"""Characters; Discord takes 4,096 in an embed's description."""
COLOURS = {"bad": 0xD1242F, "doubtful": 0xBF8700, "good": 0x1A7F37}
_MARKUP = re.compile(r"([\\`*_~|>#\[\]()-])")


class Channel(Protocol):
    """`kind` is its name in the configuration; channels with equal `address` are the same."""

    kind: str
    address: Any

    async def send(self, message: Message) -> None:
        """Raises DeliveryError."""


class Discord:
    kind = "discord"

    def __init__(self, url: str) -> None:
        self.address = url

    async def send(self, message: Message) -> None:
        await post(self.address, json=discord_document(message))


class Webhook:
    kind = "webhook"

    def __init__(self, url: str) -> None:
        self.address = url

    async def send(self, message: Message) -> None:
        await post(self.address, json=message.document())


class Command:
    """The message as JSON on its standard input; it has 30 s, with all that it starts."""

    kind = "command"

    def __init__(self, words: Sequence[str]) -> None:
        self.address = tuple(words)

    async def send(self, message: Message) -> None:
        environment = {n: v for n, v in os.environ.items() if n not in systemd.PRIVATE}
        try:
            process = await asyncio.create_subprocess_exec(
                *self.address,
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=PIPE,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise DeliveryError(f"{self.address[0]} cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(COMMAND_S):
                _, complaint = await process.communicate(json.dumps(message.document()).encode() + b"\n")
        except TimeoutError:
            raise DeliveryError(f"{self.address[0]} did not end within {COMMAND_S:.0f} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode != 0:
            words = complaint.decode("utf-8", "replace").strip().splitlines()
            said = f": {words[-1][:200]}" if words else ""
            raise DeliveryError(f"{self.address[0]} exited with {process.returncode}{said}")


def channels(settings: NotificationSettings) -> list[Channel]:
    """Those that the settings name."""
    found: list[Channel] = []
    if settings.discord:
        found.append(Discord(settings.discord))
    if settings.webhook:
        found.append(Webhook(settings.webhook))
    if settings.command:
        found.append(Command(settings.command))
    return found


def discord_document(message: Message) -> dict[str, Any]:
    """An embed (Discord's developer documentation, "Execute Webhook"). Nobody is mentioned by it."""
    lines = [_MARKUP.sub(r"\\\1", line) for line in message.lines]
    description = "" if len(lines) == 1 and message.title == message.lines[0] else "\n".join(lines)
    if len(description) > DESCRIPTION:
        description = description[: DESCRIPTION - 1] + "…"
    return {
        "embeds": [
            {
                "title": _MARKUP.sub(r"\\\1", message.title)[:256],
                "description": description,
                "color": COLOURS[message.level],
                "timestamp": datetime.fromtimestamp(message.at, UTC).isoformat(),
                "footer": {"text": f"scheduler-daemon on {message.node}"},
            }
        ],
        "allowed_mentions": {"parse": []},
    }
