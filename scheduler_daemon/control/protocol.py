"""One connection: whose it is, how many there may be, and how long a request may take to arrive."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sys
import termios
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from scheduler_daemon.control.door import Door, Manners
from scheduler_daemon.control.peers import Peer, peer_of
from scheduler_daemon.control.problems import response_bytes

REQUEST_DEADLINE_S = 5.0
PATIENCE_S = 0.25
_SILENT = logging.Logger("control", logging.CRITICAL + 1)
"""uvicorn has a line for every request that is no HTTP: anyone could fill the log."""
_RECEIVING = (h11.IDLE, h11.SEND_BODY)


class PeerProtocol(H11Protocol):
    """uvicorn's protocol with what it lacks: peer credentials, limits, a deadline for each request.

    Handlers find `peer` and `access` in the request's state.
    """

    def __init__(
        self,
        door: Door,
        config: Config,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self.logger = _SILENT
        self._door = door
        self._peer: Peer | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._heard = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")
        try:
            peer = peer_of(self._socket)
        except OSError:
            transport.abort()
            return
        refusal = self._door.enter(self, peer)
        if refusal is not None:
            transport.write(response_bytes(503, "too-many-connections", refusal))
            transport.close()
            return
        self._peer = peer
        self.app_state = {"peer": peer, "access": self._door.access(peer)}
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        self._door.left(self)
        self._peer = None
        super().connection_lost(exc)

    def manners(self) -> Manners:
        if self.conn.their_state not in _RECEIVING or self._waiting_bytes():
            return Manners.BUSY
        if not self._heard:
            return Manners.SILENT
        return Manners.STALLING if self.loop.time() - self._heard > PATIENCE_S else Manners.BUSY

    def leave(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._peer is None:
            return
        self._start_deadline()
        self._heard = self.loop.time()
        super().data_received(data)
        if self.conn.their_state not in _RECEIVING:
            self._stop_deadline()

    def eof_received(self) -> None:
        """A client that says no more, and waits for no answer, is done."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def on_response_complete(self) -> None:
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

    def _waiting_bytes(self) -> int:
        """In the socket, and not read yet."""
        return int.from_bytes(fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_DEADLINE_S, self._late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


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
        h11_max_incomplete_event_size=32 * 1024,
    )
    config.load()
    return config
