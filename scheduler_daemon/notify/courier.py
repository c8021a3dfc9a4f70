"""Carries messages to one channel, in order, until each has arrived; of too many, the oldest go."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from scheduler_daemon.notify.channels import Channel
from scheduler_daemon.notify.notices import Message
from scheduler_daemon.notify.sending import DeliveryError

LIMIT = 100
FIRST_S = 5.0
LONGEST_S = 600.0
LONGEST_ASKED_S = 3600.0
log = structlog.get_logger(__name__)


class Courier:
    """`changed()` is called when `bag`, what has not arrived, is another. `dropped` never will."""

    def __init__(self, channel: Channel, changed: Callable[[], None], *, first_s: float = FIRST_S) -> None:
        self.channel = channel
        self.bag: deque[Message] = deque()
        self.dropped = 0
        self._changed = changed
        self._first_s = first_s
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._carry(), name=f"notify-{self.channel.kind}")

    async def stop(self) -> None:
        """What is in the bag stays there."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def take(self, message: Message) -> None:
        self.bag.append(message)
        while len(self.bag) > LIMIT:
            self.bag.popleft()
            self.dropped += 1
        self._empty.clear()
        self._some.set()
        self._changed()

    async def empty(self) -> None:
        """Returns when all has arrived."""
        await self._empty.wait()

    async def _carry(self) -> None:
        delay_s = self._first_s
        while True:
            if not self.bag:
                self._some.clear()
                self._empty.set()
                await self._some.wait()
            message = self.bag[0]
            try:
                await self.channel.send(message)
            except DeliveryError as error:
                if not error.hopeless:
                    wait_s = max(delay_s, min(error.retry_after_s or 0.0, LONGEST_ASKED_S))
                    log.warning(
                        "a notification is not delivered yet",
                        channel=self.channel.kind,
                        why=str(error),
                        next_try_s=round(wait_s),
                        waiting=len(self.bag),
                    )
                    await asyncio.sleep(wait_s)
                    delay_s = min(2 * delay_s, LONGEST_S)
                    continue
                log.error("a notification was refused", channel=self.channel.kind, why=str(error))
            except Exception:
                log.exception("a notification could not be made", channel=self.channel.kind)
            delay_s = self._first_s
            if self.bag and self.bag[0] is message:
                self.bag.popleft()
            self._changed()
