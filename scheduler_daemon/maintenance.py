"""Work on a database beside the daemon, or while it is stopped: reach it, back it up, restore, upgrade."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from scheduler_daemon.database import archive, upgrade
from scheduler_daemon.database.binaries import newest
from scheduler_daemon.database.cluster import Cluster
from scheduler_daemon.database.embedded import DATABASE, EmbeddedServer
from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.database.pools import connect_with_retry
from scheduler_daemon.database.roles import JOB_ROLE
from scheduler_daemon.database.sockets import socket_folder
from scheduler_daemon.errors import DatabaseUnavailableError, StateDirectoryError
from scheduler_daemon.ledger.history import Actor, History
from scheduler_daemon.ledger.presence import Presence
from scheduler_daemon.ledger.values import NodeIdentity
from scheduler_daemon.model import Settings
from scheduler_daemon.state import StateDirectory

PATIENCE = timedelta(seconds=60)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """A database to work on. `job_role`: the role of the jobs' own, where the daemon manages it."""

    url: str
    job_role: str | None = None


@contextlib.asynccontextmanager
async def reach(settings: Settings) -> AsyncIterator[Reached]:
    """The database of this configuration: an external one, the running daemon's, or one started for the time.

    Raises DatabaseUnavailableError, DatabaseUnusableError, StateDirectoryError.
    """
    if settings.database_url is not None:
        await (await connect_with_retry(settings.database_url, log.warning, PATIENCE)).close()
        yield Reached(url=settings.database_url)
        return
    state = StateDirectory(settings.state_dir)
    if holder := await asyncio.to_thread(state.holder):
        yield Reached(url=_running(settings.state_dir, holder), job_role=JOB_ROLE)
        return
    async with _alone(state):
        server = EmbeddedServer(settings.state_dir, log=log.debug)
        await server.start()
        try:
            yield Reached(url=server.url, job_role=JOB_ROLE)
        finally:
            await server.stop()


def _running(state_dir: Path, holder: str) -> str:
    folder = state_dir.resolve() / "postgres"
    cluster = Cluster(folder=folder, binaries=newest(), sockets=socket_folder(folder / "run"))
    if not cluster.ready():
        raise DatabaseUnavailableError(
            f"the scheduler-daemon with pid {holder} has {state_dir}, and its database does not answer (yet)"
        )
    return cluster.url(DATABASE)


@contextlib.asynccontextmanager
async def _alone(state: StateDirectory) -> AsyncIterator[None]:
    state.prepare()
    state.lock()
    try:
        yield
    finally:
        state.release()


async def back_up(settings: Settings, file: Path, *, overwrite: bool = False) -> archive.Archive:
    """The whole database, the application's tables too, in one file; the daemon may go on meanwhile."""
    async with reach(settings) as database:
        return await archive.backup(database.url, file, overwrite=overwrite)


async def restore(
    settings: Settings, file: Path, *, replace: bool = False
) -> tuple[archive.Archive, str | None]:
    """Fill an empty database, or `replace` the present one, which stays under the name that is returned.

    The daemon must be stopped. Nothing runs on the result until it is accepted.
    Raises StateDirectoryError (the daemon runs), DatabaseUnusableError, DatabaseUnavailableError.
    """
    found = await archive.inspect(file)
    state = StateDirectory(settings.state_dir)
    if holder := await asyncio.to_thread(state.holder):
        raise StateDirectoryError(f"the scheduler-daemon with pid {holder} is running on it: stop it first")
    async with reach(settings) as database:
        if replace:
            return found, await archive.replace(database.url, file, now=datetime.now(UTC))
        return await archive.restore(database.url, file), None


async def upgrade_database(settings: Settings) -> Path | None:
    """Bring the embedded server to the newest PostgreSQL here; returns where the old files stay, or None."""
    if settings.database_url is not None:
        raise StateDirectoryError(
            "database.url names a PostgreSQL of yours, which is upgraded by its own means; nothing to do here"
        )
    async with _alone(StateDirectory(settings.state_dir)):
        return await upgrade.upgrade(settings.state_dir, log=log.info)


async def accept(settings: Settings, actor: Actor) -> bool:
    """This database, restored or copied, is the real one now: its jobs may run here. False: it was already.

    A daemon that holds back notices within seconds.
    """
    async with reach(settings) as database:
        gateway = Gateway(database.url, log=log.warning)
        await gateway.open()
        try:
            node = _identity(settings)
            presence = Presence(gateway, node, offset=lambda: timedelta(0))
            if not await presence.restored():
                return False
            await presence.accept()
            await History(gateway, node.id).record_action(actor, "accept", None, ("restored", "accepted"))
            return True
        finally:
            await gateway.close()


def _identity(settings: Settings) -> NodeIdentity:
    """Of this state directory, if it has one yet."""
    try:
        node = UUID((settings.state_dir / "node").read_text().strip())
    except (OSError, ValueError):
        node = UUID(int=0)
    return NodeIdentity(id=node, boot_id=uuid4(), name="", machine_id="", pid=os.getpid(), version="")
