"""From one major version of the embedded PostgreSQL to the next, by pg_upgrade.

The old cluster is only read. STATE_DIR/postgres/upgrade holds the work; once it is complete it is renamed to
`upgraded`, and takes the old one's place, which stays as `data.OLD`. Stopped anywhere, it can be run again.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import LiteralString

from scheduler_daemon.database import binaries
from scheduler_daemon.database.cluster import ENVIRONMENT, PORT, SUPERUSER, Cluster
from scheduler_daemon.database.embedded import EmbeddedServer
from scheduler_daemon.database.pools import border, connect, describe
from scheduler_daemon.database.sockets import socket_folder
from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError

_NAME = "scheduler-daemon upgrade"
_SAME_INSTALLATION: LiteralString = (
    "UPDATE scheduler.installation SET system_identifier = %s WHERE system_identifier = %s"
)
ROOM = 1.2
"""Times the old cluster's size that must be free: the new one is a copy."""


async def upgrade(state_dir: Path, *, log: Callable[[str], None]) -> Path | None:
    """Upgrade the cluster in `state_dir` to the newest PostgreSQL here; None if it is that already.

    Returns where the old cluster stays. The caller holds the state directory's lock.
    Raises DatabaseUnusableError (the old programs are missing), DatabaseUnavailableError (no room, or else).
    """
    cluster = _cluster(state_dir)
    folder, new = cluster.folder, cluster.binaries
    if cluster.finish_upgrade():
        log("an earlier upgrade was complete; its cluster is now in place")
    major = cluster.major()
    if major >= new.major:
        cluster.check()
        return None
    old = binaries.of_major(major)
    _check_room(cluster.data, folder / f"data.{major}")
    log(f"upgrading {cluster.data} from PostgreSQL {old.version} to {new.version}")
    identifier = await _settle(state_dir, old, log)
    await asyncio.to_thread(_convert, folder, old, new)
    await _adopt(folder / "upgrade", identifier)
    (folder / "upgrade").rename(folder / "upgraded")
    cluster.finish_upgrade()
    return folder / f"data.{major}"


def _cluster(state_dir: Path) -> Cluster:
    folder = state_dir.resolve() / "postgres"
    return Cluster(folder=folder, binaries=binaries.newest(), sockets=folder / "run")


def _check_room(data: Path, afterwards: Path) -> None:
    if afterwards.exists():
        raise DatabaseUnusableError(f"{afterwards}, the place for the old cluster, is taken; move it away")
    size = sum(file.lstat().st_size for file in data.rglob("*"))
    free = shutil.disk_usage(data).free
    if free < size * ROOM:
        raise DatabaseUnavailableError(
            f"{data}: the upgrade makes a copy and needs {int(size * ROOM) >> 20} MB of disk; "
            f"{free >> 20} MB are free"
        )


async def _settle(state_dir: Path, programs: binaries.Binaries, log: Callable[[str], None]) -> int:
    """Let the old server recover what a crash left, and stop cleanly. Returns its system identifier."""
    server = EmbeddedServer(state_dir, log=log, programs=programs)
    await server.start()
    try:
        return await _identifier(server.url)
    finally:
        await server.stop()


def _convert(folder: Path, old: binaries.Binaries, new: binaries.Binaries) -> None:
    work = folder / "upgrade"
    for remains in (work, folder / "upgraded"):
        shutil.rmtree(remains, ignore_errors=True)
    source = Cluster(folder=folder, binaries=old, sockets=socket_folder(folder / "run"))
    target = Cluster(folder=work / "postgres", binaries=new, sockets=source.sockets)
    target.create(*_same_shape(source, new))
    done = subprocess.run(
        source.confinement.command(
            new.program("pg_upgrade"),
            *(f"--old-bindir={old.folder}", f"--new-bindir={new.folder}"),
            *(f"--old-datadir={source.data}", f"--new-datadir={target.data}"),
            *(f"--old-port={PORT}", f"--new-port={PORT}", f"--socketdir={source.sockets}"),
            *(f"--username={SUPERUSER}", "--copy"),
        ),
        cwd=work,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        said = done.stdout + done.stderr
        raise DatabaseUnavailableError(f"pg_upgrade failed: {_cause(target.data, said)} (its files: {work})")


def _cause(data: Path, said: str) -> str:
    """The first error in the logs that pg_upgrade leaves behind, or the last that it said itself."""
    for log in sorted((data / "pg_upgrade_output.d").glob("*/log/*.log")):
        if found := re.search(r"\b(?:ERROR|FATAL): .*", log.read_text(errors="replace")):
            return " ".join(found[0].split())
    return " ".join(said.split("\n\n")[-1].split())


def _same_shape(source: Cluster, new: binaries.Binaries) -> list[str]:
    """What pg_upgrade wants alike on both sides: checksums and the size of log segments."""
    answer = subprocess.run(
        source.confinement.command(source.binaries.program("pg_controldata"), str(source.data)),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    facts = dict(re.findall(r"^(.+?): +(.+)$", answer, re.MULTILINE))
    segment = int(facts["Bytes per WAL segment"]) >> 20
    without = [] if new.major < 18 else ["--no-data-checksums"]
    summed = facts["Data page checksum version"] != "0"
    return [f"--wal-segsize={segment}", *(["--data-checksums"] if summed else without)]


async def _adopt(work: Path, old_identifier: int) -> None:
    """Collect statistics; and the ledger shall know the new cluster as the one that it was accepted on."""
    server = EmbeddedServer(work, log=lambda line: None)
    await server.start()
    try:
        new_identifier = await _identifier(server.url)
        async with await connect(server.url, application_name=_NAME) as connection:
            with border(describe(server.url)):
                await connection.execute("ANALYZE")
                cursor = await connection.execute("SELECT to_regclass('scheduler.installation') IS NOT NULL")
                if await cursor.fetchone() == (True,):
                    await connection.execute(_SAME_INSTALLATION, [new_identifier, old_identifier])
    finally:
        await server.stop()


async def _identifier(url: str) -> int:
    async with await connect(url, application_name=_NAME) as connection:
        with border(describe(url)):
            cursor = await connection.execute("SELECT system_identifier FROM pg_control_system()")
            row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
