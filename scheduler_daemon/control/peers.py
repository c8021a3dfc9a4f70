"""Who is on the other end of the socket, as the kernel tells it, and what they may do."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from scheduler_daemon.errors import ConfigurationError, Problem
from scheduler_daemon.model import ControlSettings

_UCRED = struct.Struct("3i")
_SO_PEERGROUPS = 59
"""Linux, socket(7); Python 3.11 has no name for it."""
_GID_BYTES = 4


class Socket(Protocol):
    """What asyncio shows of a connection's socket."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


class Access(IntEnum):
    NOTHING = 0
    LOOK = 1
    CONTROL = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """The process that connected: its effective ids at that moment."""

    uid: int
    gid: int
    pid: int
    groups: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The daemon's own user, root and `controllers` may control; `readers` may look."""

    owner: int = field(default_factory=os.geteuid)
    controllers: int | None = None
    readers: frozenset[int] = frozenset()

    @classmethod
    def of(cls, settings: ControlSettings) -> Rules:
        """Raises ConfigurationError for a group that this machine does not have."""
        group = settings.group
        return cls(
            controllers=None if group is None else _gid(group, "control.group"),
            readers=frozenset(_gid(name, "control.readers") for name in settings.readers),
        )

    def access(self, peer: Peer) -> Access:
        groups = peer.groups | {peer.gid}
        if peer.uid in (0, self.owner) or self.controllers in groups:
            return Access.CONTROL
        return Access.LOOK if self.readers & groups else Access.NOTHING


def peer_of(connection: Socket) -> Peer:
    """SO_PEERCRED and SO_PEERGROUPS. Raises OSError where the socket is no connected Unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(credentials)
    return Peer(uid=uid, gid=gid, pid=pid, groups=_groups(connection))


def user_name(uid: int) -> str:
    """May ask the network, where users are kept there: not for the event loop."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _groups(connection: Socket) -> frozenset[int]:
    size = 64 * _GID_BYTES
    while True:
        try:
            data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, size)
        except OSError as error:
            if error.errno != errno.ERANGE or size >= 65536 * _GID_BYTES:
                return frozenset()
            size *= 4
            continue
        return frozenset(struct.unpack(f"{len(data) // _GID_BYTES}I", data))


def _gid(name: str, key: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        message = f'{key}: this machine has no group "{name}"'
        raise ConfigurationError([Problem(file="configuration", line=1, column=1, message=message)]) from None
