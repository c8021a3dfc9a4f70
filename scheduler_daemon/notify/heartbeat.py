"""Pings that somebody else waits for (as Healthchecks.io does): their absence tells of our own death.

URL              all is well, or the run succeeded
URL/start        the run has started
URL/fail         something is wrong, or the run failed; the body says what
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit, urlunsplit

import structlog

from scheduler_daemon.notify.sending import DeliveryError, post
from scheduler_daemon.reporting import HeartbeatSettings

TRIES = 3
BETWEEN_S = 2.0
IN_HAND = 4
"""Pings of one URL that may wait; of more, the oldest are left out."""
BODY = 10_000
log = structlog.get_logger(__name__)
Ping = tuple[str, str]


class Heartbeat:
    """`troubles()` says why the daemon is unwell; empty: it is well; None: it has no say."""

    def __init__(self, settings: HeartbeatSettings, troubles: Callable[[], Sequence[str] | None]) -> None:
        self._settings = settings
        self._troubles = troubles
        self._lines: dict[str, _Line] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._settings.url:
            self._task = asyncio.create_task(self._beat(self._settings.url), name="heartbeat")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for line in self._lines.values():
            await line.stop()
        self._lines.clear()

    async def apply(self, settings: HeartbeatSettings) -> None:
        """A reload."""
        if settings == self._settings:
            return
        await self.stop()
        self._settings = settings
        await self.start()

    def run_started(self, job: str) -> None:
        if url := self._settings.job_urls.get(job):
            self._ping(url, ("start", ""))

    def run_ended(self, job: str, *, well: bool, said: str) -> None:
        if url := self._settings.job_urls.get(job):
            self._ping(url, ("" if well else "fail", said))

    async def _beat(self, url: str) -> None:
        while True:
            troubles = self._troubles()
            if troubles is not None:
                self._ping(url, ("fail" if troubles else "", "\n".join(troubles)))
            await asyncio.sleep(self._settings.every.total_seconds())

    def _ping(self, url: str, ping: Ping) -> None:
        if url not in self._lines:
            self._lines[url] = _Line(url)
        self._lines[url].add(ping)


class _Line:
    """The pings of one URL, in order."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pings: deque[Ping] = deque(maxlen=IN_HAND)
        self._task: asyncio.Task[None] | None = None

    def add(self, ping: Ping) -> None:
        self._pings.append(ping)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send(), name="heartbeat-ping")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while self._pings:
            signal, body = self._pings.popleft()
            for attempt in range(TRIES):
                try:
                    await post(with_signal(self._url, signal), text=body[:BODY])
                    break
                except DeliveryError as error:
                    if error.hopeless or attempt == TRIES - 1:
                        log.warning("a heartbeat could not be sent", signal=signal or "well", why=str(error))
                        break
                    await asyncio.sleep(BETWEEN_S)


def with_signal(url: str, signal: str) -> str:
    """`/start` or `/fail` at the end of the path, before the query."""
    if not signal:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{signal}"))
