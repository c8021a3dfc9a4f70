"""The room's SQL, from queries.sql beside this file."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

from psycopg import Connection, sql


@cache
def _all() -> dict[str, sql.SQL]:
    text = files(__package__ or __name__).joinpath("queries.sql").read_text("utf-8")
    parts = re.split(r"^-- (\w+) --\n", text, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {name: sql.SQL(body.strip()) for name, body in pairs}


def query(name: str) -> sql.SQL:
    return _all()[name]


def fetch(connection: Connection[Any], name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query(name), parameters).fetchall()
