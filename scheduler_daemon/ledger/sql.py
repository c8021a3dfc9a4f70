"""Loads queries.sql once: `-- name --`, a line or more of description, then the statement."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any, LiteralString


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


def sql(name: str) -> LiteralString:
    """The statement of that name; KeyError if there is none."""
    return _statements()[name]
