"""Two timetables side by side."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.model import DstPolicy
from scheduler_daemon.operations.fires import compare, differs
from scheduler_daemon.runner.planning import Timetable

START = datetime(2026, 3, 26, tzinfo=UTC)
END = START + timedelta(days=7)


def table(schedule: str, zone: str = "UTC") -> Timetable:
    return Timetable(expression=CronExpression.parse_schedule(schedule), zone=ZoneInfo(zone), dst=DstPolicy())


def test_the_same_fires_in_other_words_are_no_difference() -> None:
    change = compare(table("0 0 */6 * * *"), table("0 0 0,6,12,18 * * *"), START, END)
    assert not differs(change)
    assert (change.before, change.after) == (28, 28)


def test_a_new_hour_moves_every_fire() -> None:
    change = compare(table("0 0 3 * * *"), table("0 30 4 * * *"), START, END)
    assert (change.moved, change.added, change.removed) == (7, 0, 0)
    assert change.first_moved[0].before == START + timedelta(hours=3)
    assert change.first_moved[0].after == START + timedelta(hours=4, minutes=30)


def test_another_zone_moves_them_by_its_offset_across_a_change_of_clocks() -> None:
    change = compare(table("0 0 3 * * *"), table("0 0 3 * * *", "Europe/Berlin"), START, END)
    assert change.moved == 7
    shifts = {one.before - one.after for one in change.first_moved}
    assert shifts == {timedelta(hours=1), timedelta(hours=2)}


def test_more_often_adds_and_less_often_removes() -> None:
    more = compare(table("0 0 * * * *"), table("0 */30 * * * *"), START, END)
    assert (more.added, more.removed, more.after - more.before) == (168, 0, 168)
    less = compare(table("0 */30 * * * *"), table("0 0 * * * *"), START, END)
    assert (less.added, less.removed) == (0, 168)


def test_from_nothing_and_to_nothing() -> None:
    assert compare(None, table("0 0 3 * * *"), START, END).added == 7
    assert compare(table("0 0 3 * * *"), None, START, END).removed == 7
    assert not differs(compare(None, None, START, END))


def test_what_is_too_dense_is_counted_only() -> None:
    dense = compare(table("* * * * * *"), table("*/2 * * * * *"), START, END)
    assert (dense.before, dense.after, dense.exact) == (604_800, 302_400, False)
    assert differs(dense)
    assert not differs(compare(table("* * * * * *"), table("* * * * * *"), START, END))
