"""A worker's connections to the application's database: opened at first use, named after the run.

Each checkout sets application_name `run:ID` and the run's statement_timeout; each return discards the
session's state, so that nothing of one run (settings, locks, temporary tables) meets the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from scheduler_daemon.jobplane.tasks import outside_the_run

_MAX_SIZE = 4
_NAME_SQL = "SELECT set_config('application_name', %s, false), set_config('statement_timeout', %s, false)"
# DISCARD ALL but for the prepared statements: psycopg keeps count of its own
_CLEAR_SQL = (
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; "
    "SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES"
)
_OPTIONS: dict[str, Any] = {"application_name": "scheduler worker, idle", "connect_timeout": 10}


class Label:
    """What the run in hand is called on the server, and how long its statements may take."""

    def __init__(self) -> None:
        self.name = ""
        self.timeout_ms = 0

    def parameters(self) -> tuple[str, str]:
        return self.name, str(self.timeout_ms)


class _Connection(AsyncConnection[Any]):
    """Remembers why it could not connect: the pool's own error says only that nobody answered in time."""

    last_error: ClassVar[str] = ""

    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> Self:
        try:
            conn = await super().connect(*args, **kwargs)
        except Exception as exc:
            _Connection.last_error = str(exc)
            raise
        _Connection.last_error = ""
        return conn


class RunPool(AsyncConnectionPool[AsyncConnection[Any]]):
    """Opens itself at first use, and knows which connections are out."""

    def __init__(self, url: str, label: Label) -> None:
        self._label = label
        self._out: set[AsyncConnection[Any]] = set()
        self.spent = False
        super().__init__(
            url,
            connection_class=_Connection,
            kwargs=_OPTIONS,
            min_size=0,
            max_size=_MAX_SIZE,
            open=False,
            name="scheduler-worker",
            check=self._name,
            num_workers=1,
        )

    async def getconn(self, timeout: float | None = None) -> AsyncConnection[Any]:  # noqa: ASYNC109  # psycopg's
        if self.closed and not self.spent:
            await outside_the_run(self.open())
        try:
            conn = await super().getconn(timeout)
        except PoolTimeout as exc:
            raise PoolTimeout(f"{exc}; {_Connection.last_error or 'all of them are in use'}") from None
        self._out.add(conn)
        return conn

    async def putconn(self, conn: AsyncConnection[Any]) -> None:
        """Clear the session here and now: the pool's own workers rest while a plain function runs."""
        self._out.discard(conn)
        try:
            await _clear(conn)
        finally:
            await super().putconn(conn)

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109  # psycopg's
        self.spent = True
        await super().close(timeout)

    async def recall(self) -> int:
        """Close what the run did not give back; return how many connections that were."""
        kept = list(self._out)
        for conn in kept:
            await conn.close()
            await self.putconn(conn)
        return len(kept)

    async def _name(self, conn: AsyncConnection[Any]) -> None:
        await conn.set_autocommit(True)
        await conn.execute(_NAME_SQL, self._label.parameters(), prepare=False)
        await conn.set_autocommit(False)


async def _clear(conn: AsyncConnection[Any]) -> None:
    if conn.closed:
        return
    try:
        await conn.rollback()
        await conn.set_autocommit(True)
        await conn.execute(_CLEAR_SQL, prepare=False)
        await conn.set_autocommit(False)
    except Exception:  # broken on its way back: the pool replaces it
        await conn.close()


class Connections:
    """What `ctx.db_pool()` and `ctx.sync_db()` give out in one worker."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self.label = Label()
        self._pool: RunPool | None = None
        self._idle: list[Connection[Any]] = []
        self._lock = threading.Lock()

    def pool(self) -> RunPool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "ctx.db_pool() needs an `async def execute`; here, use ctx.sync_db()"
            ) from None
        if self._pool is None or self._pool.spent:
            self._pool = RunPool(self._needed_url(), self.label)
        return self._pool

    @contextmanager
    def sync(self) -> Iterator[Connection[Any]]:
        conn = self._checked_out()
        try:
            yield conn
            conn.commit()
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                conn.rollback()
            raise
        finally:
            self._give_back(conn)

    async def settle(self) -> int:
        """After a run: take back what it kept."""
        return await self._pool.recall() if self._pool else 0

    async def close(self) -> None:
        for conn in self._idle:
            conn.close()
        if self._pool and not self._pool.closed:
            await self._pool.close(timeout=1.0)

    @property
    def used(self) -> bool:
        return self._pool is not None

    def _needed_url(self) -> str:
        if not self._url:
            raise RuntimeError("this daemon has no database for jobs")
        return self._url

    def _checked_out(self) -> Connection[Any]:
        while True:
            with self._lock:
                conn = self._idle.pop() if self._idle else None
            fresh = conn is None
            if conn is None:
                conn = Connection.connect(self._needed_url(), autocommit=True, **_OPTIONS)
            try:
                conn.execute(_NAME_SQL, self.label.parameters(), prepare=False)
            except Exception:  # an idle one may have died with its server; a fresh one must answer
                conn.close()
                if fresh:
                    raise
                continue
            conn.autocommit = False
            return conn

    def _give_back(self, conn: Connection[Any]) -> None:
        try:
            conn.autocommit = True
            conn.execute(_CLEAR_SQL, prepare=False)
        except Exception:  # it broke on the way back: the next checkout opens another
            conn.close()
            return
        with self._lock:
            self._idle.append(conn)
