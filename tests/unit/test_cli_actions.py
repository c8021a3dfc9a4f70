"""Who did what, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from scheduler_daemon.cli.actions import what

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OFF = {"enabled": False, "reason": "moving house", "actor": "root", "since": "2026-11-20 10:00:00+00:00"}


@pytest.mark.parametrize(
    ("action", "before", "after", "told"),
    [
        ("disable", None, OFF, "as the file says → disabled: moving house"),
        ("reset", OFF, None, "disabled: moving house → as the file says"),
        ("enable", None, {"enabled": True}, "as the file says → enabled"),
        ("reload", "ab" * 32, "cd" * 32, "abababababab → cdcdcdcdcdcd"),
        (
            "run",
            None,
            {"run": "01a22242-4c70-75bd-9566-3694167fcf8f", "parameters": {}},
            "run 01a22242-4c70-75bd",
        ),
        ("cancel", {"status": "running"}, {"status": "cancelled"}, "status running → status cancelled"),
        ("start", None, {"version": "1.0", "revision": "ab" * 32}, "version 1.0, revision abababababab"),
    ],
)
def test_actions_are_told_in_words(action: str, before: Any, after: Any, told: str) -> None:
    assert what({"action": action, "before": before, "after": after}, NOW) == told


def test_times_are_told_as_people_read_them() -> None:
    words = what(
        {"action": "disable", "before": None, "after": OFF | {"until": "2031-05-06 12:00:00+00:00"}}, NOW
    )
    assert words.startswith("as the file says → disabled until 2031-05-06 ")
    down = {"from": "2031-05-06T10:00:00+00:00", "stopped": True}
    assert what({"action": "start", "before": down, "after": {}}, NOW).startswith("stopped since 2031-05-06 ")
    assert what({"action": "start", "before": {**down, "stopped": False}, "after": {}}, NOW).startswith(
        "gone since"
    )
