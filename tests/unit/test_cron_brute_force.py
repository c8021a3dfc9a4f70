"""Every question beside a slow, simple answer: each second around a change of the clock, each day elsewhere.

The reference shares nothing with the engine: the strategies draw each field as its text together with what
it means, and days, seconds and policies are judged one by one.

VERIFY_CRON=full: many more examples.
"""

import os
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from itertools import groupby
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.cron.timeline import EPOCH, Timeline
from scheduler_daemon.model import DstGap, DstOverlap, DstPolicy

FULL = os.environ.get("VERIFY_CRON") == "full"
ODD_ZONES = (
    *("America/New_York", "Europe/Dublin", "Africa/Cairo", "Africa/Casablanca", "Asia/Tehran"),
    *("Australia/Lord_Howe", "Pacific/Chatham", "America/St_Johns", "Antarctica/Troll", "Asia/Pyongyang"),
    *("Pacific/Apia", "Pacific/Kwajalein", "America/Sao_Paulo", "Africa/Monrovia", "Asia/Gaza"),
)
ZONES = sorted(available_timezones() - {"localtime"}) if FULL else ODD_ZONES
SLOW = settings(
    max_examples=2000 if FULL else 60,
    deadline=None,
    derandomize=not FULL,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
Predicate = Callable[[date], bool]


@dataclass(frozen=True)
class Meaning:
    """What a drawn expression means, besides its text."""

    text: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    fixed: bool
    day: Predicate

    def holds(self, local: datetime) -> bool:
        return (
            local.second in self.seconds
            and local.minute in self.minutes
            and local.hour in self.hours
            and self.day(local.date())
        )


@st.composite
def plain(
    draw: st.DrawFn, low: int, high: int, *, star: bool = True, upto: int = 99
) -> tuple[str, frozenset[int]]:
    """A field of numbers, those written out being at most `upto`: (text, values)."""
    number = st.integers(low, min(high, upto))
    kind = draw(st.sampled_from(["*", "*/n", "a-b", "a-b/n", "list", "list", "one", "one"]))
    if not star and kind.startswith("*"):
        kind = "one"
    first, last = sorted((draw(number), draw(number)))
    step = draw(st.integers(1, high - low + 3))
    every = range(low, high + 1)
    return {
        "*": ("*", frozenset(every)),
        "*/n": (f"*/{step}", frozenset(every[::step])),
        "a-b": (f"{first}-{last}", frozenset(range(first, last + 1))),
        "a-b/n": (f"{first}-{last}/{step}", frozenset(range(first, last + 1, step))),
        "list": (f"{last},{first}-{last},{first}", frozenset(range(first, last + 1))),
        "one": (f"{first}", frozenset([first])),
    }[kind]


def length(day: date) -> int:
    return ((day.replace(day=28) + 4 * DAY).replace(day=1) - DAY).day


def nearest_workday(day: date, wanted: int) -> bool:
    if wanted > length(day):
        return False
    month = [day.replace(day=n) for n in range(1, length(day) + 1)]
    return day == min((d for d in month if d.isoweekday() < 6), key=lambda d: abs(d.day - wanted))


@st.composite
def days_of_month(draw: st.DrawFn) -> tuple[str, Predicate]:
    kind = draw(st.sampled_from(["plain", "plain", "?", "L", "L,n", "W"]))
    n = draw(st.integers(1, 31))
    text, numbers = draw(plain(1, 31))
    return {
        "plain": (text, lambda day: day.day in numbers),
        "?": ("?", lambda day: True),
        "L": ("L", lambda day: day.day == length(day)),
        "L,n": (f"L,{n}", lambda day: day.day in (n, length(day))),
        "W": (f"{n}W", lambda day: nearest_workday(day, n)),
    }[kind]


@st.composite
def days_of_week(draw: st.DrawFn) -> tuple[str, Predicate]:
    kind = draw(st.sampled_from(["plain", "plain", "?", "#n", "#L", "L", "mixed", "names"]))
    n, day = draw(st.integers(1, 5)), draw(st.integers(0, 7))
    text, numbers = draw(plain(0, 7))
    weekdays = frozenset(number % 7 for number in numbers)

    def is_nth(date: date) -> bool:
        return date.isoweekday() % 7 == day % 7 and (date.day + 6) // 7 == n

    def is_last(date: date) -> bool:
        return date.isoweekday() % 7 == day % 7 and (date + 7 * DAY).month != date.month

    return {
        "plain": (text, lambda date: date.isoweekday() % 7 in weekdays),
        "?": ("?", lambda date: True),
        "#n": (f"{day}#{n}", is_nth),
        "#L": (f"{day}#L", is_last),
        "L": (f"{day}L", is_last),
        "mixed": (f"{day}#{n},{day}L", lambda date: is_nth(date) or is_last(date)),
        "names": ("mon-Fri", lambda date: date.isoweekday() < 6),
    }[kind]


@st.composite
def day_predicates(draw: st.DrawFn) -> tuple[str, str, str, Predicate]:
    """(day of month, month, day of week, what they mean together)."""
    day_text, day = draw(days_of_month())
    weekday_text, weekday = draw(days_of_week())
    month_text, months = draw(plain(1, 12))
    both = draw(st.booleans())
    either = not both and day_text not in ("*", "?") and weekday_text not in ("*", "?")

    def holds(date: date) -> bool:
        if date.month not in months:
            return False
        return day(date) or weekday(date) if either else day(date) and weekday(date)

    return day_text, month_text, ("+" if both else "") + weekday_text, holds


@st.composite
def expressions(draw: st.DrawFn, *, star: bool = True, hours: int = 23) -> Meaning:
    second, seconds = draw(st.one_of(st.just(("0", frozenset([0]))), plain(0, 59)))
    minute, minutes = draw(plain(0, 59, star=star))
    hour, hour_set = draw(plain(0, 23, star=star, upto=hours))
    if draw(st.booleans()):
        day, month, weekday, holds = draw(day_predicates())
    else:
        day, month, weekday, holds = "*", "*", "*", lambda _: True
    return Meaning(
        text=f"{second} {minute} {hour} {day} {month} {weekday}",
        seconds=seconds,
        minutes=minutes,
        hours=hour_set,
        fixed=minute[0] != "*" and hour[0] != "*",
        day=holds,
    )


POLICIES = st.builds(DstPolicy, gap=st.sampled_from(DstGap), overlap=st.sampled_from(DstOverlap))


@cache
def changes(name: str) -> list[int]:
    start, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1970, 2041))
    stretches = Timeline(ZoneInfo(name)).between(start, end)
    return [at for at, stretch in stretches if at == stretch.start and stretch.before != stretch.offset]


@st.composite
def changes_of_the_clock(draw: st.DrawFn) -> tuple[ZoneInfo, int]:
    name = draw(st.sampled_from(ZONES).filter(changes))
    return ZoneInfo(name), draw(st.sampled_from(changes(name)))


@dataclass(frozen=True)
class Window:
    """Every second of some hours around a change: Unix times and what the clock shows."""

    seconds: range
    shown: list[datetime]
    gap: list[datetime]


@lru_cache(maxsize=20)
def window_around(zone: ZoneInfo, change: int) -> Window:
    """Wide enough to hold both passes of an overlap; narrow in Apia's and Kwajalein's lost day."""
    seconds = range(change - 5 * 3600, change + 5 * 3600)
    shown = [datetime.fromtimestamp(second, zone).replace(tzinfo=None) for second in seconds]
    before, after = shown[change - seconds.start - 1] + SECOND, shown[change - seconds.start]
    gap = [before + SECOND * n for n in range(max(0, int((after - before) / SECOND)))]
    return Window(seconds, shown, gap)


def reference(meaning: Meaning, window: Window, change: int, policy: DstPolicy) -> list[int]:
    pairs = zip(window.seconds, window.shown, strict=True)
    named = [(second, local) for second, local in pairs if meaning.holds(local)]
    if not meaning.fixed:
        return [second for second, _ in named]
    instants: set[int] = set()
    for _, passes in groupby(sorted(named, key=lambda pair: (pair[1], pair[0])), lambda pair: pair[1]):
        seconds = [second for second, _ in passes]
        wanted = {DstOverlap.FIRST: seconds[:1], DstOverlap.SECOND: seconds[-1:], DstOverlap.BOTH: seconds}
        instants.update(wanted[policy.overlap])
    if policy.gap is DstGap.AFTER and any(meaning.holds(local) for local in window.gap):
        instants.add(change)
    return sorted(instants)


def unix(moment: datetime | None) -> int | None:
    return None if moment is None else int((moment - EPOCH).total_seconds())


def moment(second: int) -> datetime:
    return EPOCH + timedelta(seconds=second)


@SLOW
@given(
    meaning=st.one_of(expressions(star=False, hours=5), expressions(hours=5), expressions()),
    clock=changes_of_the_clock(),
    policy=POLICIES,
    offsets=st.lists(st.integers(0, 36_000 - 1), min_size=5, max_size=5),
)
def test_each_second_around_a_change_of_the_clock(
    meaning: Meaning, clock: tuple[ZoneInfo, int], policy: DstPolicy, offsets: list[int]
) -> None:
    zone, change = clock
    window = window_around(zone, change)
    expected = reference(meaning, window, change, policy)
    expression = CronExpression.parse(meaning.text)
    start, end = moment(window.seconds.start - 1), moment(window.seconds.stop - 1)

    assert expression.fixed_time is meaning.fixed
    assert [unix(instant) for instant in expression.between(start, end, zone, dst=policy)] == expected
    assert expression.count(start, end, zone, dst=policy) == len(expected)
    backwards = [end + SECOND]
    while (previous := expression.previous_before(backwards[-1], zone, dst=policy)) and previous > start:
        backwards.append(previous)
    assert [unix(instant) for instant in backwards[:0:-1]] == expected

    for second in {window.seconds.start + offset for offset in offsets} | set(expected[:3]) | {change}:
        place = bisect_right(expected, second)
        if place < len(expected):
            assert unix(expression.next_after(moment(second), zone, dst=policy)) == expected[place]
        assert expression.matches(moment(second), zone, dst=policy) is (second in expected)
        assert expression.count(start, moment(second), zone, dst=policy) == place

    swallowed = [local for local in window.gap if meaning.fixed and meaning.holds(local)]
    found = [gap.local for gap in expression.gaps(start, end, zone)]
    assert found == [local.isoformat(" ") for local in swallowed]


@SLOW
@given(
    meaning=expressions(), year=st.integers(1970, 2199), start=st.integers(0, 365), span=st.integers(1, 500)
)
def test_each_day_elsewhere(meaning: Meaning, year: int, start: int, span: int) -> None:
    first = min(date(year, 1, 1) + start * DAY, date(2199, 12, 31))
    days = [first + n * DAY for n in range(min(span, (date(2200, 1, 1) - first).days))]
    per_day = len(meaning.seconds) * len(meaning.minutes) * len(meaning.hours)
    expected = [day for day in days if meaning.day(day)]
    expression = CronExpression.parse(meaning.text)
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC) - SECOND
    end = begin + len(days) * DAY

    assert expression.count(begin, end, UTC) == len(expected) * per_day
    found: list[date] = []
    at = expression.next_after(begin, UTC)
    while at and at <= end:
        found.append(at.date())
        at = expression.next_after(datetime(at.year, at.month, at.day, 23, 59, 59, tzinfo=UTC), UTC)
    assert found == expected
    back: list[date] = []
    at = expression.previous_before(end + SECOND, UTC)
    while at and at > begin:
        back.append(at.date())
        at = expression.previous_before(datetime(at.year, at.month, at.day, tzinfo=UTC), UTC)
    assert back[::-1] == expected


@SLOW
@given(
    meaning=expressions(),
    name=st.sampled_from(ZONES),
    policy=POLICIES,
    micros=st.lists(st.integers(0, 229 * 365 * 86_400 * 10**6), min_size=3, max_size=3).map(sorted),
)
def test_the_answers_agree_with_each_other(
    meaning: Meaning, name: str, policy: DstPolicy, micros: list[int]
) -> None:
    zone = ZoneInfo(name)
    expression = CronExpression.parse(meaning.text)
    early, middle, late = (EPOCH + timedelta(microseconds=n) for n in micros)
    following = expression.next_after(middle, zone, dst=policy)
    if following is None:
        assert expression.count(middle, datetime(2201, 1, 1, tzinfo=UTC), zone, dst=policy) == 0
    else:
        assert following > middle
        assert following.tzinfo is UTC
        assert following.microsecond == 0
        assert expression.matches(following, zone, dst=policy)
        assert expression.count(middle, following, zone, dst=policy) == 1
        assert expression.next_after(following - SECOND, zone, dst=policy) == following
        assert expression.next_after(middle.astimezone(zone), zone, dst=policy) == following
        before = expression.previous_before(following, zone, dst=policy)
        assert before is None or before <= middle
    total = expression.count(early, late, zone, dst=policy)
    parts = (expression.count(*part, zone, dst=policy) for part in ((early, middle), (middle, late)))
    assert total == sum(parts)
    later = early + 800 * DAY
    if (number := expression.count(early, later, zone, dst=policy)) < 2000:
        walked = list(expression.between(early, later, zone, dst=policy))
        assert walked == sorted(set(walked))
        assert number == len(walked)


@SLOW
@given(meaning=expressions())
def test_the_canonical_text_means_the_same(meaning: Meaning) -> None:
    expression = CronExpression.parse(meaning.text)
    again = CronExpression.parse(str(expression))
    assert again == expression
    assert hash(again) == hash(expression)
    assert str(again) == str(expression)
    assert again.fixed_time is expression.fixed_time
    assert again.describe() == expression.describe()
    start = datetime(2026, 11, 22, tzinfo=UTC)
    end = datetime(2031, 1, 1, tzinfo=UTC)
    assert again.count(start, end, UTC) == expression.count(start, end, UTC)
    assert again.next_after(start, UTC) == expression.next_after(start, UTC)
