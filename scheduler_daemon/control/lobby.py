"""Where connections wait until they say something: a thousand that say nothing must cost next to nothing."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from typing import Protocol

from scheduler_daemon.control.door import Door, Manners
from scheduler_daemon.control.peers import Peer, peer_of
from scheduler_daemon.control.problems import response_bytes

AT_ONCE = 32
"""So many are let in between two turns of the event loop."""
SILENCE_S = 5.0
OUT_OF_FILES_S = 0.2


class Conversation(Protocol):
    """A protocol that serves somebody who has said something."""

    def manners(self) -> Manners: ...
    def leave(self) -> None: ...


Serve = Callable[[Peer, Callable[[], None]], asyncio.Protocol]
"""Makes a Conversation with a peer; it calls the function when the connection is gone."""


class Lobby:
    """Accepts connections, shows them to the door, and hands those that speak to a protocol."""

    def __init__(self, door: Door, serve: Serve) -> None:
        self._door = door
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._waiting: set[Visitor] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, listener: socket.socket) -> None:
        """`listener` does not block."""
        self._listener = listener
        self._loop.add_reader(listener.fileno(), self._accept)

    async def close(self) -> None:
        """Nobody new comes in, and those who have not spoken go."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for visitor in list(self._waiting):
            visitor.leave()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        visitor = Visitor(self, connection, peer)
        refusal = self._door.enter(visitor, peer)
        if refusal is not None:
            _farewell(connection, 503, "too-many-connections", refusal)
            return
        self._waiting.add(visitor)
        visitor.wait(self._loop)

    def spoke(self, visitor: Visitor, connection: socket.socket, peer: Peer) -> None:
        self._waiting.discard(visitor)
        task = self._loop.create_task(self._converse(visitor, connection, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def gone(self, visitor: Visitor) -> None:
        self._waiting.discard(visitor)
        self._door.left(visitor)

    async def _converse(self, visitor: Visitor, connection: socket.socket, peer: Peer) -> None:
        def serve() -> asyncio.Protocol:
            protocol = self._serve(peer, lambda: self._door.left(visitor))
            visitor.conversation = protocol  # type: ignore[assignment]  # Serve's protocols are Conversations
            return protocol

        try:
            await self._loop.connect_accepted_socket(serve, connection)
        except OSError:
            connection.close()
            self._door.left(visitor)


class Visitor:
    """A connection: silent at first, then a conversation."""

    def __init__(self, lobby: Lobby, connection: socket.socket, peer: Peer) -> None:
        self.conversation: Conversation | None = None
        self._lobby = lobby
        self._connection = connection
        self._peer = peer
        self._spoke = False
        self._deadline: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """For the first byte, or the end of it."""
        self._loop = loop
        self._deadline = loop.call_later(SILENCE_S, self._late)
        loop.add_reader(self._connection.fileno(), self._readable)

    def manners(self) -> Manners:
        if self.conversation is not None:
            return self.conversation.manners()
        return Manners.BUSY if self._spoke or waiting_bytes(self._connection) else Manners.SILENT

    def leave(self) -> None:
        if self.conversation is not None:
            self.conversation.leave()
        elif not self._spoke:
            self._stop_waiting()
            self._connection.close()
            self._lobby.gone(self)

    def _readable(self) -> None:
        self._stop_waiting()
        self._spoke = True
        self._lobby.spoke(self, self._connection, self._peer)

    def _late(self) -> None:
        self._stop_waiting()
        _farewell(self._connection, 408, "request-timeout", f"no request came within {SILENCE_S:g} s")
        self._lobby.gone(self)

    def _stop_waiting(self) -> None:
        self._loop.remove_reader(self._connection.fileno())
        if self._deadline is not None:
            self._deadline.cancel()


class HasFile(Protocol):
    def fileno(self) -> int: ...


def waiting_bytes(connection: HasFile) -> int:
    """In the socket, and not read yet."""
    return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def _farewell(connection: socket.socket, status: int, code: str, detail: str) -> None:
    """A socket that nothing was sent to has room for this."""
    try:
        connection.send(response_bytes(status, code, detail))
    except OSError:
        return
    finally:
        connection.close()
