"""One connection: whose it is, how many there may be, and how long a request may take to arrive."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from scheduler_daemon.control.door import Manners
from scheduler_daemon.control.lobby import waiting_bytes
from scheduler_daemon.control.peers import Access, Peer
from scheduler_daemon.control.problems import response_bytes

REQUEST_DEADLINE_S = 5.0
PATIENCE_S = 0.25
MAX_HEAD_BYTES = 32 * 1024
MAX_HEAD_LINES = 100
TOO_LONG = f"a request's head has at most {MAX_HEAD_BYTES:,} bytes and {MAX_HEAD_LINES} lines"
_SILENT = logging.Logger("control", logging.CRITICAL + 1)
"""uvicorn has a line for every request that is no HTTP: anyone could fill the log."""
_RECEIVING = (h11.IDLE, h11.SEND_BODY)
_END = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """What all connections of a server share."""

    config: Config
    state: ServerState
    loop: asyncio.AbstractEventLoop


class PeerProtocol(H11Protocol):
    """uvicorn's protocol with what it lacks: peer credentials, limits, a deadline for each request.

    Handlers find `peer` and `access` in the request's state. `gone` is called at the connection's end.
    """

    def __init__(self, peer: Peer, access: Access, gone: Callable[[], None], server: Serving) -> None:
        super().__init__(server.config, server.state, {"peer": peer, "access": access}, server.loop)
        self.logger = _SILENT
        self._gone = gone
        self._deadline: asyncio.TimerHandle | None = None
        self._heard = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        self._gone()
        super().connection_lost(exc)

    def manners(self) -> Manners:
        transport: asyncio.Transport | None = self.transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return Manners.BUSY
        if self.conn.their_state not in _RECEIVING or waiting_bytes(self._socket):
            return Manners.BUSY
        if not self._heard:
            return Manners.SILENT
        return Manners.STALLING if self.loop.time() - self._heard > PATIENCE_S else Manners.BUSY

    def leave(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._start_deadline()
        self._heard = self._heard or self.loop.time()
        if self.conn.their_state is h11.IDLE and _too_long(self.conn.trailing_data[0], data):
            self._refuse(431, "too-large", TOO_LONG)
            return
        super().data_received(data)
        if self.conn.their_state not in _RECEIVING:
            self._stop_deadline()

    def eof_received(self) -> None:
        """A client that says no more, and waits for no answer, is done."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def on_response_complete(self) -> None:
        if _too_long(self.conn.trailing_data[0], b""):
            self._refuse(431, "too-large", TOO_LONG)
            return
        super().on_response_complete()
        self._heard = 0.0
        if self.conn.their_state in _RECEIVING and self.conn.trailing_data[0]:
            self._start_deadline()

    def send_400_response(self, msg: str) -> None:
        """What h11 cannot read: called where its error is handled."""
        error = sys.exc_info()[1]
        status = getattr(error, "error_status_hint", 400)
        self._refuse(status, "bad-request", f"{msg} {error}")

    def _late(self) -> None:
        self._deadline = None
        self._refuse(408, "request-timeout", f"the request did not arrive within {REQUEST_DEADLINE_S:g} s")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer where nothing has been answered yet; close in any case."""
        self._stop_deadline()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(response_bytes(status, code, detail))
            self.transport.close()
        else:
            self.transport.abort()

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_DEADLINE_S, self._late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _too_long(before: bytes, data: bytes) -> bool:
    """Whether a head has too many bytes or lines to be worth reading: h11 would read all of it first."""
    head = before + data[:MAX_HEAD_BYTES] if before else data
    end = head.find(_END, 0, MAX_HEAD_BYTES)
    if end < 0:
        return len(before) + len(data) > MAX_HEAD_BYTES
    return head.count(b"\n", 0, end) > MAX_HEAD_LINES


def uvicorn_config(app: Any) -> Config:
    """uvicorn without its logs, signals, sockets, lifespan and WebSockets."""
    config = Config(
        app,
        http=PeerProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    config.load()
    return config
