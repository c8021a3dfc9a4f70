"""Gathers notices into messages, keeps quiet when it should, and hands them to the couriers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from scheduler_daemon.notify.channels import Channel, channels
from scheduler_daemon.notify.courier import Courier
from scheduler_daemon.notify.notices import Message, Notice, compose, from_json, notice_from_json, to_json
from scheduler_daemon.notify.quiet import quiet_until
from scheduler_daemon.notify.sending import DeliveryError
from scheduler_daemon.notify.sentinel import Memory, Sentinel
from scheduler_daemon.notify.store import Store
from scheduler_daemon.redaction import Redactor
from scheduler_daemon.reporting import Event, NotificationSettings

KEPT = 500
"""Notices that wait for the end of quiet hours, or of a burst; of more, the oldest go and are counted."""
BURST_S = 600.0
LONGEST_GROUP_S = 300.0
SAVE_S = 1.0
LAST_WORDS_S = 3.0
LOOK_AGAIN_S = 60.0
"""The clock may be set, or the machine sleep, while a notice waits."""
log = structlog.get_logger(__name__)


class Notifier:
    """`sentinel` is told what happens; `enabled`: somebody would hear of it. Times are Unix seconds."""

    def __init__(
        self,
        settings: NotificationSettings,
        *,
        node: str,
        store: Store,
        redactor: Redactor,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sentinel = Sentinel(self._say, settings)
        self._settings = settings
        self._node = node
        self._store = store
        self._redactor = redactor
        self._clock = clock
        self._couriers: dict[str, Courier] = {}
        self._pending: deque[Notice] = deque()
        self._left_out = 0
        self._due_at: float | None = None
        self._sent: deque[float] = deque(maxlen=20)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._saving: asyncio.TimerHandle | None = None

    @property
    def enabled(self) -> bool:
        return bool(self._couriers)

    @property
    def waiting(self) -> int:
        """Messages that no channel, or not every one, has taken yet."""
        return sum(len(courier.bag) for courier in self._couriers.values())

    async def start(self) -> None:
        """What an earlier daemon could not send goes out first."""
        stored = self._store.read()
        await self._engage(channels(self._settings))
        try:
            self._recall(stored)
        except (KeyError, TypeError, ValueError, AttributeError):
            log.warning("the notifications that waited cannot be read; they are lost")
        self._task = asyncio.create_task(self._gather(), name="notify")

    async def stop(self) -> None:
        """What waits is sent now, if that takes no more than 3 s; the rest is kept for the next start."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        self._flush(self._clock())
        if self._couriers:
            tasks = [asyncio.create_task(courier.empty()) for courier in self._couriers.values()]
            _, late = await asyncio.wait(tasks, timeout=LAST_WORDS_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for courier in self._couriers.values():
            await courier.stop()
        if self._saving is not None:
            self._saving.cancel()
        self._save()

    async def apply(self, settings: NotificationSettings) -> None:
        """A reload: channels that stay keep what they have to carry."""
        self._settings = self.sentinel.settings = settings
        await self._engage(channels(settings))
        self._wake.set()

    async def test(self) -> dict[str, str | None]:
        """Send a message to each channel, now; for each the reason why that failed, or None."""
        now = self._clock()
        notice = Notice(
            event=Event.RECOVERED, subject="", text="a test of notifications: all is well", at=now
        )
        message = compose([notice], node=self._node, at=now)
        found = [courier.channel for courier in self._couriers.values()]
        answers = await asyncio.gather(*(_try(channel, message) for channel in found))
        return {
            channel.kind: answer and self._redactor.text(answer)
            for channel, answer in zip(found, answers, strict=True)
        }

    async def _engage(self, wanted: list[Channel]) -> None:
        kinds = {channel.kind: channel for channel in wanted}
        for kind in [kind for kind in self._couriers if kind not in kinds]:
            await self._couriers.pop(kind).stop()
        for kind, channel in kinds.items():
            old = self._couriers.get(kind)
            if old is not None and old.channel.address == channel.address:
                continue
            courier = self._couriers[kind] = Courier(channel, self._keep)
            if old is not None:
                await old.stop()
                for message in old.bag:
                    courier.take(message)
            await courier.start()

    def _say(self, notice: Notice) -> None:
        if not self._couriers:
            return
        self._pending.append(replace(notice, text=self._redactor.text(notice.text)))
        if len(self._pending) > KEPT:
            self._pending.popleft()
            self._left_out += 1
        self._keep()
        self._wake.set()

    async def _gather(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock()
            wait_s = self._wait_s(now)
            if wait_s is not None and wait_s <= 0:
                self._flush(now)
                continue
            try:
                async with asyncio.timeout(None if wait_s is None else min(wait_s, LOOK_AGAIN_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _wait_s(self, now: float) -> float | None:
        """Until the next message is due; None: there is nothing to send."""
        if not self._sendable(now):
            self._due_at = None
            quiet = self._quiet_until(now)
            return quiet - now if quiet is not None and self._pending else None
        if self._due_at is None:
            self._due_at = now + self._group_s(now)
        return self._due_at - now

    def _group_s(self, now: float) -> float:
        """The more there was to tell of late, the more is told at once."""
        recent = sum(1 for at in self._sent if now - at < BURST_S)
        return min(self._settings.group_for.total_seconds() * 2.0**recent, LONGEST_GROUP_S)

    def _quiet_until(self, now: float) -> float | None:
        end = quiet_until(self._settings.quiet, datetime.fromtimestamp(now, UTC))
        return None if end is None else end.timestamp()

    def _sendable(self, now: float) -> list[Notice]:
        if self._quiet_until(now) is None:
            return list(self._pending)
        return [notice for notice in self._pending if notice.event in self._settings.urgent]

    def _flush(self, now: float) -> None:
        self._due_at = None
        notices = self._sendable(now)
        if not notices:
            return
        left_out, self._left_out = self._left_out, 0
        message = compose(notices, node=self._node, at=now, left_out=left_out)
        self._pending = deque(notice for notice in self._pending if notice not in notices)
        self._sent.append(now)
        for courier in self._couriers.values():
            courier.take(message)
        self._keep()

    def _keep(self) -> None:
        """To disk, soon."""
        if self._saving is None and self._task is not None:
            self._saving = asyncio.get_running_loop().call_later(SAVE_S, self._save)

    def _save(self) -> None:
        self._saving = None
        bags = {k: [to_json(m) for m in courier.bag] for k, courier in self._couriers.items()}
        self._store.write(
            {
                "memory": self.sentinel.memory.to_json(),
                "pending": [asdict(notice) for notice in self._pending],
                "left_out": self._left_out,
                "bags": bags,
            }
        )

    def _recall(self, stored: Mapping[str, Any]) -> None:
        if not stored:
            return
        memory = Memory.from_json(stored["memory"])
        pending = [notice_from_json(one) for one in stored["pending"]]
        bags = {kind: [from_json(one) for one in bag] for kind, bag in stored["bags"].items()}
        self.sentinel.memory = memory
        self._left_out = int(stored["left_out"])
        if self._couriers:
            self._pending.extend(pending)
        for kind, bag in bags.items():
            if kind in self._couriers:
                for message in bag:
                    self._couriers[kind].take(message)


async def _try(channel: Channel, message: Message) -> str | None:
    try:
        await channel.send(message)
    except DeliveryError as error:
        return str(error)
    return None
