"""Durations and moments as people type them, and times as they are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scheduler_daemon.cli import times

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1d12h", 129_600), ("2w", 1_209_600)],
)
def test_durations(text: str, seconds: int) -> None:
    assert times.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-2h", "2h!", "1y", "99999999999999999999d"])
def test_what_is_no_duration_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"30m, 2h|longer than any clock"):
        times.duration(text)


def test_a_moment_is_a_duration_ago_or_a_time() -> None:
    assert times.moment("2h", NOW) == NOW - timedelta(hours=2)
    assert times.moment("2026-03-29T02:30:00+02:00", NOW) == datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="neither a duration"):
        times.moment("yesterday", NOW)
    with pytest.raises(ValueError, match="neither a duration"):
        times.moment("999999999d", NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (-0.3, "just now"),
        (45, "in 45 s"),
        (-45, "45 s ago"),
        (150, "in 2 min"),
        (-7200, "2 h ago"),
        (259_200, "in 3 d"),
    ],
)
def test_relative_words(seconds: int, text: str) -> None:
    assert times.relative(NOW + timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, ""), (3.2, "3 ms"), (1240, "1.24 s"), (723_000, "12 min 3 s"), (3_780_000, "1 h 3 min")],
)
def test_what_something_took(milliseconds: float | None, text: str) -> None:
    assert times.took(milliseconds) == text
