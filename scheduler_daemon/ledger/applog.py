"""The application's own log, `public.logs`: read, never written. One made long ago may lack columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, LiteralString

from psycopg import errors
from psycopg import sql as compose
from psycopg.rows import dict_row

from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.errors import NoAppLogError
from scheduler_daemon.ledger.history import LogFilter, Row, log_conditions
from scheduler_daemon.ledger.sql import sql

PATIENCE: LiteralString = "10s"
"""For a log without an index on its time; the daemon has other work."""
NEEDED = ("timestamp", "message")


class AppLog:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def lines(self, wanted: LogFilter) -> list[Row]:
        """Newest first, as History.logs tells its own. Raises NoAppLogError."""
        try:
            return await self._lines(wanted)
        except errors.QueryCanceled as exc:
            raise NoAppLogError(
                f"public.logs has not answered within {PATIENCE}: an index on its timestamp would help"
            ) from exc
        except errors.InsufficientPrivilege as exc:
            raise NoAppLogError(f"the daemon may not read it: {exc.diag.message_primary}") from exc

    async def _lines(self, wanted: LogFilter) -> list[Row]:
        async with (
            self._gateway.reading() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(sql("app_log_columns"))
            columns = {row["name"]: row["kind"] for row in await cursor.fetchall()}
            if not columns:
                raise NoAppLogError("this database has no table public.logs")
            for name in NEEDED:
                if name not in columns:
                    raise NoAppLogError(f"public.logs has no column {name}")
            await cursor.execute(compose.SQL("SET LOCAL statement_timeout = {}").format(PATIENCE))
            await cursor.execute(_query(columns), {**log_conditions(wanted), "since": wanted.since})
            return [_line(row) for row in await cursor.fetchall()]


def _query(columns: Mapping[str, str]) -> compose.Composed:
    def column(name: str) -> compose.Composable:
        known = compose.Identifier("l", name) if name in columns else compose.SQL("NULL")
        return compose.SQL("{}::text").format(known)

    zoned = columns["timestamp"] == "timestamp with time zone"
    at, since = ("l.timestamp", "%(since)s::timestamptz")
    if not zoned:  # as every job of ours reads it
        at, since = f"{at} AT TIME ZONE 'UTC'", f"{since} AT TIME ZONE 'UTC'"
    return compose.SQL(
        """
        SELECT {id} AS id, {at} AS at, upper(coalesce({level}, 'INFO')) AS level,
            coalesce({module}, 'application') AS module, coalesce({message}, '') AS message,
            jsonb_strip_nulls(to_jsonb(l) - '{{id,timestamp,level,module,message}}'::text[]) AS fields
        FROM public.logs l
        WHERE l.timestamp IS NOT NULL
            AND (%(levels)s::text[] IS NULL OR upper({level}) = ANY(%(levels)s))
            AND (%(module)s::text IS NULL OR {module} LIKE %(module)s)
            AND (%(pattern)s::text IS NULL OR {message} ILIKE %(pattern)s)
            AND (%(since)s::timestamptz IS NULL OR l.timestamp >= {since})
        ORDER BY l.timestamp DESC LIMIT %(limit)s
        """
    ).format(
        at=compose.SQL(at),
        since=compose.SQL(since),
        **{name: column(name) for name in ("id", "level", "module", "message")},
    )


def _line(row: Row) -> Row:
    """`metadata` is text that holds JSON: its members are fields like the columns."""
    fields = dict(row["fields"] or {})
    metadata: Any = fields.get("metadata")
    if isinstance(metadata, str):
        try:
            metadata = json.loads(metadata)
        except ValueError:
            metadata = None
    if isinstance(metadata, dict):
        del fields["metadata"]
        fields = {**metadata, **fields}
    return {**row, "fields": fields or None}
