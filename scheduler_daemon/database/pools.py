"""Connections to PostgreSQL: how they are opened, checked and named, and the border at which psycopg's
errors become ours. No text that leaves here holds a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString, cast

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError, SchedulerError

Connection = AsyncConnection[TupleRow]
Log = Callable[[str], None]

OLDEST = 15
"""The oldest PostgreSQL major that the daemon runs on."""
CONNECT_LIMIT_S = 5
CLAIM_LIMITS: Mapping[str, str] = {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "5s"}
"""What the claim's connections set (design: ledger.md, the claim)."""

_PORTS = re.compile(r"[\d,]*")
_RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_LOG_EVERY_S = 10.0
_REFUSALS = ("authentication failed", "no pg_hba.conf entry", "does not exist", "not permitted to log in")
"""libpq tells a refused login in words only; in another language it counts as no answer, and is retried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """What answers at a URL. `version` such as "18.4"; `pooler`: one in session mode stands between."""

    version: str
    database: str
    pooler: bool


async def connect(
    url: str, *, application_name: str, settings: Mapping[str, str] | None = None, autocommit: bool = True
) -> Connection:
    """A connection in UTC. Raises DatabaseUnavailableError; DatabaseUnusableError for a refused login."""
    parameters = _parameters(url)
    try:
        connection = await AsyncConnection.connect(
            "",
            **{"connect_timeout": CONNECT_LIMIT_S, **parameters, "application_name": application_name},
            autocommit=autocommit,
        )
    except psycopg.Error as exc:
        raise _refusal(exc, parameters) from exc
    with border(describe(url)):
        await _configure(connection, settings or {})
    return connection


async def open_pool(
    url: str,
    *,
    application_name: str,
    size: tuple[int, int] = (1, 4),
    settings: Mapping[str, str] | None = None,
) -> AsyncConnectionPool[Connection]:
    """A pool of `size` (least, most) connections in UTC with `settings`; checked when lent out.

    Raises DatabaseUnavailableError or DatabaseUnusableError as `connect` does.
    """

    async def configure(connection: Connection) -> None:
        await _configure(connection, settings or {})

    await (await connect(url, application_name=application_name)).close()
    pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
        make_conninfo("", **_parameters(url)),
        min_size=size[0],
        max_size=size[1],
        timeout=CONNECT_LIMIT_S,
        kwargs={"application_name": application_name, "connect_timeout": CONNECT_LIMIT_S},
        configure=configure,
        name=application_name,
        open=False,
    )
    await pool.open()
    return pool


async def connect_with_retry(url: str, log: Log, patience: timedelta) -> Connection:
    """A connection to a server that was checked; while there is no answer, try again until `patience`.

    Raises DatabaseUnavailableError when the time is up, DatabaseUnusableError at once.
    """
    clock = asyncio.get_running_loop().time
    began, told, tries = clock(), float("-inf"), 0
    while True:
        try:
            connection = await connect(url, application_name="scheduler-daemon")
        except DatabaseUnavailableError as exc:
            left = patience.total_seconds() - (clock() - began)
            if left <= 0:
                waited = f"{patience.total_seconds():.0f} s"
                raise DatabaseUnavailableError(f"{exc} (tried for {waited})") from exc
            if clock() - told >= _LOG_EVERY_S:
                log(f"{exc}; trying again for {left:.0f} s")
                told = clock()
            await asyncio.sleep(min(_RETRY_S[min(tries, len(_RETRY_S) - 1)], left))
            tries += 1
            continue
        try:
            await check_server(connection)
        except BaseException:
            await connection.close()
            raise
        return connection


async def check_server(connection: Connection) -> Server:
    """Raises DatabaseUnusableError for a server too old, not in UTF8, or behind a transaction pooler;
    DatabaseUnavailableError for a standby, which may yet be promoted.
    """
    where = describe(connection.info.dsn)
    version = connection.info.server_version
    readable = f"{version // 10000}.{version % 10000}"
    if version < OLDEST * 10000:
        raise DatabaseUnusableError(f"{where} is PostgreSQL {readable}; the daemon needs {OLDEST} or newer")
    with border(where):
        cursor = await connection.execute(
            "SELECT current_setting('server_encoding'), pg_is_in_recovery(), pg_backend_pid()"
        )
        encoding, standby, pid = cast(tuple[str, bool, int], await cursor.fetchone())
    if encoding != "UTF8":
        raise DatabaseUnusableError(f"{where} is encoded in {encoding}; the daemon needs a database in UTF8")
    if standby:
        raise DatabaseUnavailableError(f"{where} is a standby and takes no writes")
    # A proxy cannot hand out the server's own cancel key, so the process id in it is another.
    pooler = connection.info.backend_pid != pid
    with border(where):
        shared = pooler and await _shares_sessions(connection)
    if shared:
        raise DatabaseUnusableError(
            f"{where} is behind a pooler in transaction mode, which loses locks and settings between "
            "transactions; give the daemon a pool in session mode, or the server's own address"
        )
    return Server(version=readable, database=connection.info.dbname, pooler=pooler)


@contextlib.contextmanager
def border(where: str) -> Iterator[None]:
    """Turn psycopg's errors into ours; `where` names the database for a person.

    A missing right is DatabaseUnusableError, a lost connection and the like DatabaseUnavailableError, and
    anything else, which would be our mistake, SchedulerError.
    """
    try:
        yield
    except psycopg.Error as exc:
        text = f"{where}: {one_line(exc)}"
        if isinstance(exc, psycopg.errors.InsufficientPrivilege):
            raise DatabaseUnusableError(text) from exc
        if isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError):
            raise DatabaseUnavailableError(text) from exc
        raise SchedulerError(text) from exc


def describe(url: str) -> str:
    """A database URL or DSN for a person: `database "app" at db.example:5432`; never a password."""
    parameters = _parameters(url)
    host = parameters.get("host") or parameters.get("hostaddr") or "the local socket"
    port = f":{parameters['port']}" if "port" in parameters and not str(host).startswith("/") else ""
    return f'database "{parameters.get("dbname") or parameters.get("user") or ""}" at {host}{port}'


def one_line(exc: psycopg.Error) -> str:
    """What PostgreSQL says, in one line."""
    return " ".join((exc.diag.message_primary or str(exc)).split()) or type(exc).__name__


def _parameters(url: str) -> dict[str, Any]:
    # libpq quotes what it cannot read, perhaps a piece of the password: so neither its text nor the cause.
    with contextlib.suppress(psycopg.Error):
        found = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
        # A "/" in a password ends the host part: the port and the database then hold pieces of the password.
        if _PORTS.fullmatch(str(found.get("port", ""))) and "@" not in str(found.get("dbname", "")):
            return found
    raise DatabaseUnusableError(
        "database.url cannot be read as postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
        "percent-encode special characters in its parts"
    )


def _refusal(exc: psycopg.Error, parameters: Mapping[str, Any]) -> SchedulerError:
    text = one_line(exc)
    if password := parameters.get("password"):
        text = text.replace(str(password), "***")
    where = describe(make_conninfo("", **{k: v for k, v in parameters.items() if k != "password"}))
    refused = any(words in text for words in _REFUSALS)
    kind = DatabaseUnusableError if refused else DatabaseUnavailableError
    return kind(f"{where}: {text}")


async def _configure(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set them by statement: poolers refuse most of them among the start-up parameters."""
    wanted = {"timezone": "UTC", **settings}
    query: LiteralString = ", ".join(["set_config(%s, %s, false)"] * len(wanted))
    await connection.execute("SELECT " + query, [part for pair in wanted.items() for part in pair])
    if not connection.autocommit:
        await connection.commit()


async def _shares_sessions(connection: Connection) -> bool:
    """Whether another connection, while this one is open, meets what this one's session left behind."""
    mark = secrets.token_hex(8)
    own = make_conninfo(connection.info.dsn, password=connection.info.password or None)
    async with _other(own) as other:
        if other is None:
            return False
        await connection.execute("SELECT set_config('scheduler.mark', %s, false)", [mark])
        cursor = await other.execute("SELECT current_setting('scheduler.mark', true)")
        return await cursor.fetchone() == (mark,)


@contextlib.asynccontextmanager
async def _other(dsn: str) -> AsyncIterator[Connection | None]:
    try:
        other = await AsyncConnection.connect(dsn, autocommit=True, connect_timeout=CONNECT_LIMIT_S)
    except psycopg.Error:
        yield None
        return
    async with other:
        yield other
