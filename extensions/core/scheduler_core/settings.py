"""PostgreSQL's settings of a session: looked up, set, put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection


async def configure(
    connection: AsyncConnection[Any], settings: Mapping[str, str], *, local: bool = False
) -> None:
    """Set server settings for this session, or, if `local`, for this transaction."""
    await connection.execute(
        "SELECT set_config(name, value, %s) FROM unnest(%s::text[], %s::text[]) AS s(name, value)",
        [local, list(settings), list(settings.values())],
    )


async def current(connection: AsyncConnection[Any], names: Sequence[str]) -> dict[str, str]:
    """name → value, as `configure` takes it."""
    cursor = await connection.execute(
        "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS s(name)", [list(names)]
    )
    return {str(name): str(value) for name, value in await cursor.fetchall()}
