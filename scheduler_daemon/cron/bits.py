"""The bit sets: a schedule's every field is one integer, and this is what its bits mean.

second, minute, hour   bit n: the value n
month                  bits 1-12
year                   bit n: the year 1970 + n
day of month           bits 1-31; bit 32: the last day (`L`); bits 33-63: the weekday nearest to 1-31 (`nW`)
day of week            bits 0-6: every Sunday … Saturday; bits 7n + weekday: only the nth in the month (`#n`,
                       n 1-5); bits 42-48: only the last (`#L`)
"""

from __future__ import annotations

LAST_DAY = 32
LAST_WEEK = 6
_EVERY_WEEK = sum(1 << 7 * week for week in range(6))


def lowest(bits: int) -> int:
    """The number of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1


def span(low: int, high: int, step: int = 1) -> int:
    """Bits low, low + step, … up to high."""
    if step == 1:
        return (2 << high) - (1 << low)
    return sum(1 << value for value in range(low, high + 1, step))


def values(bits: int) -> list[int]:
    """The numbers of the bits that are set, ascending."""
    return [n for n in range(bits.bit_length()) if bits >> n & 1]


def days_of_month(days: int, weekday: int, length: int) -> int:
    """The days that a day-of-month set names in a month of `length` days that starts on `weekday`."""
    found = days & (2 << length) - 2
    if days < 1 << LAST_DAY:
        return found
    if days >> LAST_DAY & 1:
        found |= 1 << length
    for day in values(days >> LAST_DAY):
        if 0 < day <= length:
            found |= 1 << _nearest_workday(day, (weekday + day - 1) % 7, length)
    return found


def days_of_week(weekdays: int, weekday: int, length: int) -> int:
    """The days that a day-of-week set names in a month of `length` days that starts on `weekday`."""
    found = _weekly(weekdays, weekday) & (2 << length) - 2
    if weekdays < 128:
        return found
    for week in range(1, 6):
        found |= _weekly(weekdays >> 7 * week, weekday) & span(7 * week - 6, min(7 * week, length))
    return found | _weekly(weekdays >> 7 * LAST_WEEK, weekday) & span(length - 6, length)


def _weekly(weekdays: int, weekday: int) -> int:
    """Bits 0-6 repeated, shifted so that bit 1 stands for the month's first day."""
    return (weekdays & 127) * _EVERY_WEEK >> weekday << 1


def _nearest_workday(day: int, weekday: int, length: int) -> int:
    """OCPS 1.3 §4.3: Saturday moves to Friday, Sunday to Monday, but never out of the month."""
    if weekday == 6:
        return day - 1 if day > 1 else 3
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day
