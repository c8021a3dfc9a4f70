"""Live events of runs for those who watch. A slow reader loses events, and is told how many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

BUFFER = 1_000
Event = Mapping[str, Any]


class Streams:
    """Publishers never wait."""

    def __init__(self) -> None:
        self._readers: set[Reader] = set()

    def open(self, run_id: str | None = None) -> Reader:
        """A reader of one run's events, or of all. Close it."""
        reader = Reader(self, run_id)
        self._readers.add(reader)
        return reader

    def publish(self, run_id: str, event: Event) -> None:
        for reader in self._readers:
            if reader.run_id is None or reader.run_id == run_id:
                reader.put(event)

    def forget(self, reader: Reader) -> None:
        self._readers.discard(reader)

    def end(self) -> None:
        """The daemon stops: every reader's stream ends."""
        for reader in list(self._readers):
            reader.close()

    def __bool__(self) -> bool:
        return bool(self._readers)


class Reader:
    def __init__(self, streams: Streams, run_id: str | None) -> None:
        self.run_id = run_id
        self._streams = streams
        self._events: deque[Event] = deque()
        self._dropped = 0
        self._ready = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        if len(self._events) >= BUFFER and event.get("event") != "ended":
            self._dropped += 1
            return
        self._tell_dropped()
        self._events.append(event)
        self._ready.set()

    def close(self) -> None:
        self._closed = True
        self._ready.set()
        self._streams.forget(self)

    async def events(self) -> AsyncIterator[Event]:
        """Events in order until `close`; `dropped` says how many were lost before the next one."""
        while True:
            while self._events:
                yield self._events.popleft()
            self._tell_dropped()
            if self._events:
                continue
            if self._closed:
                return
            self._ready.clear()
            await self._ready.wait()

    def _tell_dropped(self) -> None:
        """At the place where they are missing."""
        if self._dropped:
            self._events.append({"event": "dropped", "count": self._dropped})
            self._dropped = 0
