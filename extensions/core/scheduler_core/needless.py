"""Indexes that nobody uses, or that there are twice: named, never dropped."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import AsyncConnection

from scheduler_core.report import size

UNUSED_BYTES = 1024 * 1024
UNUSED_AFTER = timedelta(days=30)
"""How far back the server's statistics have to reach before an index counts as unused."""

UNUSED: LiteralString = """
    SELECT s.indexrelid::regclass::text, pg_relation_size(s.indexrelid), d.since
    FROM pg_stat_user_indexes s
    JOIN pg_index i ON i.indexrelid = s.indexrelid,
    LATERAL (
        SELECT coalesce(stats_reset, pg_postmaster_start_time()) AS since
        FROM pg_stat_database WHERE datname = current_database()
    ) d
    WHERE s.idx_scan = 0 AND s.schemaname <> 'scheduler'
        AND i.indisvalid AND NOT i.indisunique AND NOT i.indisreplident
        AND pg_relation_size(s.indexrelid) >= %(bytes)s AND d.since < %(before)s
        AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = s.indexrelid)
    ORDER BY 2 DESC
"""
DUPLICATES: LiteralString = """
    WITH candidate AS (
        SELECT i.indexrelid, i.indisunique, i.indisprimary, i.indisreplident,
            EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid) AS constrained,
            concat_ws(
                ' ', i.indrelid, c.relam, i.indnkeyatts, i.indkey, i.indclass, i.indcollation, i.indoption,
                i.indnullsnotdistinct, i.indimmediate, '(', pg_get_expr(i.indexprs, i.indrelid),
                ') WHERE', pg_get_expr(i.indpred, i.indrelid)
            ) AS what
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE i.indisvalid AND n.nspname NOT IN ('information_schema', 'scheduler')
            AND n.nspname NOT LIKE 'pg\\_%'
    ), ranked AS (
        SELECT *, first_value(indexrelid) OVER best AS kept, row_number() OVER best AS place
        FROM candidate
        WINDOW best AS (
            PARTITION BY what ORDER BY indisprimary DESC, constrained DESC, indisunique DESC, indexrelid
        )
    )
    SELECT indexrelid::regclass::text, kept::regclass::text, pg_relation_size(indexrelid)
    FROM ranked
    WHERE place > 1 AND NOT constrained AND NOT indisreplident
    ORDER BY 3 DESC, 1
"""


async def needless_indexes(connection: AsyncConnection[Any], now: datetime) -> tuple[str, ...]:
    """Advice, as of `now` (aware): duplicates first, then what no query has used for a long time."""
    duplicates = await (await connection.execute(DUPLICATES)).fetchall()
    parameters = {"bytes": UNUSED_BYTES, "before": now - UNUSED_AFTER}
    unused = await (await connection.execute(UNUSED, parameters)).fetchall()
    twice = {name for name, _, _ in duplicates}
    return (
        *(
            f"DROP INDEX CONCURRENTLY {name}: the same as {kept}, {size(volume)}"
            for name, kept, volume in duplicates
        ),
        *(
            f"DROP INDEX CONCURRENTLY {name}: unused here since {since:%Y-%m-%d}, {size(volume)}"
            for name, volume, since in unused
            if name not in twice
        ),
    )
