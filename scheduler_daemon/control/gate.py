"""The application's door: who may do what, how much may be sent, and no byte that no text can hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from scheduler_daemon.control.peers import Access
from scheduler_daemon.control.problems import response_bytes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 1024 * 1024
LOOKING = ("GET", "HEAD", "OPTIONS")


class Gate:
    """Around the whole application."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _refusal(scope)
        if refusal is None:
            await self._app(scope, _limited(receive), send)
        else:
            await _answer(send, *refusal)


def _refusal(scope: Scope) -> tuple[int, str, str] | None:
    access = scope["state"]["access"]
    if access is Access.NOTHING:
        return 403, "not-allowed", "you may neither control this daemon nor look at it"
    if access is Access.LOOK and scope["method"] not in LOOKING:
        return 403, "not-allowed", "you may look at this daemon, not control it"
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        return 400, "bad-request", "no name and no value holds a NUL"
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if int(declared) > MAX_BODY_BYTES:
        return 413, "too-large", f"a request's body has at most {MAX_BODY_BYTES:,} bytes"
    return None


def _limited(receive: Receive) -> Receive:
    """A body without a declared length is cut where it grows too long; the handler sees a disconnect."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return {"type": "http.disconnect"} if taken > MAX_BODY_BYTES else message

    return limited


async def _answer(send: Send, status: int, code: str, detail: str) -> None:
    head, _, body = response_bytes(status, code, detail).partition(b"\r\n\r\n")
    pairs = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    headers = [(name, value) for name, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
