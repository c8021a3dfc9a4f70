"""PostgreSQL's settings of a session: looked up, set, put back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection


@asynccontextmanager
async def configured(connection: AsyncConnection[Any], settings: Mapping[str, str]) -> AsyncIterator[None]:
    """These settings for the block; afterwards, if the connection still lives, those from before."""
    before = await _current(connection, list(settings))
    await _set(connection, settings)
    try:
        yield
    finally:
        if not connection.closed:
            await _set(connection, before)


async def _set(connection: AsyncConnection[Any], settings: Mapping[str, str]) -> None:
    await connection.execute(
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s(name, value)",
        [list(settings), list(settings.values())],
    )


async def _current(connection: AsyncConnection[Any], names: Sequence[str]) -> dict[str, str]:
    cursor = await connection.execute(
        "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS s(name)", [list(names)]
    )
    return {str(name): str(value) for name, value in await cursor.fetchall()}
