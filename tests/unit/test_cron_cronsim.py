"""Ours beside CronSim's five-field form, which applies Debian's rule; ours has a second, 0, before it.

Both agree, forwards and backwards, about every fixed-time schedule at every change of every zone's clock, and
about every elapsing one where the clock changes from full hour to full hour. Elsewhere (Lord Howe's half
hour, Chatham at 02:45, St. John's at 00:01) CronSim steps elapsing schedules by hours of real time from the
wrong minute: it leaves instants out, and at Chatham returns the same one for ever. `test_cron_brute_force`
covers those. In the day fields CronSim takes `*/n` for unrestricted, as Debian does; OCPS 1.1 §6.1 does not.

VERIFY_CRON=full: every zone and every change from 2000 to 2040, instead of a seeded sample.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from random import Random
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cronsim import CronSim

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.cron.timeline import EPOCH, Stretch, Timeline

FULL = os.environ.get("VERIFY_CRON") == "full"
ALL_ZONES = sorted(available_timezones() - {"localtime"})
ZONES = ALL_ZONES if FULL else Random(1).sample(ALL_ZONES, 40)
PER_KIND = 4 if FULL else 2
HOUR_S = 3600
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def changes(zone: ZoneInfo) -> list[Stretch]:
    start, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2000, 2041))
    stretches = Timeline(zone).between(start, end)
    return [stretch for at, stretch in stretches if at == stretch.start and stretch.before != stretch.offset]


def on_full_hours(stretch: Stretch) -> bool:
    return (stretch.start + stretch.before) % HOUR_S == 0 == (stretch.start + stretch.offset) % HOUR_S


def numbers(random: Random, low: int, high: int) -> str:
    return ",".join(str(random.randint(low, high)) for _ in range(random.choice((1, 1, 2, 3))))


def near(random: Random, stretch: Stretch) -> str:
    """An hour field about the hour in which the clock changes."""
    hour = (stretch.start + stretch.before) // HOUR_S
    return ",".join(str((hour + random.randint(-1, 2)) % 24) for _ in range(random.choice((1, 1, 2))))


def fixed(random: Random, stretch: Stretch) -> str:
    minute = random.choice((numbers(random, 0, 59), numbers(random, 0, 59), "0", "10-50/20", "30-40"))
    return f"{minute} {near(random, stretch)} * * *"


def elapsing(random: Random, stretch: Stretch) -> str:
    minute = random.choice(("*/7", "*/15", "*/30", numbers(random, 0, 59)))
    hour = random.choice(("*", "*/2", "*/3")) if minute[0] != "*" else near(random, stretch)
    return f"{minute} {hour} * * *"


def ours(text: str, start: datetime, end: datetime, zone: ZoneInfo) -> tuple[list[datetime], list[datetime]]:
    """The instants in (start, end], forwards and backwards."""
    expression = CronExpression.parse(f"0 {text}")
    forwards = list(expression.between(start, end, zone))
    backwards: list[datetime] = []
    moment = expression.previous_before(end + SECOND, zone)
    while moment and moment > start:
        backwards.append(moment)
        moment = expression.previous_before(moment, zone)
    return forwards, backwards


def theirs(
    text: str, start: datetime, end: datetime, zone: ZoneInfo
) -> tuple[list[datetime], list[datetime]]:
    forwards = (instant.astimezone(UTC) for instant in CronSim(text, start.astimezone(zone)))
    backwards = (
        instant.astimezone(UTC) for instant in CronSim(text, (end + SECOND).astimezone(zone), reverse=True)
    )
    return (
        list(takewhile(lambda instant: instant <= end, forwards)),
        list(takewhile(lambda instant: instant > start, backwards)),
    )


@pytest.mark.parametrize("name", ZONES)
def test_both_agree_around_every_change_of_the_clock(name: str) -> None:
    zone, random = ZoneInfo(name), Random(name)
    stretches = changes(zone)
    for stretch in stretches if FULL else random.sample(stretches, min(4, len(stretches))):
        transition = EPOCH + timedelta(seconds=stretch.start)
        texts = [fixed(random, stretch) for _ in range(PER_KIND)]
        if on_full_hours(stretch):
            texts += [elapsing(random, stretch) for _ in range(PER_KIND)]
        for text in texts:
            span = transition - 1.5 * DAY, transition + DAY
            assert ours(text, *span, zone) == theirs(text, *span, zone), (text, name, transition)


def calendars(random: Random) -> Iterator[str]:
    """Expressions that restrict days; a lone `*`, or no star at all, so that both read them alike."""
    while True:
        day = random.choice(("*", numbers(random, 1, 31), f"{random.randint(1, 9)}-28/3", "L"))
        month = random.choice(("*", "*/2", "feb", numbers(random, 1, 12)))
        nth = f"{random.randint(0, 7)}#{random.randint(1, 5)},{random.randint(0, 7)}L"
        weekday = random.choice(("*", numbers(random, 0, 7), "mon-fri", "5-7", nth))
        yield f"{random.randint(0, 59)} {random.randint(0, 23)} {day} {month} {weekday}"


def test_both_agree_about_the_calendar() -> None:
    random = Random(2)
    for text in islice(calendars(random), 1500 if FULL else 150):
        start = datetime(random.randint(1971, 2150), random.randint(1, 12), 1, 12, tzinfo=UTC)
        expression = CronExpression.parse(f"0 {text}")
        if expression.next_after(start, UTC) is None:
            continue
        instants = list(islice(expression.between(start, datetime(2199, 1, 1, tzinfo=UTC), UTC), 12))
        assert instants == list(islice(CronSim(text, start), len(instants))), text


@pytest.mark.parametrize(
    ("text", "ours_first", "theirs_first"),
    [
        pytest.param("0 0 */2 * MON", 1, 5, id="a step is a restriction to us, so either field is enough"),
        pytest.param("0 0 1-31 * MON", 1, 1, id="a full range is one to both"),
    ],
)
def test_a_step_in_a_day_field_is_where_we_differ(text: str, ours_first: int, theirs_first: int) -> None:
    start = datetime(2026, 9, 30, 12, tzinfo=UTC)
    first = CronExpression.parse(f"0 {text}").next_after(start, UTC)
    assert first is not None
    assert (first.month, first.day) == (10, ours_first)
    assert next(CronSim(text, start)) == datetime(2026, 10, theirs_first, tzinfo=UTC)


def test_several_instants_in_one_gap_fire_once_with_both() -> None:
    zone = ZoneInfo("America/New_York")
    span = datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 3, 8, 12, tzinfo=UTC)
    once = [datetime(2026, 3, 8, 7, tzinfo=UTC)]
    assert ours("0,20,40 2 * * *", *span, zone) == theirs("0,20,40 2 * * *", *span, zone) == (once, once)


def test_an_elapsing_schedule_keeps_firing_where_cronsim_loses_its_step() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    span = datetime(2026, 4, 4, 14, tzinfo=UTC), datetime(2026, 4, 4, 17, tzinfo=UTC)
    forwards, _ = ours("38 * * * *", *span, zone)
    assert [instant.astimezone(zone).strftime("%H:%M%z") for instant in forwards] == [
        "01:38+1100",
        "01:38+1030",
        "02:38+1030",
    ]
    assert forwards != theirs("38 * * * *", *span, zone)[0]
