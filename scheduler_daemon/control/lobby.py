"""Where connections wait until they say something: a thousand that say nothing must cost next to nothing."""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import sys
import termios
from collections.abc import Callable
from typing import Protocol

from scheduler_daemon.control.door import MAX_CONNECTIONS, MAX_PER_UID, Door, Manners
from scheduler_daemon.control.peers import Peer, peer_of
from scheduler_daemon.control.problems import response_bytes

AT_ONCE = 32
"""So many are let in between two turns of the event loop."""
SILENCE_S = 5.0
OUT_OF_FILES_S = 0.2
CROWDED = response_bytes(
    503,
    "too-many-connections",
    f"too many requests at once: {MAX_PER_UID} a user and {MAX_CONNECTIONS} in all; try again",
)
NO_REQUEST = response_bytes(408, "request-timeout", f"no request came within {SILENCE_S:g} s")


class Conversation(Protocol):
    """A protocol that serves somebody who has said something."""

    def manners(self) -> Manners: ...
    def leave(self) -> None: ...


Serve = Callable[[Peer, Callable[[], None]], asyncio.Protocol]
"""Makes a Conversation with a peer; it calls the function when the connection is gone."""


class Lobby:
    """Accepts connections, shows them to the door, and hands those that speak to a protocol.

    One epoll holds all that are silent, and the event loop watches only that.
    """

    def __init__(self, door: Door, serve: Serve) -> None:
        self._door = door
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._silent = select.epoll()
        self._waiting: dict[int, Visitor] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, listener: socket.socket) -> None:
        """`listener` does not block."""
        self._listener = listener
        self._loop.add_reader(listener.fileno(), self._accept)
        self._loop.add_reader(self._silent.fileno(), self._listen)

    async def close(self) -> None:
        """Nobody new comes in, and those who have not spoken go."""
        if self._listener is None:
            return
        self._loop.remove_reader(self._listener.fileno())
        self._loop.remove_reader(self._silent.fileno())
        self._listener.close()
        self._listener = None
        for visitor in list(self._waiting.values()):
            self._door.left(visitor)
            visitor.leave()
        if self._sweep is not None:
            self._sweep.cancel()
        self._silent.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def forget(self, visitor: Visitor) -> None:
        """It speaks, or leaves."""
        self._silent.unregister(visitor.connection)
        del self._waiting[visitor.connection.fileno()]

    def _accept(self) -> None:
        listener = self._listener
        assert listener is not None
        for _ in range(AT_ONCE):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError:
                self._pause(listener)
                return
            self._welcome(connection)

    def _pause(self, listener: socket.socket) -> None:
        """No file descriptor is left: others must go first."""
        self._loop.remove_reader(listener.fileno())
        self._loop.call_later(OUT_OF_FILES_S, self._resume)

    def _resume(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            peer = peer_of(connection)
        except OSError:
            connection.close()
            return
        visitor = Visitor(self, connection, peer, self._loop.time())
        if not self._door.enter(visitor, peer):
            _farewell(connection, CROWDED)
            return
        self._waiting[connection.fileno()] = visitor
        self._silent.register(connection, select.EPOLLIN)
        if self._sweep is None:
            self._sweep = self._loop.call_at(visitor.since + SILENCE_S, self._send_away)

    def _listen(self) -> None:
        """Some have spoken."""
        for number, _ in self._silent.poll(0):
            visitor = self._waiting[number]
            visitor.speak()
            task = self._loop.create_task(self._converse(visitor))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _send_away(self) -> None:
        """Those that have been silent for too long, the oldest first."""
        self._sweep = None
        for visitor in list(self._waiting.values()):
            due = visitor.since + SILENCE_S
            if due > self._loop.time():
                self._sweep = self._loop.call_at(due, self._send_away)
                return
            self.forget(visitor)
            self._door.left(visitor)
            _farewell(visitor.connection, NO_REQUEST)

    async def _converse(self, visitor: Visitor) -> None:
        def serve() -> asyncio.Protocol:
            protocol = self._serve(visitor.peer, lambda: self._door.left(visitor))
            visitor.conversation = protocol  # type: ignore[assignment]  # Serve's protocols are Conversations
            return protocol

        try:
            await self._loop.connect_accepted_socket(serve, visitor.connection)
        except OSError:
            visitor.connection.close()
            self._door.left(visitor)


class Visitor:
    """A connection: silent at first, then a conversation. `since`: the loop's time of its arrival."""

    __slots__ = ("_lobby", "connection", "conversation", "peer", "since", "spoke")

    def __init__(self, lobby: Lobby, connection: socket.socket, peer: Peer, since: float) -> None:
        self.connection = connection
        self.conversation: Conversation | None = None
        self.peer = peer
        self.since = since
        self.spoke = False
        self._lobby = lobby

    def manners(self) -> Manners:
        if self.conversation is not None:
            return self.conversation.manners()
        return Manners.BUSY if self.spoke or waiting_bytes(self.connection) else Manners.SILENT

    def speak(self) -> None:
        self.spoke = True
        self._lobby.forget(self)

    def leave(self) -> None:
        if self.conversation is not None:
            self.conversation.leave()
        elif not self.spoke:
            self._lobby.forget(self)
            _farewell(self.connection, CROWDED)


class HasFile(Protocol):
    def fileno(self) -> int: ...


def waiting_bytes(connection: HasFile) -> int:
    """In the socket, and not read yet."""
    return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def _farewell(connection: socket.socket, words: bytes) -> None:
    """A socket that nothing was sent to has room for this."""
    try:
        connection.send(words)
    except OSError:
        return
    finally:
        connection.close()
