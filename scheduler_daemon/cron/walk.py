"""The calendar walk: which local times a schedule names. No zone, no clock.

A local time is counted in whole seconds since 1970-01-01 00:00:00 on that wall clock, a day in days since
1970-01-01, a month in months since 1970-01. Sets are integers whose bits are the members: see `bits`.
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
        self.last = hours.bit_length() * 3600 + minutes.bit_length() * 60 + seconds.bit_length() - 3661
        self.count = hours.bit_count() * minutes.bit_count() * seconds.bit_count()

    def at_or_after(self, time: int) -> int:
        """The first at or after `time`, or -1."""
        minute, second = divmod(time, 60)
        hour, minute = divmod(minute, 60)
        if self._hours >> hour & 1:
            later = self._minutes >> minute
            if later & 1 and (rest := self._seconds >> second):
                return time + (rest & -rest).bit_length() - 1
            if later := later >> 1:
                return hour * 3600 + (minute + lowest(later) + 1) * 60 + self.first % 60
        if later := self._hours >> hour + 1:
            return (hour + lowest(later) + 1) * 3600 + self.first % 3600
        return -1

    def at_or_before(self, time: int) -> int:
        """The last at or before `time`, or -1."""
        minute, second = divmod(time, 60)
        hour, minute = divmod(minute, 60)
        if self._hours >> hour & 1:
            if self._minutes >> minute & 1 and (earlier := self._seconds & (2 << second) - 1):
                return time - second + earlier.bit_length() - 1
            if earlier := self._minutes & (1 << minute) - 1:
                return hour * 3600 + earlier.bit_length() * 60 - 60 + self.last % 60
        if earlier := self._hours & (1 << hour) - 1:
            return earlier.bit_length() * 3600 - 3600 + self.last % 3600
        return -1

    def before(self, time: int) -> int:
        """How many are before `time`."""
        minute, second = divmod(time, 60)
        hour, minute = divmod(minute, 60)
        per_minute = self._seconds.bit_count()
        count = (self._hours & (1 << hour) - 1).bit_count() * self._minutes.bit_count() * per_minute
        if self._hours >> hour & 1:
            count += (self._minutes & (1 << minute) - 1).bit_count() * per_minute
            if self._minutes >> minute & 1:
                count += (self._seconds & (1 << second) - 1).bit_count()
        return count


class Days:
    """The days that the date sets name; both day sets must agree if `both`, else one is enough."""

    __slots__ = ("_both", "_days", "_month", "_months", "_shapes", "_weekdays", "_years")

    def __init__(self, days: int, months: int, weekdays: int, years: int, *, both: bool) -> None:
        self._days, self._months, self._weekdays, self._years = days, months, weekdays, years
        self._both = both
        self._shapes: dict[int, int] = {}
        self._month = (0, 0, 0)

    def at_or_after(self, day: int) -> int:
        """The first at or after `day`, or -1."""
        start, end, bits = self._month
        if not start <= day < end:
            start, _, bits = self._month = self._visit(_number(day))
        if later := bits >> day - start:
            return day + (later & -later).bit_length() - 1
        month = self._next_month(_number(start) + 1)
        while month >= 0:
            start, _, bits = self._month = self._named_in(*_edges(month))
            if bits:
                return start + lowest(bits)
            month = self._next_month(month + 1)
        return -1

    def at_or_before(self, day: int) -> int:
        """The last at or before `day`, or -1."""
        start, end, bits = self._month
        if not start <= day < end:
            start, _, bits = self._month = self._visit(_number(day))
        if earlier := bits & (2 << day - start) - 1:
            return start + earlier.bit_length() - 1
        month = self._previous_month(_number(start) - 1)
        while month >= 0:
            start, _, bits = self._month = self._named_in(*_edges(month))
            if bits:
                return start + bits.bit_length() - 1
            month = self._previous_month(month - 1)
        return -1

    def between(self, start: int, end: int) -> int:
        """How many are in [`start`, `end`), counted by month."""
        count = 0
        for month in range(_number(start), _number(end - 1) + 1):
            first, _, bits = self._visit(month)
            bits &= (1 << max(end - first, 0)) - 1
            count += (bits >> max(start - first, 0)).bit_count()
        return count

    def _visit(self, month: int) -> tuple[int, int, int]:
        """(its first day, the next month's, its days as bits from 0) of a month."""
        start, end = _edges(month)
        year, index = divmod(month, 12)
        if self._years >> year & self._months >> index + 1 & 1:
            return self._named_in(start, end)
        return start, end, 0

    def _named_in(self, start: int, end: int) -> tuple[int, int, int]:
        """The same for a month that is known to be allowed."""
        shape = start % 7 + 7 * (end - start)
        bits = self._shapes.get(shape)
        if bits is None:
            bits = self._shapes[shape] = self._combine((start + 4) % 7, end - start)
        return start, end, bits

    def _combine(self, weekday: int, length: int) -> int:
        days = days_of_month(self._days, weekday, length)
        weekdays = days_of_week(self._weekdays, weekday, length)
        return (days & weekdays if self._both else days | weekdays) >> 1

    def _next_month(self, month: int) -> int:
        """The first month at or after `month` that month and year allow, or -1."""
        year, index = divmod(month, 12)
        if self._years >> year & 1 and (later := self._months >> index + 1):
            return month + lowest(later)
        if later := self._years >> year + 1:
            return (year + 1 + lowest(later)) * 12 + lowest(self._months) - 1
        return -1

    def _previous_month(self, month: int) -> int:
        """The last month at or before `month` that month and year allow, or -1."""
        year, index = divmod(month, 12)
        if year >= 0 and self._years >> year & 1 and (earlier := self._months & (4 << index) - 1):
            return year * 12 + earlier.bit_length() - 2
        if year >= 0 and (earlier := self._years & (1 << year) - 1):
            return (earlier.bit_length() - 1) * 12 + self._months.bit_length() - 2
        return -1


class LocalTimes:
    """The local times that a schedule names, from 1970 to 2199."""

    __slots__ = ("_days", "times")

    def __init__(self, times: TimesOfDay, days: Days) -> None:
        self.times, self._days = times, days

    def holds(self, local: int) -> bool:
        return self.at_or_after(local) == local

    def at_or_after(self, local: int) -> int:
        """The first at or after `local`, or FAR."""
        if local < 0:
            local = 0
        day, time = divmod(local, DAY_S)
        if time > self.times.last:
            day, time = day + 1, 0
        if day >= _DAYS:
            return FAR
        there = self._days.at_or_after(day)
        if there == day:
            return day * DAY_S + self.times.at_or_after(time)
        return there * DAY_S + self.times.first if there >= 0 else FAR

    def at_or_before(self, local: int) -> int:
        """The last at or before `local`, or -FAR."""
        day, time = divmod(min(local, _DAYS * DAY_S - 1), DAY_S)
        if time < self.times.first:
            day, time = day - 1, DAY_S - 1
        if day < 0:
            return -FAR
        there = self._days.at_or_before(day)
        if there == day:
            return day * DAY_S + self.times.at_or_before(time)
        return there * DAY_S + self.times.last if there >= 0 else -FAR

    def between(self, start: int, end: int) -> int:
        """How many are in [`start`, `end`): whole days by month, the first and last day by time."""
        start, end = max(start, 0), min(end, _DAYS * DAY_S)
        if start >= end:
            return 0
        whole = self._days.between(start // DAY_S, end // DAY_S) * self.times.count
        return whole + self._earlier_that_day(end) - self._earlier_that_day(start)

    def _earlier_that_day(self, local: int) -> int:
        day, time = divmod(local, DAY_S)
        return self.times.before(time) if time and self._days.at_or_after(day) == day else 0


def _number(day: int) -> int:
    """The month that `day` is in."""
    there = date.fromordinal(day + _EPOCH_DAY)
    return (there.year - 1970) * 12 + there.month - 1


@cache
def _edges(month: int) -> tuple[int, int]:
    """(first day, first day of the next month) of a month."""
    return _first(month), _first(month + 1)


def _first(month: int) -> int:
    return date(1970 + month // 12, month % 12 + 1, 1).toordinal() - _EPOCH_DAY
