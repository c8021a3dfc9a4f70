"""A time as an operator types it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from scheduler_daemon.errors import RequestError
from scheduler_daemon.operations.asked import asked

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "length"),
    [
        ("2026-06-01 02:30", "2026-06-01 00:30", timedelta(minutes=1)),
        ("2026-06-01T02:30:15", "2026-06-01 00:30:15", timedelta(seconds=1)),
        ("2026-06-01 02:30:00-05:00", "2026-06-01 07:30", timedelta(seconds=1)),
        ("2026-06-01T02:30Z", "2026-06-01 02:30", timedelta(minutes=1)),
        ("2026-06-01", "2026-05-31 22:00", timedelta(days=1)),
        ("2026-03-29", "2026-03-28 23:00", timedelta(hours=23)),
        ("2026-10-25", "2026-10-24 22:00", timedelta(hours=25)),
        ("02:30", "2026-11-22 01:30", timedelta(minutes=1)),
        ("9:05", "2026-11-22 08:05", timedelta(minutes=1)),
    ],
)
def test_what_is_meant(text: str, start: str, length: timedelta) -> None:
    one = asked(text, BERLIN, NOW)
    assert (one.start, one.end - one.start) == (utc(start), length)
    assert (one.swallowed, one.repeated) == (None, None)


def test_a_time_in_a_jump_means_the_jump() -> None:
    one = asked("2026-03-29 02:30", BERLIN, NOW)
    assert (one.start, one.swallowed) == (utc("2026-03-29 01:00"), "2026-03-29 02:30:00")


def test_a_half_hour_jump_and_a_day_that_never_was() -> None:
    lord_howe = asked("2026-10-04 02:15", ZoneInfo("Australia/Lord_Howe"), NOW)
    assert lord_howe.start == utc("2026-10-03 15:30")
    samoa = asked("2011-12-30 12:00", ZoneInfo("Pacific/Apia"), NOW)
    assert (samoa.start, samoa.swallowed) == (utc("2011-12-30 10:00"), "2011-12-30 12:00:00")


def test_a_time_that_came_twice_says_how_far_apart() -> None:
    one = asked("2026-10-25 02:30", BERLIN, NOW)
    assert (one.start, one.repeated) == (utc("2026-10-25 00:30"), timedelta(hours=1))


@pytest.mark.parametrize(
    "text", ["", "soon", "24:61", "2026-02-30", "1969-01-01", "2200-01-01", "1970-01-01", "+", "2026"]
)
def test_what_is_no_time_says_what_is(text: str) -> None:
    with pytest.raises(RequestError, match=r"is not a time: write|from 1970 to 2199"):
        asked(text, BERLIN, NOW)
