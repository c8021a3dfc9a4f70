"""/metrics and /healthz over TCP, for those who cannot reach a Unix socket; and nothing else.

One request a connection; whoever dawdles is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

import structlog

from scheduler_daemon.control import metrics
from scheduler_daemon.errors import ConfigurationError, Problem
from scheduler_daemon.operations import Operations

REQUEST_BYTES = 8192
REQUEST_S = 5.0
CONNECTIONS = 32
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
log = structlog.get_logger(__name__)
Answer = tuple[int, str, bytes]


class Exposition:
    """Started and stopped by the daemon; without `address` it does nothing."""

    def __init__(self, operations: Operations, address: tuple[str, int] | None) -> None:
        self._operations = operations
        self._address = address
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises ConfigurationError where the address cannot be had."""
        if self._address is None:
            return
        host, port = self._address
        try:
            self._server = await asyncio.start_server(self._connected, host, port, limit=REQUEST_BYTES)
        except OSError as error:
            message = f"metrics.listen: {host}:{port} cannot be had: {error.strerror or error}"
            file = str(self._operations.house.edition.settings.file)
            raise ConfigurationError([Problem(file=file, line=1, column=1, message=message)]) from error

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) <= CONNECTIONS:
                await self._serve(reader, writer)
        except Exception:
            log.exception("a request for metrics failed")
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return
        except asyncio.LimitOverrunError:
            head = b""
        method, status, kind, body = self._answer(head.split(b"\r\n", 1)[0])
        lines = (
            f"HTTP/1.1 {status} {REASONS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write("\r\n".join((*lines, "", "")).encode() + (b"" if method == b"HEAD" else body))
            async with asyncio.timeout(REQUEST_S):
                await writer.drain()

    def _answer(self, line: bytes) -> tuple[bytes, int, str, bytes]:
        words = line.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return (b"", *_plain(400))
        method, target, _ = words
        if method not in (b"GET", b"HEAD"):
            return (method, *_plain(405))
        match target.partition(b"?")[0]:
            case b"/metrics":
                return method, 200, metrics.CONTENT_TYPE, metrics.text(self._operations)
            case b"/healthz":
                reasons = self._operations.scheduler.unhealthy()
                body = json.dumps({"healthy": not reasons, "reasons": reasons}).encode()
                return method, 503 if reasons else 200, "application/json", body
        return (method, *_plain(404))


def _plain(status: int) -> Answer:
    return status, "text/plain; charset=utf-8", f"{REASONS[status]}\n".encode()
