"""The control server: HTTP on the Unix socket, inside the daemon's own event loop.

Of uvicorn only the protocol is used: its Server installs signal handlers, makes the socket 0666, ticks
every 100 ms, and waits for open streams without bound when it stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from uvicorn.server import ServerState

from scheduler_daemon.control.app import application
from scheduler_daemon.control.door import Door
from scheduler_daemon.control.listener import listen, remove, unreachable_for_others
from scheduler_daemon.control.lobby import Lobby
from scheduler_daemon.control.peers import Rules
from scheduler_daemon.control.protocol import PeerProtocol, Serving, uvicorn_config
from scheduler_daemon.model import ControlSettings
from scheduler_daemon.operations import Operations

STOP_S = 2.0
Log = Callable[..., object]


class ControlServer:
    """`log` takes warnings: a message and fields."""

    def __init__(self, operations: Operations, settings: ControlSettings, *, log: Log | None = None) -> None:
        self._operations = operations
        self._settings = settings
        self._log = log or structlog.get_logger(__name__).warning
        self._state = ServerState()
        self._lobby: Lobby | None = None
        self._inode = 0

    async def start(self) -> None:
        """Raises StateDirectoryError (the socket cannot be had), ConfigurationError (an unknown group)."""
        rules = Rules.of(self._settings)
        path, door = self._settings.socket, Door(rules)
        config = uvicorn_config(application(self._operations))
        shared = Serving(config=config, state=self._state, loop=asyncio.get_running_loop())
        listener = listen(path, rules)
        self._inode = path.stat().st_ino
        self._lobby = Lobby(door, lambda peer, gone: PeerProtocol(peer, rules.access(peer), gone, shared))
        self._lobby.open(listener)
        if closed := unreachable_for_others(path, rules):
            self._log(
                "others cannot reach the control socket: set control.socket to a path outside this folder",
                folder=closed,
            )

    async def stop(self) -> None:
        """Take no more requests, let those under way end, but not for long. Streams end now."""
        if self._lobby is None:
            return
        lobby, self._lobby = self._lobby, None
        remove(self._settings.socket, self._inode)
        self._operations.house.runner.streams.end()
        await lobby.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._state.connections):
            connection.transport.abort()
