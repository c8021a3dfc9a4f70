"""VACUUM (ANALYZE) of the tables that need it, most needy first, within a time; never FULL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, errors, sql
from psycopg.rows import class_row

from scheduler_core.budget import Budget, permitted
from scheduler_core.courtesy import GaveWayError, execute_politely, lookout
from scheduler_core.report import counted, size
from scheduler_daemon.extension import JobContext

NEEDY: LiteralString = """
    SELECT n.nspname AS schema, c.relname AS name, s.n_dead_tup AS dead, {} AS permitted
    FROM pg_stat_user_tables s
    JOIN pg_class c ON c.oid = s.relid
    JOIN pg_namespace n ON n.oid = c.relnamespace,
    LATERAL (
        SELECT s.n_dead_tup / (%(rows)s + %(share)s * s.n_live_tup) AS need,
            age(c.relfrozenxid) > current_setting('autovacuum_freeze_max_age')::integer AS old
    ) x
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'scheduler' AND (x.need > 1 OR x.old)
    ORDER BY x.old DESC, x.need DESC
"""
STATE: LiteralString = """
    SELECT pg_total_relation_size(c), pg_stat_get_dead_tuples(c) FROM (SELECT %s::regclass) t (c)
"""
THROTTLE: Mapping[str, str] = {"vacuum_cost_delay": "2ms", "vacuum_cost_limit": "2000"}
"""Ten times what autovacuum allows itself by default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needy:
    """A table with more dead rows than it should have, or whose old rows should long be frozen."""

    schema: str
    name: str
    dead: int
    permitted: bool

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def label(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Vacuumed:
    """Of one table: dead rows before and after, bytes won. `problem`: why it was not, or not wholly, done."""

    label: str
    dead: int
    kept: int = 0
    won: int = 0
    problem: str = ""

    def __str__(self) -> str:
        kept = f", {self.kept:,} still visible to somebody" if self.kept else ""
        done = f"{counted(self.dead - self.kept, 'dead row')}{kept}, {size(self.won)} won"
        return f"{self.label} ({self.problem or done})"


async def needy_tables(connection: AsyncConnection[Any], rows: int, percent: int) -> list[Needy]:
    """Tables with more dead rows than `rows` and `percent` % of their live ones, most needy first."""
    await connection.execute("SELECT pg_stat_force_next_flush()")  # what this run removed shall count
    query = sql.SQL(NEEDY).format(sql.SQL(permitted(connection)))
    async with connection.cursor(row_factory=class_row(Needy)) as cursor:
        await cursor.execute(query, {"rows": rows, "share": percent / 100})
        return await cursor.fetchall()


async def vacuum(
    ctx: JobContext, connection: AsyncConnection[Any], tables: Sequence[Needy], budget: Budget
) -> list[Vacuumed]:
    """Vacuum them one by one; one that cannot be, or is not done in time, does not stop the others."""
    done = []
    async with lookout(ctx) as watching:
        for number, table in enumerate(tables):
            ctx.progress(number, len(tables), f"tables vacuumed, now {table.label}")
            outcome = await _one(connection, watching, table, budget)
            ctx.logger.info(f"vacuumed {outcome}")
            done.append(outcome)
    return done


async def _one(
    connection: AsyncConnection[Any], watching: AsyncConnection[Any], table: Needy, budget: Budget
) -> Vacuumed:
    if not table.permitted:
        return Vacuumed(label=table.label, dead=table.dead, problem="not ours to vacuum")
    if budget.spent():
        return Vacuumed(label=table.label, dead=table.dead, problem="no time left")
    statement = sql.SQL("VACUUM (ANALYZE, PARALLEL 0) {}").format(table.identifier)
    try:
        async with budget.limits(connection, THROTTLE):
            before, _ = await _state(connection, table)
            await execute_politely(connection, watching, statement)
            after, kept = await _state(connection, table)
    except GaveWayError:
        problem = "gave way to somebody who wanted to change it"
    except errors.LockNotAvailable:
        problem = "locked by somebody"
    except errors.QueryCanceled:
        if not budget.spent():
            raise
        problem = "not finished in time"
    except psycopg.Error as exc:
        problem = (exc.diag.message_primary or str(exc)).strip()
    else:
        kept, won = min(kept, table.dead), max(0, before - after)
        return Vacuumed(label=table.label, dead=table.dead, kept=kept, won=won)
    return Vacuumed(label=table.label, dead=table.dead, problem=problem)


async def _state(connection: AsyncConnection[Any], table: Needy) -> tuple[int, int]:
    """Bytes with indexes, and dead rows."""
    cursor = await connection.execute(STATE, [table.identifier.as_string(connection)])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0]), int(row[1])
