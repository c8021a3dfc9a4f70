"""What of the application's tables this database has: one made elsewhere, or long ago, may lack some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

_TABLES: LiteralString = """
    SELECT c.relname, c.relkind = 'p', pg_relation_size(c.oid), a.attname, format_type(a.atttypid, NULL),
        EXISTS (
            SELECT FROM pg_index i
            WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL
        )
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p')
        AND c.relname = ANY(%(names)s)
"""

_LEAVES: LiteralString = """
    SELECT n.nspname, c.relname
    FROM pg_partition_tree(%(root)s::regclass) p
    JOIN pg_class c ON c.oid = p.relid AND c.relkind = 'r'
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE p.isleaf
    ORDER BY c.relname
"""

_REFERENCES: LiteralString = """
    WITH RECURSIVE reference AS (
        SELECT k.conrelid, k.conkey, k.confdeltype, true AS direct
        FROM pg_constraint k
        WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = %(root)s::regclass
        UNION
        SELECT k.conrelid, k.conkey, k.confdeltype, false
        FROM reference r
        JOIN pg_constraint k ON k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = r.conrelid
        WHERE r.confdeltype = 'c'
    )
    SELECT DISTINCT n.nspname AS schema, c.relname AS "table", a.attname AS column, r.confdeltype AS action,
        r.direct, cardinality(r.conkey) = 1 AS single, pg_relation_size(c.oid) AS size,
        EXISTS (
            SELECT FROM pg_index i
            WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL
        ) AS indexed
    FROM reference r
    JOIN pg_class c ON c.oid = r.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = r.conkey[1]
    ORDER BY 1, 2, 3
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table. `columns`: name → type; `indexed`: those that lead an index of all rows; `size` in bytes."""

    name: str
    schema: str = "public"
    partitioned: bool = False
    size: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    indexed: frozenset[str] = frozenset()

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    def has(self, *columns: str) -> bool:
        return all(column in self.columns for column in columns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A foreign key by which the removal of a row reaches `column` of `table`, directly or through others.

    `action` as in pg_constraint.confdeltype: c(ascade), n(ull), d(efault), r(estrict), a (none).
    `single`: the key is one column; `size` of the table in bytes.
    """

    schema: str
    table: str
    column: str
    action: str
    direct: bool
    single: bool
    size: int
    indexed: bool

    @property
    def forbids(self) -> bool:
        """Whether a row that is referred to by it cannot be removed."""
        return self.direct and self.single and self.action in ("a", "r")

    @property
    def removes(self) -> bool:
        """Whether what refers by it goes too; else it is let go, or forbids the removal."""
        return self.action == "c"

    @property
    def detachable(self) -> bool:
        """Whether what refers by it can go, or be let go, ahead of the removal."""
        return self.direct and self.single and self.action in ("c", "n")

    def as_table(self) -> Table:
        return Table(
            name=self.table,
            schema=self.schema,
            size=self.size,
            columns={self.column: ""},
            indexed=frozenset([self.column] if self.indexed else []),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    tables: Mapping[str, Table]

    def find(self, name: str, *columns: str) -> Table | None:
        """The table, if it is there with all these columns."""
        table = self.tables.get(name)
        return table if table is not None and table.has(*columns) else None

    def absent(self, wanted: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """What is not there of table → columns: "table mcp_sessions", "column user_contexts.kind"."""
        gone: list[str] = []
        for name, columns in wanted.items():
            table = self.tables.get(name)
            if table is None:
                gone.append(f"table {name}")
            else:
                gone += [f"column {name}.{column}" for column in columns if column not in table.columns]
        return tuple(gone)

    def lacks(self, needed: Mapping[str, Sequence[str]]) -> bool:
        return bool(self.absent(needed))


async def inspect(connection: AsyncConnection[Any], names: Sequence[str]) -> Schema:
    """Look up the tables of these names in schema public, their columns and leading index columns."""
    cursor = await connection.execute(_TABLES, {"names": list(names)})
    found: dict[str, tuple[bool, int]] = {}
    columns: dict[str, dict[str, str]] = {}
    indexed: dict[str, set[str]] = {}
    for name, partitioned, size, column, kind, leads in await cursor.fetchall():
        found[name] = (partitioned, size)
        columns.setdefault(name, {})[column] = kind
        if leads:
            indexed.setdefault(name, set()).add(column)
    return Schema(
        tables={
            name: Table(
                name=name,
                partitioned=partitioned,
                size=size,
                columns=columns[name],
                indexed=frozenset(indexed.get(name, ())),
            )
            for name, (partitioned, size) in found.items()
        }
    )


async def leaves(connection: AsyncConnection[Any], table: Table) -> list[Table]:
    """The tables that hold the rows: its partitions, or itself."""
    if not table.partitioned:
        return [table]
    root = table.identifier.as_string(connection)
    cursor = await connection.execute(_LEAVES, {"root": root})
    return [
        Table(name=name, schema=schema, columns=table.columns, indexed=table.indexed)
        for schema, name in await cursor.fetchall()
    ]


async def references(connection: AsyncConnection[Any], table: Table) -> list[Reference]:
    """Every foreign key that the removal of a row of `table` has to follow, through cascades too."""
    async with connection.cursor(row_factory=class_row(Reference)) as cursor:
        await cursor.execute(_REFERENCES, {"root": table.identifier.as_string(connection)})
        return await cursor.fetchall()
