"""What one session did on one day, and what it adds to the numbers: pure values, no database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

SITE = 0
"""The page that stands for the whole site."""
MEMORY = 30
"""Days for which a visitor is remembered: who was away longer is a newcomer again."""

Key = tuple[str, date]
"""(session id, day)"""
PageDay = tuple[int, date]
Presence = tuple[int, int]
"""(page, visitor)"""
Days = dict[date, int]
"""Day → in how many visits."""


@dataclass(frozen=True, slots=True)
class View:
    """One view: seconds since the day's midnight on the site's clocks, page, milliseconds (0: not known)."""

    at: int
    page: int
    ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """A session's views of one day, in order. `known`: the application has the session."""

    visitor: int
    bot: bool
    known: bool
    views: tuple[View, ...]

    def pages(self) -> dict[int, list[int]]:
        """Page → milliseconds of each of its views."""
        found: dict[int, list[int]] = defaultdict(list)
        for view in self.views:
            found[view.page].append(view.ms)
        return dict(found)


@dataclass(slots=True)
class Sums:
    """What is added to a row of the roll-up."""

    views: int = 0
    visits: int = 0
    visitors: int = 0
    newcomers: int = 0
    bounces: int = 0
    timed: int = 0
    time_ms: int = 0

    def add(self, times: Iterable[int], bounced: bool, sign: int) -> None:
        """One visit with these milliseconds on the page; `sign` -1 takes it back."""
        known = list(times)
        self.views += sign * len(known)
        self.visits += sign
        self.bounces += sign * bounced
        self.timed += sign * sum(1 for ms in known if ms > 0)
        self.time_ms += sign * sum(known)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


@dataclass(kw_only=True)
class Difference:
    """Between what was counted and what is so. `presence`: (page, visitor) → day → visits more or fewer."""

    days: dict[PageDay, Sums] = field(default_factory=lambda: defaultdict(Sums))
    presence: dict[Presence, Days] = field(default_factory=lambda: defaultdict(dict))
    changed: set[Key] = field(default_factory=set)


def difference(old: Mapping[Key, Visit], new: Mapping[Key, Visit]) -> Difference:
    """What must be added so that `old` becomes `new`."""
    found = Difference()
    for key in old.keys() | new.keys():
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        found.changed.add(key)
        _count(found, key[1], before, -1)
        _count(found, key[1], after, +1)
    return found


def _count(found: Difference, day: date, visit: Visit | None, sign: int) -> None:
    if visit is None or visit.bot:
        return
    pages = visit.pages()
    bounced = len(visit.views) == 1
    for page, times in [*pages.items(), (SITE, [view.ms for view in visit.views])]:
        found.days[page, day].add(times, bounced, sign)
        days = found.presence[page, visit.visitor]
        days[day] = days.get(day, 0) + sign


@dataclass(frozen=True, slots=True)
class Spans:
    """In which of the spans of days that totals are kept for a day lies."""

    week: bool
    month: bool
    trend_now: bool
    trend_before: bool


class Windows(dict[date, Spans]):
    """The spans of each day; all spans end on `today` or the day before it."""

    def __init__(self, today: date) -> None:
        super().__init__()
        self._today = today

    def __missing__(self, day: date) -> Spans:
        ago = (self._today - day).days
        self[day] = spans = Spans(
            week=0 <= ago <= 6, month=0 <= ago <= 29, trend_now=1 <= ago <= 7, trend_before=8 <= ago <= 14
        )
        return spans


def newcomer_days(days: Collection[date]) -> Iterable[date]:
    """Those of a visitor's days on a page that follow none of the 30 days before."""
    if len(days) == 1:
        return days
    ordered = sorted(days)
    pairs = zip(ordered, [None, *ordered], strict=False)
    return [day for day, last in pairs if last is None or (day - last).days > MEMORY]
