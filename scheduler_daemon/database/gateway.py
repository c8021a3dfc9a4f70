"""The daemon's way to PostgreSQL: a pool that knows when the database is away, and finds it again.

A broken connection, or none to be had, makes the database `away`: from then on every request is refused
at once with DatabaseUnavailableError, while one task looks for the database. When it answers, the pool
is made anew and the listeners are told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from scheduler_daemon.errors import DatabaseUnavailableError

Log = Callable[[str], None]
Connection = AsyncConnection[TupleRow]
PROBE_INTERVAL_S = 0.25
OPTIONS = (
    "-c timezone=UTC -c lock_timeout=5s -c idle_in_transaction_session_timeout=5s -c statement_timeout=60s"
)
SIGNS_OF_LIFE = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A server that vanished without a word, over a network, is noticed within 15 s (libpq; s, and ms)."""


class Gateway:
    """Connections of the daemon's own. `on_away(since)` and `on_back(since)` are called once per outage."""

    def __init__(self, url: str, *, log: Log, max_size: int = 6) -> None:
        self.url = url
        self.away_since: datetime | None = None
        self.on_away: Callable[[datetime], None] = lambda since: None
        self.on_back: Callable[[datetime], Awaitable[None]] = _nothing
        self._log = log
        self._max_size = max_size
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._search: asyncio.Task[None] | None = None
        self._closed = False
        self._users: set[asyncio.Task[Any] | None] = set()

    def serves(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether this task now waits for a connection, or has one."""
        return task in self._users

    async def open(self) -> None:
        """Raises DatabaseUnavailableError when the database does not answer within 5 s."""
        self._pool = await self._new_pool()

    async def close(self) -> None:
        self._closed = True
        if self._search is not None:
            self._search.cancel()
            await asyncio.gather(self._search, return_exceptions=True)
        if self._pool is not None:
            await self._pool.close(timeout=2)
            self._pool = None

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end, rolled back on an exception.

        Raises DatabaseUnavailableError when the database is away or goes away meanwhile; whether a
        transaction that was cut at its commit took effect is then unknown.
        """
        pool = self._pool
        if pool is None or self.away_since is not None:
            raise self._refusal()
        task = asyncio.current_task()
        self._users.add(task)
        try:
            async with pool.connection() as connection:
                yield connection
        except PoolTimeout as error:
            raise self._lost(str(error)) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if not _means_away(error):
                raise
            raise self._lost(str(error)) from error
        finally:
            self._users.discard(task)

    def _refusal(self) -> DatabaseUnavailableError:
        if self.away_since is None:
            return DatabaseUnavailableError("the database is not open")
        return DatabaseUnavailableError(f"database away since {self.away_since:%Y-%m-%d %H:%M:%S} UTC")

    def _lost(self, why: str) -> DatabaseUnavailableError:
        line = " ".join(why.split())
        if self.away_since is None and not self._closed:
            self.away_since = datetime.now(UTC)
            self._log(f"database away: {line}")
            self.on_away(self.away_since)
            self._search = asyncio.create_task(self._find_again(), name="database-search")
        return DatabaseUnavailableError(f"database away: {line}")

    async def _find_again(self) -> None:
        if self._pool is not None:
            old, self._pool = self._pool, None
            with contextlib.suppress(Exception):  # whatever state it is in, a new one replaces it
                await old.close(timeout=0.5)
        while self._pool is None:
            try:
                self._pool = await self._new_pool()
            except DatabaseUnavailableError:
                await asyncio.sleep(PROBE_INTERVAL_S)
        since, self.away_since = self.away_since, None
        if since is not None:
            self._log(f"database back after {(datetime.now(UTC) - since).total_seconds():.1f} s")
            await self.on_back(since)

    async def _new_pool(self) -> AsyncConnectionPool[Connection]:
        try:
            probe = await AsyncConnection.connect(self.url, connect_timeout=5)
            await probe.close()
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(" ".join(str(error).split())) from error
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self.url,
            min_size=1,
            max_size=self._max_size,
            timeout=5,
            open=False,
            name="scheduler-daemon",
            kwargs={"application_name": "scheduler-daemon", "options": OPTIONS, **SIGNS_OF_LIFE},
        )
        await pool.open(wait=False)
        return pool


async def _nothing(since: datetime) -> None:
    del since


def _means_away(error: psycopg.Error) -> bool:
    """Not every OperationalError is an outage: a lock timeout or a deadlock is not.

    Class 08 is a connection exception, 57P an operator's intervention, 53 a lack of resources
    (PostgreSQL, appendix A); no state at all means that libpq lost the connection.
    """
    state: Any = error.sqlstate
    return state is None or state[:2] in ("08", "53") or state[:3] == "57P"
