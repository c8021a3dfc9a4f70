"""How far the database is from the end of its transaction numbers, and who keeps dead rows alive."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import AsyncConnection

WARN_AGE = 1_000_000_000
"""Transactions. Autovacuum starts to freeze at 200 million; at about 2,100 million nothing can be written."""
WARN_OPEN = timedelta(hours=1)

AGES: LiteralString = """
    SELECT age(d.datfrozenxid), mxid_age(d.datminmxid), c.name
    FROM pg_database d
    LEFT JOIN LATERAL (
        SELECT c.oid::regclass::text AS name FROM pg_class c
        WHERE c.relkind IN ('r', 'm', 't') ORDER BY greatest(age(c.relfrozenxid), mxid_age(c.relminmxid)) DESC
        LIMIT 1
    ) c ON true
    WHERE d.datname = current_database()
"""
HOLDERS: LiteralString = """
    SELECT format('process %%s (%%s)', pid, coalesce(nullif(application_name, ''), usename)), xact_start
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND xact_start < %(before)s
    UNION ALL
    SELECT format('prepared transaction %%s', gid), prepared
    FROM pg_prepared_xacts WHERE database = current_database() AND prepared < %(before)s
    ORDER BY 2
"""


async def warnings(connection: AsyncConnection[Any], now: datetime) -> tuple[str, ...]:
    """What threatens the database, as of `now` (aware), in a line each."""
    row = await (await connection.execute(AGES)).fetchone()
    assert row is not None
    age, multixact_age, oldest = row
    found = []
    if max(age, multixact_age) > WARN_AGE:
        found.append(
            f"the oldest row is {max(age, multixact_age):,} transactions old, and at 2,100,000,000"
            f" the database takes no more writes: VACUUM (FREEZE) {oldest}, and see what stops autovacuum"
        )
    holders = await (await connection.execute(HOLDERS, {"before": now - WARN_OPEN})).fetchall()
    found += [
        f"{who} has had a transaction open since {since:%Y-%m-%d %H:%M} UTC: what died since stays"
        for who, since in holders
    ]
    return tuple(found)
