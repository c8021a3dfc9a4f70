"""One connection: whose it is, how many there may be, and how long a request may take to arrive."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from scheduler_daemon.control.peers import Access, Peer, Rules, peer_of
from scheduler_daemon.control.problems import response_bytes

MAX_CONNECTIONS = 256
MAX_PER_UID = 64
RESERVED = 64
"""Of all connections, those that are kept for people who may control."""
REQUEST_DEADLINE_S = 5.0
_RECEIVING = (h11.IDLE, h11.SEND_BODY)


class Door:
    """Counts who is in."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._by_uid: Counter[int] = Counter()
        self._guests = 0
        self.refused = 0

    @property
    def inside(self) -> int:
        return self._by_uid.total()

    def access(self, peer: Peer) -> Access:
        return self._rules.access(peer)

    def enter(self, peer: Peer) -> str | None:
        """None, or why there is no room for one more."""
        guest = self.access(peer) is not Access.CONTROL
        full = self.inside >= MAX_CONNECTIONS or (guest and self._guests >= MAX_CONNECTIONS - RESERVED)
        if full or self._by_uid[peer.uid] >= MAX_PER_UID:
            self.refused += 1
            return f"too many connections: {MAX_PER_UID} a user and {MAX_CONNECTIONS} in all"
        self._by_uid[peer.uid] += 1
        self._guests += guest
        return None

    def leave(self, peer: Peer) -> None:
        self._by_uid[peer.uid] -= 1
        self._guests -= self.access(peer) is not Access.CONTROL


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
        self._door = door
        self._peer: Peer | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        try:
            peer = peer_of(transport.get_extra_info("socket"))
        except OSError:
            transport.abort()
            return
        refusal = self._door.enter(peer)
        if refusal is not None:
            transport.write(response_bytes(503, "too-many-connections", refusal))
            transport.close()
            return
        self._peer = peer
        self.app_state = {"peer": peer, "access": self._door.access(peer)}
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        if self._peer is not None:
            self._door.leave(self._peer)
            self._peer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._peer is None:
            return
        self._start_deadline()
        super().data_received(data)
        if self.conn.their_state not in _RECEIVING:
            self._stop_deadline()

    def eof_received(self) -> None:
        """A client that says no more, and waits for no answer, is done."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

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
