"""Indexes that are broken or bloated are rebuilt while in use; what such a rebuild left behind is removed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, errors, sql
from psycopg.rows import class_row

from scheduler_core.budget import Budget, permitted
from scheduler_core.courtesy import GaveWayError, execute_politely, lookout
from scheduler_core.report import size
from scheduler_daemon.extension import JobContext

BLOATED_BYTES = 8 * 1024 * 1024
"""A smaller index is not worth the look, nor the rebuilding."""
CLEAR_UP_S = 10.0
REMOVE: LiteralString = "DROP INDEX CONCURRENTLY IF EXISTS {}"
REBUILD: LiteralString = "REINDEX INDEX CONCURRENTLY {}"
LEFTOVER = re.compile(r"_cc(?:new|old)\d*$")
"""How PostgreSQL names the second copy of an index while it rebuilds it concurrently."""

INDEXES: LiteralString = """
    SELECT n.nspname AS schema, x.relname AS name, x.oid::bigint AS oid, c.oid::bigint AS table_oid,
        i.indisvalid AS valid,
        EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.oid) AS constrained,
        pg_relation_size(x.oid) AS bytes, am.amname = 'btree' AS btree, {} AS permitted
    FROM pg_index i
    JOIN pg_class x ON x.oid = i.indexrelid AND x.relkind = 'i' AND x.relpersistence <> 't'
    JOIN pg_am am ON am.oid = x.relam
    JOIN pg_class c ON c.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = x.relnamespace
    WHERE n.nspname NOT IN ('information_schema', 'scheduler') AND n.nspname NOT LIKE 'pg\\_%%'
        AND (NOT i.indisvalid OR pg_relation_size(x.oid) >= %(bytes)s)
    ORDER BY i.indisvalid, pg_relation_size(x.oid) DESC
"""
BUILDING: LiteralString = """
    SELECT count(*) FROM pg_stat_progress_create_index
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
PGSTATTUPLE: LiteralString = """
    SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pgstattuple' AND has_schema_privilege(n.oid, 'USAGE')
        AND has_function_privilege(to_regprocedure(format('%I.pgstatindex(regclass)', n.nspname)), 'EXECUTE')
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    schema: str
    name: str
    oid: int
    table_oid: int
    valid: bool
    constrained: bool
    bytes: int
    btree: bool
    permitted: bool

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def label(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def leftover(self) -> bool:
        """The spare copy of a rebuild that did not come to its end."""
        return not self.valid and not self.constrained and LEFTOVER.search(self.name) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Treated:
    """What was done about an index ("rebuilt" or "removed") and the bytes won, or the problem with it."""

    label: str
    action: str
    won: int = 0
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.label} ({self.problem or f'{size(self.won)} won'})"


class Indexes:
    """The indexes of a database, looked after within a budget of time."""

    def __init__(self, ctx: JobContext, connection: AsyncConnection[Any], budget: Budget) -> None:
        self._ctx = ctx
        self._connection = connection
        self._budget = budget

    async def ailing(self, bloat_percent: int) -> list[Index]:
        """Leftovers, then other invalid ones; then bloated ones, if the server can tell."""
        found = await self._large_or_invalid()
        bloated = await self._bloated(found, bloat_percent)
        if await self._value(BUILDING):
            return bloated  # what is invalid may be somebody's, and unfinished
        invalid = [index for index in found if not index.valid]
        return sorted(invalid, key=lambda index: not index.leftover) + bloated

    async def treat(self, ailing: Sequence[Index], most: int) -> list[Treated]:
        """Remove leftovers, rebuild at most `most` others; one that fails does not stop the rest."""
        leftovers = [index for index in ailing if index.leftover]
        todo = leftovers + [index for index in ailing if not index.leftover][:most]
        treated: list[Treated] = []
        async with lookout(self._ctx) as watching:
            for index in todo:
                self._ctx.progress(len(treated), len(todo), f"indexes treated, now {index.label}")
                outcome = await self._treat(index, watching)
                self._ctx.logger.info(f"{outcome.action} index {outcome}")
                treated.append(outcome)
        return treated

    async def _bloated(self, found: Sequence[Index], percent: int) -> list[Index]:
        """Whose leaf pages are mostly empty: a freshly built index fills 90 % of them."""
        schema = await self._value(PGSTATTUPLE)
        if schema is None:
            return []
        density = sql.SQL("SELECT avg_leaf_density FROM {}.pgstatindex(%s::oid::regclass)").format(
            sql.Identifier(schema)
        )
        try:
            async with self._budget.limits(self._connection):
                trees = [index for index in found if index.valid and index.btree]
                return [index for index in trees if await self._value(density, index.oid) < 100 - percent]
        except errors.QueryCanceled:
            if not self._budget.spent():
                raise
            return []

    async def _treat(self, index: Index, watching: AsyncConnection[Any]) -> Treated:
        action = "removed" if index.leftover else "rebuilt"
        if self._budget.spent():
            return Treated(label=index.label, action=action, problem="no time left")
        if index.leftover:
            problem = await self._execute(REMOVE, index, self._budget, watching)
        else:
            problem = await self._execute(REBUILD, index, self._budget, watching)
            if problem:
                await self._clear_up(index, watching)
        won = 0 if problem else max(0, index.bytes - await self._size(index))
        return Treated(label=index.label, action=action, won=won, problem=problem)

    async def _clear_up(self, index: Index, watching: AsyncConnection[Any]) -> None:
        """The copy that a failed rebuild leaves."""
        for other in await self._large_or_invalid():
            if other.leftover and other.table_oid == index.table_oid:
                await self._execute(REMOVE, other, Budget(CLEAR_UP_S), watching)

    async def _execute(
        self, command: LiteralString, index: Index, budget: Budget, watching: AsyncConnection[Any]
    ) -> str:
        """The problem that there was, or nothing."""
        try:
            async with budget.limits(self._connection):
                statement = sql.SQL(command).format(index.identifier)
                await execute_politely(self._connection, watching, statement)
        except GaveWayError:
            return "gave way to somebody who wanted to change its table"
        except errors.LockNotAvailable:
            return "its table is locked by somebody"
        except errors.QueryCanceled:
            if not budget.spent():
                raise
            return "not finished in time"
        except psycopg.Error as exc:
            return (exc.diag.message_primary or str(exc)).strip()
        return ""

    async def _large_or_invalid(self) -> list[Index]:
        """Largest first."""
        query = sql.SQL(INDEXES).format(sql.SQL(permitted(self._connection)))
        async with self._connection.cursor(row_factory=class_row(Index)) as cursor:
            await cursor.execute(query, {"bytes": BLOATED_BYTES})
            return [index for index in await cursor.fetchall() if index.permitted]

    async def _size(self, index: Index) -> int:
        """In bytes; 0 if it is gone."""
        size_bytes = await self._value(
            "SELECT pg_relation_size(to_regclass(%s))", index.identifier.as_string()
        )
        return int(size_bytes or 0)

    async def _value(self, query: LiteralString | sql.Composed, *parameters: Any) -> Any:
        cursor = await self._connection.execute(query, parameters or None)
        row = await cursor.fetchone()
        return None if row is None else row[0]
