"""The calendar walk: which local times a schedule names. No zone, no clock; a local time is counted in
whole seconds since 1970-01-01 00:00:00 on that wall clock, a day in days since 1970-01-01, a month in months
since 1970-01. Sets are integers whose bits are the members: see `bits`.
"""

from __future__ import annotations

from datetime import date
from functools import cache

from scheduler_daemon.cron.bits import days_of_month, days_of_week, lowest

DAY_S = 86_400
# Later than every local time there is; its negative is earlier than every one.
FAR = 1 << 62
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAYS = date(2200, 1, 1).toordinal() - _EPOCH_DAY


class TimesOfDay:
    """The seconds of a day (0-86399) that three sets name: a bit each for seconds, minutes and hours."""

    __slots__ = ("_hours", "_minutes", "_seconds", "count", "first", "last")

    def __init__(self, seconds: int, minutes: int, hours: int) -> None:
        self._seconds, self._minutes, self._hours = seconds, minutes, hours
        self.first = lowest(hours) * 3600 + lowest(minutes) * 60 + lowest(seconds)
        self.last = (
            (hours.bit_length() - 1) * 3600 + (minutes.bit_length() - 1) * 60 + seconds.bit_length() - 1
        )
        self.count = hours.bit_count() * minutes.bit_count() * seconds.bit_count()

    def holds(self, time: int) -> bool:
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        return bool(self._hours >> hour & self._minutes >> minute & self._seconds >> second & 1)

    def at_or_after(self, time: int) -> int:
        """The first at or after `time`, or -1."""
        hour, rest = divmod(time, 3600)
        if self._hours >> hour & 1:
            minute, second = divmod(rest, 60)
            if self._minutes >> minute & 1 and (later := self._seconds >> second):
                return time + lowest(later)
            if later := self._minutes >> minute + 1:
                return hour * 3600 + (minute + 1 + lowest(later)) * 60 + lowest(self._seconds)
        if later := self._hours >> hour + 1:
            return (hour + 1 + lowest(later)) * 3600 + self.first % 3600
        return -1

    def at_or_before(self, time: int) -> int:
        """The last at or before `time`, or -1."""
        hour, rest = divmod(time, 3600)
        if self._hours >> hour & 1:
            minute, second = divmod(rest, 60)
            if self._minutes >> minute & 1 and (earlier := self._seconds & (2 << second) - 1):
                return time - second + earlier.bit_length() - 1
            if earlier := self._minutes & (1 << minute) - 1:
                return hour * 3600 + (earlier.bit_length() - 1) * 60 + self._seconds.bit_length() - 1
        if earlier := self._hours & (1 << hour) - 1:
            return (earlier.bit_length() - 1) * 3600 + self.last % 3600
        return -1

    def before(self, time: int) -> int:
        """How many are before `time` (0-86400)."""
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        per_minute = self._seconds.bit_count()
        count = (self._hours & (1 << hour) - 1).bit_count() * self._minutes.bit_count() * per_minute
        if self._hours >> hour & 1:
            count += (self._minutes & (1 << minute) - 1).bit_count() * per_minute
            if self._minutes >> minute & 1:
                count += (self._seconds & (1 << second) - 1).bit_count()
        return count


@cache
def month_shape(month: int) -> tuple[int, int, int]:
    """(its first day, that day's weekday with Sunday = 0, its length) of a month counted from 1970-01."""
    first = _first_of(month)
    return first - _EPOCH_DAY, first % 7, _first_of(month + 1) - first


def _first_of(month: int) -> int:
    return date(1970 + month // 12, month % 12 + 1, 1).toordinal()


class Days:
    """The days that the three date sets and the years name; both day sets must agree if `both`, else one."""

    __slots__ = ("_both", "_cache", "_days", "_months", "_weekdays", "_years")

    def __init__(self, days: int, months: int, weekdays: int, years: int, *, both: bool) -> None:
        self._days, self._months, self._weekdays, self._years = days, months, weekdays, years
        self._both = both
        self._cache: dict[tuple[int, int], int] = {}

    def at_or_after(self, day: int) -> int:
        """The first at or after `day`, or -1."""
        month, offset = _month_of(day)
        bits = self.of_month(month) >> offset << offset
        while not bits:
            month = self._next_month(month + 1)
            if month < 0:
                return -1
            bits = self.of_month(month)
        return month_shape(month)[0] + lowest(bits) - 1

    def at_or_before(self, day: int) -> int:
        """The last at or before `day`, or -1."""
        month, offset = _month_of(day)
        bits = self.of_month(month) & (2 << offset) - 1
        while not bits:
            month = self._previous_month(month - 1)
            if month < 0:
                return -1
            bits = self.of_month(month)
        return month_shape(month)[0] + bits.bit_length() - 2

    def between(self, start: int, end: int) -> int:
        """How many are in [`start`, `end`)."""
        first, offset = _month_of(start)
        last, limit = _month_of(end)
        count = sum(self.of_month(month).bit_count() for month in range(first, last))
        count -= (self.of_month(first) & (1 << offset) - 1).bit_count()
        return count + (self.of_month(last) & (1 << limit) - 1).bit_count()

    def of_month(self, month: int) -> int:
        """The days of a month, as bits 1-31."""
        year, index = divmod(month, 12)
        if not (self._years >> year & self._months >> index + 1 & 1):
            return 0
        _, weekday, length = month_shape(month)
        bits = self._cache.get((weekday, length))
        if bits is None:
            bits = self._cache[weekday, length] = self._combine(weekday, length)
        return bits

    def _combine(self, weekday: int, length: int) -> int:
        days = days_of_month(self._days, weekday, length)
        weekdays = days_of_week(self._weekdays, weekday, length)
        return days & weekdays if self._both else days | weekdays

    def _next_month(self, month: int) -> int:
        year, index = divmod(month, 12)
        if self._years >> year & 1 and (later := self._months >> index + 1):
            return month + lowest(later)
        if later := self._years >> year + 1:
            return (year + 1 + lowest(later)) * 12 + lowest(self._months) - 1
        return -1

    def _previous_month(self, month: int) -> int:
        year, index = divmod(month, 12)
        if month >= 0 and self._years >> year & 1 and (earlier := self._months & (4 << index) - 1):
            return year * 12 + earlier.bit_length() - 2
        if month >= 0 and (earlier := self._years & (1 << year) - 1):
            return (earlier.bit_length() - 1) * 12 + self._months.bit_length() - 2
        return -1


def _month_of(day: int) -> tuple[int, int]:
    """(month counted from 1970-01, day of the month) of a day."""
    there = date.fromordinal(day + _EPOCH_DAY)
    return (there.year - 1970) * 12 + there.month - 1, there.day


class LocalTimes:
    """The local times that a schedule names, from 1970 to 2199."""

    __slots__ = ("_days", "_times")

    def __init__(self, times: TimesOfDay, days: Days) -> None:
        self._times, self._days = times, days

    def holds(self, local: int) -> bool:
        return self.at_or_after(local) == local

    def at_or_after(self, local: int) -> int:
        """The first at or after `local`, or FAR."""
        day, time = divmod(max(local, 0), DAY_S)
        if day >= _DAYS:
            return FAR
        there = self._days.at_or_after(day)
        if there == day:
            found = self._times.at_or_after(time)
            if found >= 0:
                return day * DAY_S + found
            there = self._days.at_or_after(day + 1)
        return there * DAY_S + self._times.first if there >= 0 else FAR

    def at_or_before(self, local: int) -> int:
        """The last at or before `local`, or -FAR."""
        day, time = divmod(min(local, _DAYS * DAY_S - 1), DAY_S)
        if day < 0:
            return -FAR
        there = self._days.at_or_before(day)
        if there == day:
            found = self._times.at_or_before(time)
            if found >= 0:
                return day * DAY_S + found
            there = self._days.at_or_before(day - 1) if day else -1
        return there * DAY_S + self._times.last if there >= 0 else -FAR

    def between(self, start: int, end: int) -> int:
        """How many are in [`start`, `end`): counted by month, and by time of day at the ends."""
        start, end = max(start, 0), min(end, _DAYS * DAY_S)
        if start >= end:
            return 0
        return self._before(end) - self._before(start) + self._full(start, end)

    def _full(self, start: int, end: int) -> int:
        return self._days.between(start // DAY_S, end // DAY_S) * self._times.count

    def _before(self, local: int) -> int:
        """How many are earlier on the same day."""
        day, time = divmod(local, DAY_S)
        return self._times.before(time) if time and self._days.at_or_after(day) == day else 0
