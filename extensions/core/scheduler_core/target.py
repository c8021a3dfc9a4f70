"""Which rows a job removes, what speaks against it, what goes with them: and the SQL of each step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from scheduler_core.schema import Reference, Table

ALL = sql.SQL("true")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Rows of `table` (alias e) whose `column` holds a candidate's key, and which so forbid its removal."""

    table: Table
    column: str
    where: sql.Composable = field(default_factory=lambda: ALL)

    @property
    def quick(self) -> bool:
        """Whether a batch can look it up; a scan of the whole table would hold its locks for too long."""
        return self.column in self.table.indexed

    def of(self) -> sql.Composed:
        """SELECT of those of %(keys)s that it speaks for."""
        return sql.SQL(
            "SELECT e.{column} FROM {table} e WHERE e.{column} = ANY(%(keys)s) AND {where}"
        ).format(column=sql.Identifier(self.column), table=self.table.identifier, where=self.where)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependent:
    """Rows of `table` whose `column` holds a removed row's key; they go before it. `what`: "context"."""

    what: str
    table: Table
    column: str

    def removal(self, limit: int | None = None) -> sql.Composed:
        """DELETE of what hangs on %(keys)s, at most `limit` rows of it."""
        condition = sql.SQL("d.{} = ANY(%(keys)s)").format(sql.Identifier(self.column))
        if limit is not None:
            condition = sql.SQL("d.ctid = ANY(ARRAY(SELECT d.ctid FROM {} d WHERE {} LIMIT {}))").format(
                self.table.identifier, condition, limit
            )
        return sql.SQL("DELETE FROM {} d WHERE {}").format(self.table.identifier, condition)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Rows of `table` (alias t) that fulfil `where` and against which there is no evidence.

    `change` is the SET list of an UPDATE that makes `where` untrue; without it the rows are deleted.
    `parameters` are those of `where` and `change`.
    """

    table: Table
    key: str
    where: sql.Composable
    parameters: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    dependents: tuple[Dependent, ...] = ()
    change: sql.Composable | None = None

    @property
    def alone(self) -> bool:
        """Whether nothing but the row itself needs a look, so that one statement does a batch."""
        return not (self.evidence or self.dependents)

    def candidates(self, limit: int | None) -> sql.Composed:
        """SELECT of their places (ctid) and keys, in the table's own order."""
        doubts = [
            sql.SQL(" AND NOT EXISTS (SELECT FROM {} e WHERE e.{} = t.{} AND {})").format(
                e.table.identifier, sql.Identifier(e.column), sql.Identifier(self.key), e.where
            )
            for e in self.evidence
        ]
        return sql.SQL("SELECT t.ctid AS place, t.{} AS key FROM {} t WHERE {}{} ORDER BY t.ctid{}").format(
            sql.Identifier(self.key),
            self.table.identifier,
            self.where,
            sql.Composed(doubts),
            sql.SQL("") if limit is None else sql.SQL(" LIMIT {}").format(limit),
        )

    def count(self, limit: int | None) -> sql.Composed:
        """SELECT of the number of candidates, and of the rows of each dependent that would go with them."""
        hanging = [
            sql.SQL(", coalesce(sum((SELECT count(*) FROM {} d WHERE d.{} = c.key)), 0)::bigint").format(
                d.table.identifier, sql.Identifier(d.column)
            )
            for d in self.dependents
        ]
        return sql.SQL("SELECT count(*){} FROM ({}) c").format(sql.Composed(hanging), self.candidates(limit))

    def lock(self) -> sql.Composed:
        """SELECT … FOR UPDATE of those of %(places)s that still fulfil `where` and that nobody has locked."""
        return sql.SQL(
            "SELECT t.ctid, t.{} FROM {} t WHERE t.ctid = ANY(%(places)s::tid[]) AND {}"
            " FOR UPDATE OF t SKIP LOCKED"
        ).format(sql.Identifier(self.key), self.table.identifier, self.where)

    def removal(self) -> sql.Composed:
        """DELETE (or UPDATE) of %(places)s; where the row stands alone, of those that `lock` would lock."""
        places: sql.Composable = sql.SQL("%(places)s::tid[]")
        if self.alone:
            places = sql.SQL(
                "ARRAY(SELECT t.ctid FROM {} t WHERE t.ctid = ANY(%(places)s::tid[]) AND {}"
                " FOR UPDATE OF t SKIP LOCKED)"
            ).format(self.table.identifier, self.where)
        if self.change is None:
            action = sql.SQL("DELETE FROM {} t").format(self.table.identifier)
        else:
            action = sql.SQL("UPDATE {} t SET {}").format(self.table.identifier, self.change)
        return sql.SQL("{} WHERE t.ctid = ANY({})").format(action, places)


def forbidding(references: Iterable[Reference]) -> tuple[Evidence, ...]:
    """Foreign keys that neither cascade nor let go: a row that they refer to has to stay."""
    return tuple(
        Evidence(table=reference.as_table(), column=reference.column)
        for reference in references
        if reference.forbids
    )
