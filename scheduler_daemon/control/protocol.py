"""One connection: whose it is, how many there may be, and how long a request may take to arrive."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from scheduler_daemon.control.peers import Access, Peer, Rules, peer_of
from scheduler_daemon.control.problems import response_bytes

MAX_CONNECTIONS = 256
MAX_PER_UID = 64
REQUEST_DEADLINE_S = 5.0
_SILENT = logging.Logger("control", logging.CRITICAL + 1)
"""uvicorn has a line for every request that is no HTTP: anyone could fill the log."""
_RECEIVING = (h11.IDLE, h11.SEND_BODY)


class Guest(Protocol):
    """A connection, as the door sees it."""

    @property
    def idle(self) -> bool:
        """No request has arrived whole: nobody is hurt if it goes."""

    def leave(self) -> None: ...


class Door:
    """Who is in. Where it is full, the oldest idle connection makes room; for whoever may control, any
    reader's."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._inside: dict[Guest, Peer] = {}
        self._by_uid: Counter[int] = Counter()
        self.refused = 0

    def access(self, peer: Peer) -> Access:
        return self._rules.access(peer)

    def enter(self, guest: Guest, peer: Peer) -> str | None:
        """None, or why there is no room for one more."""
        if self._by_uid[peer.uid] >= MAX_PER_UID:
            self._make_room(lambda one, of: one.idle and of.uid == peer.uid)
        elif len(self._inside) >= MAX_CONNECTIONS:
            controls = self.access(peer) is Access.CONTROL
            if not self._make_room(lambda one, of: one.idle) and controls:
                self._make_room(lambda one, of: self.access(of) is not Access.CONTROL)
        if self._by_uid[peer.uid] >= MAX_PER_UID or len(self._inside) >= MAX_CONNECTIONS:
            self.refused += 1
            return f"too many requests at once: {MAX_PER_UID} a user and {MAX_CONNECTIONS} in all"
        self._inside[guest] = peer
        self._by_uid[peer.uid] += 1
        return None

    def left(self, guest: Guest) -> None:
        peer = self._inside.pop(guest, None)
        if peer is not None:
            self._by_uid[peer.uid] -= 1

    def _make_room(self, may_go: Callable[[Guest, Peer], bool]) -> bool:
        """The oldest that may go goes."""
        found = next((guest for guest, peer in self._inside.items() if may_go(guest, peer)), None)
        if found is not None:
            self.left(found)
            found.leave()
        return found is not None


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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        try:
            peer = peer_of(transport.get_extra_info("socket"))
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

    @property
    def idle(self) -> bool:
        return self.conn.their_state in _RECEIVING

    def leave(self) -> None:
        self.transport.abort()

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

    def on_response_complete(self) -> None:
        super().on_response_complete()
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
