"""Loads queries.sql once: `-- name --`, a line or more of description, then the statement.

Many rows go to the server as one JSON parameter (`as_rows`), read there by json_to_recordset: several times
cheaper than arrays, which psycopg builds element by element.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, LiteralString

import orjson


@cache
def _statements() -> dict[str, LiteralString]:
    text = files("scheduler_daemon.ledger").joinpath("queries.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- (\w+) --$", text, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    literal: Any = {name: _without_comments(body) for name, body in pairs}  # our own file: no input in it
    statements: dict[str, LiteralString] = literal
    return statements


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.strip().splitlines() if not line.startswith("--"))


def as_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows for json_to_recordset. Nulls are left out; text loses what PostgreSQL cannot hold."""
    kept = [{name: value for name, value in row.items() if value is not None} for row in rows]
    try:
        text = _dump(kept)
    except ValueError:
        text = _dump(_finite(kept))
    text = _without_nul(text)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def as_plain_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """The same, several times faster, for rows without nulls whose values are of our own making: NaN would
    become null.
    """
    found = list(rows)
    try:
        text = orjson.dumps(found, default=str).decode()
    except TypeError:
        return as_rows(found)
    return _without_nul(text)


def _without_nul(text: str) -> str:
    return _NUL.sub(r"\1\\u2400", text) if "\\u0000" in text else text


def _finite(value: Any) -> Any:
    """NaN and the infinities, which JSON does not know, as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


_dump = json.JSONEncoder(default=str, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""The escape itself, not a backslash before the text u0000."""


def sql(name: str) -> LiteralString:
    """The statement of that name; KeyError if there is none."""
    return _statements()[name]
