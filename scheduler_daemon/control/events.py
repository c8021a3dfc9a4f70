"""Live streams, as server-sent events (WHATWG HTML, 9.2): `event: KIND`, `data: JSON`, an empty line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

QUIET_S = 15.0
"""A comment is sent after so much silence, so that a connection that is gone is noticed."""
HEADERS = {"cache-control": "no-store"}
MEDIA_TYPE = "text/event-stream"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
"""Of one event, for the API's own description."""
Event = Mapping[str, Any]
Events = AsyncGenerator[Event, None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """`close` gives back what the events come from, whether or not they were ever asked for."""

    events: Events
    close: Callable[[], None] = lambda: None


class EventStream(Response):
    """Sends events until the source ends or the reader is gone; then closes the source."""

    media_type = MEDIA_TYPE

    def __init__(self, source: Source) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._events = source.events
        self._close = source.close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_disconnected(receive))
        following: asyncio.Task[Event | None] | None = None
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _send(send, b": scheduler-daemon\n\n")
            while not gone.done():
                following = following or asyncio.create_task(self._following())
                done, _ = await asyncio.wait(
                    {following, gone}, timeout=QUIET_S, return_when=asyncio.FIRST_COMPLETED
                )
                if following not in done:
                    await _send(send, b": quiet\n\n")
                    continue
                event, following = following.result(), None
                if event is None:
                    break
                await _send(send, encode(event))
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._close()
            await _ended(gone, following)
            await self._events.aclose()

    async def _following(self) -> Event | None:
        return await anext(self._events, None)


def encode(event: Event) -> bytes:
    """JSON holds no line break, so one `data` line is enough."""
    return f"event: {event['event']}\ndata: {json.dumps(dict(event), default=_plain)}\n\n".encode()


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(*tasks: asyncio.Task[Any] | None) -> None:
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
