"""Connections to PostgreSQL, and the one border at which psycopg's errors become ours."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import AsyncConnection

from scheduler_daemon.errors import DatabaseUnavailableError


async def connect(url: str, *, application_name: str) -> AsyncConnection[Any]:
    """An autocommit connection in UTC."""
    try:
        return await AsyncConnection.connect(
            url, autocommit=True, application_name=application_name, options="-c timezone=UTC"
        )
    except psycopg.Error as exc:
        raise DatabaseUnavailableError(str(exc)) from exc
