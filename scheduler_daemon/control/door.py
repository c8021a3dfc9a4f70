"""Who may stay where a control socket is crowded: those who are being served, then those who ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from scheduler_daemon.control.peers import Access, Peer, Rules

MAX_CONNECTIONS = 256
MAX_PER_UID = 64


class Manners(IntEnum):
    """What a connection does with its place."""

    BUSY = 0
    """Its request has arrived, or is arriving."""
    STALLING = 1
    """A request began to come a while ago, and is not whole yet."""
    SILENT = 2
    """It has said nothing yet."""


class Guest(Protocol):
    """A connection, as the door sees it."""

    def manners(self) -> Manners: ...
    def leave(self) -> None: ...


class Door:
    """Where it is full, the oldest silent or stalling connection makes room: waiting keeps nobody out.

    For whoever may control, any reader's connection makes room.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._inside: dict[Guest, Peer] = {}
        self._by_uid: Counter[int] = Counter()

    def access(self, peer: Peer) -> Access:
        return self._rules.access(peer)

    def enter(self, guest: Guest, peer: Peer) -> bool:
        """False: there is no room for one more."""
        if self._by_uid[peer.uid] >= MAX_PER_UID:
            self._clear(lambda of: of.uid == peer.uid)
        elif len(self._inside) >= MAX_CONNECTIONS:
            cleared = self._clear(lambda of: True)
            if not cleared and self.access(peer) is Access.CONTROL:
                self._dismiss(next((one for one, of in self._inside.items() if self._reads(of)), None))
        if self._by_uid[peer.uid] >= MAX_PER_UID or len(self._inside) >= MAX_CONNECTIONS:
            return False
        self._inside[guest] = peer
        self._by_uid[peer.uid] += 1
        return True

    def left(self, guest: Guest) -> None:
        peer = self._inside.pop(guest, None)
        if peer is not None:
            self._by_uid[peer.uid] -= 1

    def _clear(self, among: Callable[[Peer], bool]) -> bool:
        """Silent ones go first, the oldest of them; then stalling ones. False if all are busy."""
        stalling: Guest | None = None
        for guest, peer in self._inside.items():
            manners = guest.manners() if among(peer) else Manners.BUSY
            if manners is Manners.SILENT:
                self._dismiss(guest)
                return True
            if manners is Manners.STALLING and stalling is None:
                stalling = guest
        self._dismiss(stalling)
        return stalling is not None

    def _dismiss(self, guest: Guest | None) -> None:
        if guest is not None:
            self.left(guest)
            guest.leave()

    def _reads(self, peer: Peer) -> bool:
        return self.access(peer) is not Access.CONTROL
