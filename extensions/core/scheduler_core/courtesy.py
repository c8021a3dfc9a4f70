"""A long statement that ends as soon as somebody waits for its locks.

VACUUM and REINDEX CONCURRENTLY let every query pass, but not a change of the table's definition; and that,
once it waits, lets nothing pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors, sql

from scheduler_daemon.extension import JobContext

LOOK_S = 0.05
"""How long somebody may wait before we see it."""

WAITING: LiteralString = """
    SELECT EXISTS (SELECT FROM pg_locks l WHERE NOT l.granted AND %s = ANY(pg_blocking_pids(l.pid)))
"""


class GaveWayError(Exception):
    """The statement was cancelled: somebody wanted what it had locked."""


@asynccontextmanager
async def lookout(ctx: JobContext) -> AsyncIterator[AsyncConnection[Any]]:
    """A second connection, to look from while the first is busy."""
    async with ctx.db_pool().connection() as connection:
        await connection.set_autocommit(True)
        try:
            yield connection
        finally:
            if not connection.closed:
                await connection.set_autocommit(False)


async def execute_politely(
    connection: AsyncConnection[Any], lookout: AsyncConnection[Any], statement: sql.Composed
) -> None:
    """Execute on `connection`, looking from `lookout`, both in autocommit mode.

    Raises GaveWayError, or what the statement raises.
    """
    working = asyncio.create_task(_execute(connection, statement))
    gave_way = False
    try:
        while not (await asyncio.wait({working}, timeout=LOOK_S))[0]:
            if not gave_way and await _somebody_waits(lookout, connection.info.backend_pid):
                gave_way = True
                await connection.cancel_safe()
        await working
    except errors.QueryCanceled as exc:
        if gave_way:
            raise GaveWayError from exc
        raise
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def _execute(connection: AsyncConnection[Any], statement: sql.Composed) -> None:
    await connection.execute(statement)


async def _somebody_waits(lookout: AsyncConnection[Any], pid: int) -> bool:
    cursor = await lookout.execute(WAITING, [pid])
    row = await cursor.fetchone()
    return row is not None and bool(row[0])
