"""SQL lives in .sql files: `-- name --`, a line that says what it does, named parameters, {fragments}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from psycopg import Connection, Cursor, sql


@cache
def _statements(package: str) -> dict[str, sql.SQL]:
    text = files(package).joinpath("queries.sql").read_text("utf-8")
    parts = re.split(r"^-- (\w+) --\n", text, flags=re.MULTILINE)[1:]
    return {name: sql.SQL(body.strip()) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _bound(value: Any) -> Any:
    """Numbers and days as PostgreSQL writes arrays: psycopg would look at each for quotes."""
    if isinstance(value, list) and value and isinstance(value[0], (int, date)):
        return "{" + ",".join(map(str, value)) + "}"
    return value


class Statements:
    """The statements of one package's queries.sql, on one connection."""

    def __init__(self, package: str, connection: Connection[Any]) -> None:
        self._statements = _statements(package)
        self._connection = connection

    def run(
        self, name: str, fragments: Mapping[str, sql.Composable] | None = None, /, **values: Any
    ) -> Cursor[Any]:
        """Execute a statement; `fragments` fill its {braces}, `values` its %(parameters)s."""
        bound = {key: _bound(value) for key, value in values.items()}
        return self._connection.execute(self.compose(name, fragments), bound or None)

    def compose(
        self, name: str, fragments: Mapping[str, sql.Composable] | None = None
    ) -> sql.SQL | sql.Composed:
        statement = self._statements[name]
        return statement.format(**fragments) if fragments is not None else statement

    def rows(
        self, name: str, fragments: Mapping[str, sql.Composable] | None = None, /, **values: Any
    ) -> list[Any]:
        return self.run(name, fragments, **values).fetchall()

    def one(self, name: str, **values: Any) -> Any:
        """The first row, or None."""
        return self.run(name, **values).fetchone()
