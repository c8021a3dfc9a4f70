"""The daemon's own PostgreSQL: made at the first start, open to its owner alone, ended with the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from psycopg import sql

from scheduler_daemon.database import binaries
from scheduler_daemon.database.cluster import ENVIRONMENT, Cluster, scarce_memory
from scheduler_daemon.database.leftovers import FAST_STOP_S, HARD_STOP_S, end_leftovers
from scheduler_daemon.database.pools import border, connect, describe
from scheduler_daemon.database.roles import JOB_ROLE, ensure_job_role
from scheduler_daemon.database.sockets import socket_folder
from scheduler_daemon.errors import DatabaseUnavailableError

DATABASE = "scheduler"
START_LIMIT_S = 300.0
"""Seconds that a server may take to be ready: after a crash it first replays its log."""
LOG_LIMIT = 8 * 1024 * 1024
"""Bytes after which postgres.log becomes postgres.log.1."""
LOG_CHECK_S = 60.0
_POLL_S = 0.005


class EmbeddedServer:
    """One server, in STATE_DIR/postgres. `start` and `stop` may be called again; `start` also after an exit.

    Start it from a thread that lives as long as the server shall: the server stops when that thread ends,
    so that a killed daemon leaves none behind. The caller holds the state directory's lock.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        log: Callable[[str], None],
        programs: binaries.Binaries | None = None,
    ) -> None:
        self._state_dir = state_dir.resolve()
        self._log = log
        self._programs = programs
        self._cluster: Cluster | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._exit: asyncio.Future[str] | None = None
        self._rotation: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[Cluster] | None = None

    @property
    def version(self) -> str:
        """Such as "18.4"."""
        return self._require().binaries.version

    @property
    def url(self) -> str:
        """The daemon's own way in, as superuser; known once started, the same after a restart."""
        return self._require().url(DATABASE)

    @property
    def jobs_url(self) -> str:
        """The jobs' way in: a role without rights on schema `scheduler`."""
        return self._require().url(DATABASE, JOB_ROLE)

    @property
    def running(self) -> bool:
        return self._exit is not None and not self._exit.done()

    async def start(self) -> None:
        """Return when the server takes connections and has its database.

        Raises DatabaseUnusableError (no PostgreSQL here, another major version, another owner),
        DatabaseUnavailableError (it does not start), StateDirectoryError (no place for its socket).
        """
        if self.running:
            return
        await self.stop()
        self._preparing = asyncio.create_task(asyncio.to_thread(self._prepare))
        try:
            cluster = self._cluster = await asyncio.shield(self._preparing)
            began = cluster.log_size()
            self._spawn(cluster)
            await self._until_ready(cluster, began)
            await _ensure_database(cluster)
        except BaseException:
            await self.stop()
            raise
        self._rotation = asyncio.create_task(_keep_rotating(cluster), name="postgres-log")

    async def stop(self) -> None:
        """Fast shutdown: sessions are ended, nothing committed is lost. Returns when the server is gone.

        A start that was cancelled may still be making the cluster: that is waited for, so that none is torn.
        """
        if self._preparing is not None:
            with contextlib.suppress(Exception):  # whoever started it has heard
                await asyncio.shield(self._preparing)
            self._preparing = None
        if self._rotation is not None:
            self._rotation.cancel()
            await asyncio.gather(self._rotation, return_exceptions=True)
            self._rotation = None
        if self._process is None or self._exit is None:
            return
        for number, limit_s in (
            (signal.SIGINT, FAST_STOP_S),
            (signal.SIGQUIT, HARD_STOP_S),
            (signal.SIGKILL, HARD_STOP_S),
        ):
            if self._exit.done():
                break
            self._process.send_signal(number)
            await asyncio.wait([self._exit], timeout=limit_s)
        self._process = None
        with contextlib.suppress(OSError):  # not empty, or gone: then it is not ours to tidy
            self._require().sockets.rmdir()

    async def wait_exit(self) -> str:
        """Return when the server has ended, with how ("signal 9", "exit code 1").

        Raises DatabaseUnavailableError if it was never started.
        """
        if self._exit is None:
            raise DatabaseUnavailableError("the embedded PostgreSQL was not started")
        return await asyncio.shield(self._exit)

    def _require(self) -> Cluster:
        if self._cluster is None:
            raise DatabaseUnavailableError("the embedded PostgreSQL was not started")
        return self._cluster

    def _prepare(self) -> Cluster:
        folder = self._state_dir / "postgres"
        try:
            return self._prepared(folder)
        except OSError as exc:
            what = f" ({exc.filename})" if exc.filename else ""
            raise DatabaseUnavailableError(
                f"{folder}: the embedded PostgreSQL cannot be set up there: {exc.strerror}{what}"
            ) from exc

    def _prepared(self, folder: Path) -> Cluster:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        programs = self._programs or binaries.newest()
        cluster = Cluster(folder=folder, binaries=programs, sockets=socket_folder(folder / "run"))
        if cluster.exists() or cluster.finish_upgrade():
            cluster.check()
            end_leftovers(cluster.data, self._log)
        else:
            self._log(f"making a PostgreSQL {programs.version} database in {folder}")
            cluster.create()
        if why := scarce_memory():
            self._log(f"{why}: PostgreSQL uses files instead, which is slower (a container: --shm-size=64m)")
        cluster.configure()
        cluster.rotate_log(LOG_LIMIT)
        return cluster

    def _spawn(self, cluster: Cluster) -> None:
        with cluster.open_log() as log:
            process = subprocess.Popen(
                cluster.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str] = loop.create_future()
        pidfd = os.pidfd_open(process.pid)

        def reap() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            code = process.wait()
            if not ended.done():
                ended.set_result(f"signal {-code}" if code < 0 else f"exit code {code}")

        loop.add_reader(pidfd, reap)
        self._process, self._exit = process, ended

    async def _until_ready(self, cluster: Cluster, began: int) -> None:
        deadline = asyncio.get_running_loop().time() + START_LIMIT_S
        while not cluster.ready():
            if not self.running:
                raise DatabaseUnavailableError(
                    f"the embedded PostgreSQL does not start: {cluster.last_words(began)} (see {cluster.log})"
                )
            if asyncio.get_running_loop().time() > deadline:
                raise DatabaseUnavailableError(
                    f"the embedded PostgreSQL is not ready after {START_LIMIT_S:.0f} s; see {cluster.log}"
                )
            await asyncio.sleep(_POLL_S)


async def _ensure_database(cluster: Cluster) -> None:
    url = cluster.url("postgres")
    async with await connect(url, application_name="scheduler-daemon") as connection:
        with border(describe(url)):
            cursor = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if await cursor.fetchone() is None:
                await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    await ensure_job_role(cluster.url(DATABASE))


async def _keep_rotating(cluster: Cluster) -> None:
    while True:
        await asyncio.sleep(LOG_CHECK_S)
        await asyncio.to_thread(cluster.rotate_log, LOG_LIMIT)
