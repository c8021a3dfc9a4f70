"""Instants that a person can check against a calendar and against the news about the clocks."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.model import DstGap, DstOverlap, DstPolicy

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
NEW_YORK = ZoneInfo("America/New_York")
DEBIAN = DstPolicy()
SKIP = DstPolicy(gap=DstGap.SKIP)
SECOND_PASS = DstPolicy(overlap=DstOverlap.SECOND)
BOTH_PASSES = DstPolicy(overlap=DstOverlap.BOTH)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day_in(zone: str, day: str, text: str, dst: DstPolicy = DEBIAN) -> list[str]:
    """The instants of one local day, as the clock shows them, with the offset."""
    tz = ZoneInfo(zone)
    midnight = datetime.fromisoformat(day)
    start, end = (moment.replace(tzinfo=tz).astimezone(UTC) for moment in (midnight, midnight + DAY))
    instants = CronExpression.parse(text).between(start - SECOND, end - SECOND, tz, dst=dst)
    return [instant.astimezone(tz).strftime("%H:%M%z") for instant in instants]


@pytest.mark.parametrize(
    ("text", "after", "following"),
    [
        ("0 0 * * * *", "2026-11-22 09:30:15", "2026-11-22 10:00:00"),
        ("0 */15 * * * *", "2026-11-22 09:45:00", "2026-11-22 10:00:00"),
        ("0 */30 * * * *", "2026-11-22 23:59:59.999999", "2026-11-23 00:00:00"),
        ("0 0 3 * * *", "2026-11-22 03:00:00", "2026-11-23 03:00:00"),
        ("0 0 7,19 * * *", "2026-11-22 07:00:00", "2026-11-22 19:00:00"),
        ("0 0 18 * * *", "2026-12-31 18:00:01", "2027-01-01 18:00:00"),
        ("0 0 0 * * 0", "2026-11-22 00:00:00", "2026-11-29 00:00:00"),
        ("0 0 0 1 * *", "2026-11-22 00:00:00", "2026-12-01 00:00:00"),
        ("* * * * * *", "2026-11-22 09:30:15.5", "2026-11-22 09:30:16"),
        ("0 0 0 29 2 *", "2026-11-22 00:00:00", "2028-02-29 00:00:00"),
        ("0 0 0 29 2 *", "2096-02-29 00:00:00", "2104-02-29 00:00:00"),
        ("0 0 0 29 2 MON#5", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
        ("0 0 0 29 2 +MON", "2026-01-01 00:00:00", "2044-02-29 00:00:00"),
        ("59 59 23 31 12 * 2199", "1970-01-01 00:00:00", "2199-12-31 23:59:59"),
        ("0 0 0 1 1 *", "1900-01-01 00:00:00", "1970-01-01 00:00:00"),
    ],
)
def test_the_next_instant(text: str, after: str, following: str) -> None:
    expression = CronExpression.parse(text)
    assert expression.next_after(utc(after), UTC) == utc(following)


def test_nothing_lies_outside_the_years_1970_to_2199() -> None:
    expression = CronExpression.parse("0 0 0 * * *")
    zone = ZoneInfo("Pacific/Kiritimati")
    assert expression.next_after(utc("2199-12-31 00:00:00"), UTC) is None
    assert expression.next_after(datetime.max.replace(tzinfo=UTC), zone) is None
    assert expression.previous_before(utc("1970-01-01 00:00:00"), UTC) is None
    assert expression.previous_before(datetime.min.replace(tzinfo=UTC), zone) is None
    first = expression.next_after(datetime.min.replace(tzinfo=UTC), zone)
    last = expression.previous_before(datetime.max.replace(tzinfo=UTC), zone)
    assert first == utc("1970-01-01 10:40:00")
    assert last == utc("2199-12-30 10:00:00")
    days_without_the_one_that_the_zone_left_out_in_1994 = 84_006 - 1
    count = expression.count(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), zone)
    assert count == days_without_the_one_that_the_zone_left_out_in_1994


def test_a_moment_may_be_in_any_zone_but_not_naive() -> None:
    expression = CronExpression.parse("0 0 3 * * *")
    moment = datetime(2026, 7, 1, 4, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert expression.next_after(moment, NEW_YORK) == utc("2026-07-01 07:00:00")
    with pytest.raises(TypeError, match="naive"):
        expression.next_after(datetime(2026, 7, 1), NEW_YORK)


def test_between_and_count_leave_out_the_start_and_hold_the_end() -> None:
    expression = CronExpression.parse("0 0 * * * *")
    start, end = utc("2026-11-22 09:00:00"), utc("2026-11-22 12:00:00")
    hours = [utc(f"2026-11-22 {hour}:00:00") for hour in (10, 11, 12)]
    assert list(expression.between(start, end, UTC)) == hours
    assert expression.count(start, end, UTC) == 3
    assert list(expression.between(end, start, UTC)) == []
    assert expression.count(end, start, UTC) == 0
    assert expression.count(start, start, UTC) == 0
    assert expression.count(start, end - timedelta(microseconds=1), UTC) == 2


def test_a_moment_with_a_fraction_of_a_second_is_no_instant() -> None:
    expression = CronExpression.parse("* * * * * *")
    assert expression.matches(utc("2026-11-22 09:00:00"), UTC)
    assert not expression.matches(utc("2026-11-22 09:00:00.5"), UTC)
    assert expression.previous_before(utc("2026-11-22 09:00:00.5"), UTC) == utc("2026-11-22 09:00:00")


def test_a_century_of_seconds_is_counted_at_once() -> None:
    expression = CronExpression.parse("* * * * * *")
    start, end = utc("2000-01-01 00:00:00"), utc("2100-01-01 00:00:00")
    assert expression.count(start, end, NEW_YORK) == (end - start).total_seconds()


GAP_DAY = ("America/New_York", "2026-03-08")
OVERLAP_DAY = ("America/New_York", "2026-11-01")


@pytest.mark.parametrize(
    ("text", "dst", "shown"),
    [
        ("0 30 2 * * *", DEBIAN, ["03:00-0400"]),
        ("0 30 2 * * *", SKIP, []),
        ("0 0,20,40 2 * * *", DEBIAN, ["03:00-0400"]),
        ("0 0 2,3 * * *", DEBIAN, ["03:00-0400"]),
        ("0 30 1,2,3 * * *", DEBIAN, ["01:30-0500", "03:00-0400", "03:30-0400"]),
        ("0 30 1,2,3 * * *", SKIP, ["01:30-0500", "03:30-0400"]),
        ("* 30 2 * * *", DEBIAN, ["03:00-0400"]),
        ("0 */30 2 * * *", DEBIAN, []),
        ("0 30 */2 8 3 *", DEBIAN, [f"{h:02}:30-0{5 if h < 2 else 4}00" for h in range(0, 24, 2) if h != 2]),
        ("0 30 1-3 * * SUN#2", DEBIAN, ["01:30-0500", "03:00-0400", "03:30-0400"]),
    ],
)
def test_where_the_clock_jumps_forward(text: str, dst: DstPolicy, shown: list[str]) -> None:
    assert day_in(*GAP_DAY, text, dst) == shown


@pytest.mark.parametrize(
    ("text", "dst", "shown"),
    [
        ("0 30 1 * * *", DEBIAN, ["01:30-0400"]),
        ("0 30 1 * * *", SECOND_PASS, ["01:30-0500"]),
        ("0 30 1 * * *", BOTH_PASSES, ["01:30-0400", "01:30-0500"]),
        ("0 0 1,2 * * *", DEBIAN, ["01:00-0400", "02:00-0500"]),
        ("0 30 0-2 * * *", SECOND_PASS, ["00:30-0400", "01:30-0500", "02:30-0500"]),
        ("0 */30 1 * * *", DEBIAN, ["01:00-0400", "01:30-0400", "01:00-0500", "01:30-0500"]),
    ],
)
def test_where_the_clock_goes_back(text: str, dst: DstPolicy, shown: list[str]) -> None:
    assert day_in(*OVERLAP_DAY, text, dst) == shown


def test_an_hourly_schedule_fires_25_times_on_the_day_of_25_hours_under_any_policy() -> None:
    assert {len(day_in(*OVERLAP_DAY, "0 30 * * * *", dst)) for dst in (DEBIAN, SECOND_PASS, SKIP)} == {25}


@pytest.mark.parametrize(
    ("zone", "day", "text", "shown"),
    [
        pytest.param("Africa/Cairo", "2026-04-24", "0 0 0 * * *", ["01:00+0300"], id="a gap at midnight"),
        pytest.param("Australia/Lord_Howe", "2026-10-04", "0 15 2 * * *", ["02:30+1100"], id="half an hour"),
        pytest.param(
            "Australia/Lord_Howe", "2026-04-05", "0 45 1 * * *", ["01:45+1100"], id="half an hour back"
        ),
        pytest.param("Pacific/Chatham", "2026-09-27", "0 0 3 * * *", ["03:45+1345"], id="at a quarter to"),
        pytest.param("Asia/Pyongyang", "2018-05-04", "0 45 23 * * *", [], id="until the day is over"),
        pytest.param("Asia/Pyongyang", "2018-05-05", "0 0 0 * * *", ["00:00+0900"], id="and the next one's"),
        pytest.param("Antarctica/Troll", "2026-03-29", "0 30 2 * * *", ["03:00+0200"], id="two hours"),
        pytest.param(
            "Europe/Dublin", "2026-03-29", "0 30 1 * * *", ["02:00+0100"], id="negative summer time"
        ),
        pytest.param("Africa/Casablanca", "2026-02-15", "0 30 2 * * *", ["02:30+0100"], id="Ramadan begins"),
    ],
)
def test_any_transition_counts(zone: str, day: str, text: str, shown: list[str]) -> None:
    assert day_in(zone, day, text) == shown


def test_a_day_that_a_zone_skipped_fires_once_when_it_is_over() -> None:
    zone = ZoneInfo("Pacific/Apia")
    expression = CronExpression.parse("0 0 3,15 * * *")
    span = utc("2011-12-29 12:00:00"), utc("2011-12-31 12:00:00")
    assert [str(instant.astimezone(zone)) for instant in expression.between(*span, zone)] == [
        "2011-12-29 03:00:00-10:00",
        "2011-12-29 15:00:00-10:00",
        "2011-12-31 00:00:00+14:00",
        "2011-12-31 03:00:00+14:00",
        "2011-12-31 15:00:00+14:00",
    ]
    assert expression.count(*span, zone) == 5
    assert expression.count(*span, zone, dst=SKIP) == 4
    transition = utc("2011-12-30 10:00:00")
    assert list(expression.gaps(*span, zone)) == [
        ("2011-12-30 03:00:00", transition),
        ("2011-12-30 15:00:00", transition),
    ]


def test_gaps_and_overlaps_tell_what_a_change_did_to_fixed_times_only() -> None:
    spring, autumn = utc("2026-03-08 07:00:00"), utc("2026-11-01 06:00:00")
    year = utc("2026-01-01 00:00:00"), utc("2027-01-01 00:00:00")
    expression = CronExpression.parse("0 30 1,2 * * *")
    assert list(expression.gaps(*year, NEW_YORK)) == [("2026-03-08 02:30:00", spring)]
    assert list(expression.overlaps(*year, NEW_YORK)) == [("2026-11-01 01:30:00", autumn)]
    assert list(CronExpression.parse("0 */30 * * * *").gaps(*year, NEW_YORK)) == []
    assert list(expression.gaps(year[0], spring, NEW_YORK)) != []
    assert list(expression.gaps(spring, year[1], NEW_YORK)) == []


def test_one_expression_serves_many_zones_and_policies_in_turn() -> None:
    expression = CronExpression.parse("0 30 2 * * *")
    moment = utc("2026-03-08 06:00:00")
    for _ in range(2):
        assert expression.next_after(moment, NEW_YORK) == utc("2026-03-08 07:00:00")
        assert expression.next_after(moment, NEW_YORK, dst=SKIP) == utc("2026-03-09 06:30:00")
        assert expression.next_after(moment, UTC) == utc("2026-03-09 02:30:00")
        assert expression.next_after(moment, ZoneInfo("UTC")) == utc("2026-03-09 02:30:00")


def test_a_chain_over_a_year_has_one_instant_a_day_and_never_turns_back() -> None:
    expression = CronExpression.parse("0 30 1 * * *")
    days = list(
        islice(expression.between(utc("2026-01-01 00:00:00"), utc("2028-01-01 00:00:00"), NEW_YORK), 365)
    )
    assert days == sorted(set(days))
    assert len({instant.astimezone(NEW_YORK).date() for instant in days}) == 365


@pytest.mark.parametrize(
    ("zone", "year"), [("Asia/Hong_Kong", 1973), ("Asia/Amman", 2013), ("America/New_York", 2026)]
)
def test_two_years_are_counted_as_they_are_walked(zone: str, year: int) -> None:
    """Hong Kong's and Amman's clocks changed just before a year of samples ends."""
    tz, start, end = ZoneInfo(zone), utc(f"{year}-01-01 00:00:00"), utc(f"{year + 2}-01-01 00:00:00")
    for text in ("0 */30 */2 * * *", "0 10,40 0-3 * * *"):
        expression = CronExpression.parse(text)
        for dst in (DEBIAN, SKIP, SECOND_PASS, BOTH_PASSES):
            walked = list(expression.between(start, end, tz, dst=dst))
            assert expression.count(start, end, tz, dst=dst) == len(walked)
            back = [end + SECOND]
            while (moment := expression.previous_before(back[-1], tz, dst=dst)) and moment > start:
                back.append(moment)
            assert back[:0:-1] == walked
        gaps = list(expression.gaps(start, end, tz))
        assert len(gaps) == len(set(gaps))
