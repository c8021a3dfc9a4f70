"""Rows as JSON for PostgreSQL: the quick way says what the careful one says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from scheduler_daemon.ledger.sql import as_plain_rows, as_rows
from scheduler_daemon.model import RunStatus

NUL = "\N{SYMBOL FOR NULL}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (RunStatus.TIMED_OUT, "timed_out"),
        ("ä “quoted” \\ \n", "ä “quoted” \\ \n"),
        ("a\0b", f"a{NUL}b"),
        ("\\u0000", "\\u0000"),
        ("\ud800", "?"),
        ({"a": [1, 0.1, True, None]}, {"a": [1, 0.1, True, None]}),
        (2**63 - 1, 2**63 - 1),
        (2**70, 2**70),
        (timedelta(seconds=1), "0:00:01"),
    ],
)
def test_both_ways_say_the_same(value: Any, said: Any) -> None:
    for way in (as_rows, as_plain_rows):
        assert json.loads(way([{"value": value}])) == [{"value": said}]


def test_moments_are_read_alike() -> None:
    moment = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    for way in (as_rows, as_plain_rows):
        (row,) = json.loads(way([{"at": moment}]))
        assert datetime.fromisoformat(row["at"]) == moment
