"""A time within which slow maintenance has to stay, and who may do it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection

from scheduler_core.settings import configured

LOCK_WAIT = "10s"
"""For another VACUUM, or a change of the table; the application does not queue up behind us meanwhile."""

OWNER: LiteralString = """(
    pg_has_role(c.relowner, 'USAGE')
    OR pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE')
)"""
MAINTAINER: LiteralString = f"({OWNER} OR has_table_privilege(c.oid, 'MAINTAIN'))"


def permitted(connection: AsyncConnection[Any]) -> LiteralString:
    """SQL: whether this role may maintain the table c of pg_class."""
    return MAINTAINER if connection.info.server_version >= 170000 else OWNER


class Budget:
    """`seconds` from now on, for everything together."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def spent(self) -> bool:
        return self.left_s < 0.001

    @asynccontextmanager
    async def limits(
        self, connection: AsyncConnection[Any], settings: Mapping[str, str] | None = None
    ) -> AsyncIterator[None]:
        """Statements in the block end when the time does (QueryCanceled), or wait too long for a lock."""
        limits = {"statement_timeout": f"{self.left_s * 1000:.0f}ms", "lock_timeout": LOCK_WAIT}
        async with configured(connection, {**limits, **(settings or {})}):
            yield
