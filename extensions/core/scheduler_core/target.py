"""Which rows a job removes, what speaks against it, what goes with them: and the SQL that does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from psycopg import sql

from scheduler_core.schema import Reference, Table

ALL = sql.SQL("true")
SMALL = 256 * 1024
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Places:
    """The rows at these places (ctid) of a table."""

    places: tuple[str, ...]

    where: ClassVar[sql.SQL] = sql.SQL("t.ctid = ANY(%(places)s::tid[])")

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {"places": list(self.places)}


@dataclass(frozen=True, slots=True)
class Pages:
    """The rows on pages `first` … `end` - 1 of a table."""

    first: int
    end: int

    where: ClassVar[sql.SQL] = sql.SQL("t.ctid >= %(first)s::tid AND t.ctid < %(end)s::tid")

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {"first": f"({self.first},0)", "end": f"({self.end},0)"}


Piece = Places | Pages
"""Some of a table's rows (alias t), by their place in it. `parameters` are those of `where`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Rows of `table` (alias e) whose `column` holds a candidate's key, and which so forbid its removal."""

    table: Table
    column: str
    where: sql.Composable = field(default_factory=lambda: ALL)

    @property
    def indexed(self) -> bool:
        return self.column in self.table.indexed

    @property
    def quick(self) -> bool:
        """Whether each batch can look it up: by an index, or in a table that is nothing to read."""
        return self.indexed or self.table.size <= SMALL


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependent:
    """Rows of `table` whose `column` holds a removed row's key, and which go with it. `what`: "context"."""

    what: str
    table: Table
    column: str

    @property
    def quick(self) -> bool:
        """Whether each batch can count them, as of evidence."""
        return self.column in self.table.indexed or self.table.size <= SMALL

    def number(self, key: sql.Composable) -> sql.Composed:
        """A sub-select of how many hang on a key."""
        return sql.SQL("(SELECT count(*) FROM {} d WHERE d.{} = {})").format(
            self.table.identifier, sql.Identifier(self.column), key
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Rows of `table` (alias t) that fulfil `where` and against which there is no evidence.

    `change` is the SET list of an UPDATE that makes `where` untrue; without it the rows are deleted.
    `parameters` are those of `where` and `change`. `key` is what evidence and dependents refer to.
    `dependents` are counted; `references` is every foreign key that the removal has to follow.
    """

    table: Table
    key: str
    where: sql.Composable
    parameters: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    dependents: tuple[Dependent, ...] = ()
    references: tuple[Reference, ...] = ()
    change: sql.Composable | None = None

    @property
    def quick(self) -> bool:
        return all(evidence.quick for evidence in self.evidence)

    @property
    def heavy(self) -> bool:
        """Whether a foreign key without an index makes each removed row read some table from end to end."""
        return any(not reference.indexed and reference.size > SMALL for reference in self.references)

    def find(self, piece: Piece | None, limit: int | None) -> sql.Composed:
        """SELECT of the places of candidates, all evidence considered."""
        condition = self._condition(piece.where if piece else None, self.evidence)
        return sql.SQL("SELECT t.ctid FROM {} t WHERE {}{}").format(
            self.table.identifier, condition, _limited(limit)
        )

    def count(self, limit: int | None) -> sql.Composed:
        """SELECT of the number of candidates, and of the rows of each dependent that would go with them."""
        hanging = [
            sql.SQL(", (SELECT count(*) FROM {} d WHERE d.{} IN (SELECT key FROM candidate))").format(
                dependent.table.identifier, sql.Identifier(dependent.column)
            )
            for dependent in self.dependents
        ]
        return sql.SQL(
            "WITH candidate AS MATERIALIZED (SELECT t.{} AS key FROM {} t WHERE {}{})"
            " SELECT (SELECT count(*) FROM candidate){}"
        ).format(
            sql.Identifier(self.key),
            self.table.identifier,
            self._condition(None, self.evidence),
            _limited(limit),
            sql.Composed(hanging),
        )

    def removal(self, piece: sql.Composable, *, skip_locked: bool = False) -> sql.Composed:
        """Remove (or change) the candidates among a piece (its `where`), by quick evidence only.

        It returns (number, number of each dependent …) where there are dependents.
        `skip_locked` passes by rows that somebody has locked, at the price of locking the others first.
        """
        condition = self._condition(piece, [e for e in self.evidence if e.quick])
        if skip_locked:
            condition = sql.SQL(
                "t.ctid = ANY(ARRAY(SELECT t.ctid FROM {} t WHERE {} FOR UPDATE OF t SKIP LOCKED))"
            ).format(self.table.identifier, condition)
        if self.change is None:
            action = sql.SQL("DELETE FROM {} t").format(self.table.identifier)
        else:
            action = sql.SQL("UPDATE {} t SET {}").format(self.table.identifier, self.change)
        statement = sql.SQL("{} WHERE {}").format(action, condition)
        return self._counted(statement) if self.dependents else statement

    def detach(self, reference: Reference, piece: Piece, limit: int) -> sql.Composed:
        """Do what the foreign key would to at most `limit` rows that refer to candidates among a piece.

        The candidates get locked: nobody changes one while it is taken apart.
        """
        attached, column = reference.as_table().identifier, sql.Identifier(reference.column)
        action = sql.SQL("DELETE FROM {} d").format(attached)
        if not reference.removes:
            action = sql.SQL("UPDATE {} d SET {} = NULL").format(attached, column)
        return sql.SQL(
            "{} WHERE d.ctid = ANY(ARRAY(SELECT d.ctid FROM {} t JOIN {} d ON d.{} = t.{} WHERE {}"
            " LIMIT {} FOR UPDATE OF t))"
        ).format(
            action,
            self.table.identifier,
            attached,
            column,
            sql.Identifier(self.key),
            self._condition(piece.where, self.evidence),
            limit,
        )

    def _condition(self, piece: sql.Composable | None, evidence: Iterable[Evidence]) -> sql.Composed:
        parts: list[sql.Composable] = [self.where] if piece is None else [piece, self.where]
        parts += [
            sql.SQL("NOT EXISTS (SELECT FROM {} e WHERE e.{} = t.{} AND {})").format(
                e.table.identifier, sql.Identifier(e.column), sql.Identifier(self.key), e.where
            )
            for e in evidence
        ]
        return sql.SQL(" AND ").join(parts)

    def _counted(self, statement: sql.Composed) -> sql.Composed:
        """What hangs on a row is counted in the statement's snapshot, before the cascade takes it."""
        key = sql.Identifier("t", self.key)
        names = [sql.Identifier(f"n{place}") for place in range(len(self.dependents))]
        numbers = [
            sql.SQL("{} AS {}").format(dependent.number(key), name)
            for dependent, name in zip(self.dependents, names, strict=True)
        ]
        sums = [sql.SQL(", coalesce(sum({}), 0)::bigint").format(name) for name in names]
        return sql.SQL("WITH gone AS ({} RETURNING {}) SELECT count(*){} FROM gone").format(
            statement, sql.SQL(", ").join(numbers), sql.Composed(sums)
        )


def forbidding(references: Iterable[Reference]) -> tuple[Evidence, ...]:
    """Foreign keys that neither cascade nor let go: a row that they refer to has to stay."""
    return tuple(
        Evidence(table=reference.as_table(), column=reference.column)
        for reference in references
        if reference.forbids
    )


def _limited(limit: int | None) -> sql.Composable:
    return sql.SQL("") if limit is None else sql.SQL(" LIMIT {}").format(limit)
