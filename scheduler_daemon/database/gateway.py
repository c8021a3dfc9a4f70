"""The daemon's way to PostgreSQL: a pool that knows when the database is away, and finds it again.

A broken connection, none to be had, or no answer makes the database `away`: from then on every request is
refused at once with DatabaseUnavailableError, while one task looks for the database. When it answers, the
pool is made anew and the listeners are told. One that answers, but is busy, is not away: try again.
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
from scheduler_daemon.tasks import end

Log = Callable[[str], None]
Connection = AsyncConnection[TupleRow]
PROBE_INTERVAL_S = 0.25
LONGEST_PROBE_INTERVAL_S = 5.0
POOL_TIMEOUT_S = 5.0
NO_ANSWER_S = 75.0
READING_S = 600.0
"""What a transaction may take before its server counts as away; longer than any statement of ours may."""
READERS = 3
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
        self._readers = asyncio.Semaphore(max(1, min(READERS, max_size - 2)))
        self._back_at = float("-inf")
        self._heard_at = datetime.now(UTC)
        self._pause_s = PROBE_INTERVAL_S

    def serves(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether this task now waits for a connection, or has one."""
        return task in self._users

    async def open(self) -> None:
        """Raises DatabaseUnavailableError when the database does not answer within 5 s."""
        self._pool = await self._new_pool()

    async def close(self) -> None:
        self._closed = True
        if self._search is not None:
            await end([self._search])
        if self._pool is not None:
            await self._pool.close(timeout=2)
            self._pool = None

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end, rolled back on an exception.

        Raises DatabaseUnavailableError when the database is away, goes away meanwhile or is too busy; whether
        a transaction that was cut at its commit took effect is then unknown.
        """
        async with self._connection(NO_ANSWER_S) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """The same for those who only look: few at a time, so that they leave room for those who act."""
        async with self._readers, self._connection(READING_S) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def _connection(self, limit_s: float) -> AsyncIterator[Connection]:
        pool = self._pool
        if pool is None or self.away_since is not None:
            raise self._refusal()
        task, asked = asyncio.current_task(), datetime.now(UTC)
        self._users.add(task)
        try:
            async with asyncio.timeout(limit_s), pool.connection() as connection:
                yield connection
            self._heard_at = datetime.now(UTC)
        except PoolTimeout as error:
            if await self._answers():
                raise DatabaseUnavailableError("every connection to the database is in use") from error
            raise self._lost(pool, str(error)) from error
        except TimeoutError as error:
            raise self._lost(
                pool, f"no answer for {limit_s:.0f} s", since=max(asked, self._heard_at)
            ) from error
        except psycopg.Error as error:
            if _means_away(error):
                raise self._lost(pool, str(error)) from error
            if _means_busy(error):
                raise DatabaseUnavailableError(f"the database is busy: {_line(error)}") from error
            raise
        finally:
            self._users.discard(task)

    def _refusal(self) -> DatabaseUnavailableError:
        if self.away_since is None:
            return DatabaseUnavailableError("the database is not open")
        return DatabaseUnavailableError(f"database away since {self.away_since:%Y-%m-%d %H:%M:%S} UTC")

    def _lost(self, pool: object, why: str, *, since: datetime | None = None) -> DatabaseUnavailableError:
        """Away `since` then [now]. The late end of a connection of an earlier pool is no news."""
        line = _line(why)
        if pool is self._pool and self.away_since is None and not self._closed:
            self.away_since = since or datetime.now(UTC)
            self._log(f"database away: {line}")
            self.on_away(self.away_since)
            self._search = asyncio.create_task(self._find_again(), name="database-search")
        return DatabaseUnavailableError(f"database away: {line}")

    async def _find_again(self) -> None:
        old, self._pool = self._pool, None
        if old is not None:
            with contextlib.suppress(Exception):  # whatever state it is in, a new one replaces it
                await old.close(timeout=0.5)
        await self._calm_down()
        while self._pool is None:
            try:
                self._pool = await self._new_pool()
            except DatabaseUnavailableError:
                await asyncio.sleep(PROBE_INTERVAL_S)
        self._back_at = asyncio.get_running_loop().time()
        since, self.away_since = self.away_since, None
        if since is not None:
            self._log(f"database back after {(datetime.now(UTC) - since).total_seconds():.1f} s")
            await self._tell_back(since)

    async def _calm_down(self) -> None:
        """One that is away again as soon as it is back, as with a full disk, is asked less and less often."""
        again = asyncio.get_running_loop().time() - self._back_at < LONGEST_PROBE_INTERVAL_S
        self._pause_s = min(2 * self._pause_s, LONGEST_PROBE_INTERVAL_S) if again else PROBE_INTERVAL_S
        if again:
            await asyncio.sleep(self._pause_s)

    async def _tell_back(self, since: datetime) -> None:
        try:
            await self.on_back(since)
        except DatabaseUnavailableError as error:
            if self.away_since is None:  # busy, not away: nobody else will tell
                self._lost(self._pool, str(error))
        except Exception as error:
            self._log(f"the return of the database could not be handled: {error!r}")
            self._lost(self._pool, "it is looked for again")

    async def _answers(self) -> bool:
        try:
            await (await AsyncConnection.connect(self.url, connect_timeout=5)).close()
        except psycopg.OperationalError:
            return False
        return True

    async def _new_pool(self) -> AsyncConnectionPool[Connection]:
        try:
            probe = await AsyncConnection.connect(self.url, connect_timeout=5)
            await probe.close()
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(_line(error)) from error
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self.url,
            min_size=1,
            max_size=self._max_size,
            timeout=POOL_TIMEOUT_S,
            open=False,
            name="scheduler-daemon",
            kwargs={"application_name": "scheduler-daemon", "options": OPTIONS, **SIGNS_OF_LIFE},
        )
        await pool.open(wait=False)
        return pool


async def _nothing(since: datetime) -> None:
    del since


def _means_away(error: psycopg.Error) -> bool:
    """Class 08 is a connection exception, 57P an operator's intervention, 53 a lack of resources
    (PostgreSQL, appendix A); no state at all means that libpq lost the connection.
    """
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state[:2] in ("08", "53") or state[:3] == "57P"


def _means_busy(error: psycopg.Error) -> bool:
    """Rolled back for the sake of others: class 40 (deadlock, serialization), a lock or a statement that took
    too long, a transaction in which we slept.
    """
    state = error.sqlstate or ""
    return state[:2] == "40" or state in ("55P03", "57014", "25P03")


def _line(text: object) -> str:
    return " ".join(str(text).split())
