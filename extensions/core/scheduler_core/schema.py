"""What of the application's tables this database has: one made elsewhere, or long ago, may lack some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql

_TABLES: LiteralString = """
    SELECT c.relname, c.oid, c.relkind = 'p', a.attname, format_type(a.atttypid, NULL),
        EXISTS (
            SELECT FROM pg_index i
            WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL
        )
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p')
        AND c.relname = ANY(%(names)s)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of schema public. `columns`: name → type; `indexed`: columns that lead an index of all rows."""

    name: str
    oid: int
    partitioned: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    indexed: frozenset[str] = frozenset()

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier("public", self.name)

    def has(self, *columns: str) -> bool:
        return all(column in self.columns for column in columns)


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


async def inspect(connection: AsyncConnection[Any], names: Sequence[str]) -> Schema:
    """Look up the tables of these names in schema public, their columns and leading index columns."""
    cursor = await connection.execute(_TABLES, {"names": list(names)})
    found: dict[str, tuple[int, bool]] = {}
    columns: dict[str, dict[str, str]] = {}
    indexed: dict[str, set[str]] = {}
    for name, oid, partitioned, column, kind, leads in await cursor.fetchall():
        found[name] = (oid, partitioned)
        columns.setdefault(name, {})[column] = kind
        if leads:
            indexed.setdefault(name, set()).add(column)
    return Schema(
        tables={
            name: Table(
                name=name,
                oid=oid,
                partitioned=partitioned,
                columns=columns[name],
                indexed=frozenset(indexed.get(name, ())),
            )
            for name, (oid, partitioned) in found.items()
        }
    )
