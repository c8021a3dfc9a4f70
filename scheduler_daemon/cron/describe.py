"""Bit sets → English: when (the time of day), then on which days, in which months and years."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler_daemon.cron.bits import LAST_DAY, LAST_WEEK, values
from scheduler_daemon.cron.fields import DAY, MONTH, WEEKDAY, YEAR, Fields

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH = ("", "first", "second", "third", "fourth", "fifth", "last")
_MOST_LISTED = 8


def describe(fields: Fields) -> str:
    """An English sentence without its full stop, as "At 07:00 and 19:00, every day"."""
    seconds, minutes, hours = (values(field.bits) for field in fields[:3])
    parts = [_time(seconds, minutes, hours)]
    days = _days(fields)
    if days or len(hours) < 24:
        parts.append(days or "every day" + _in_months(fields))
    elif fields.month.bits != MONTH.every:
        parts.append(_in_months(fields).strip())
    if fields.year.bits != YEAR.every:
        parts.append(_years([year + YEAR.low for year in values(fields.year.bits)]))
    return ", ".join(parts)


def _time(seconds: list[int], minutes: list[int], hours: list[int]) -> str:
    if len(seconds) * len(minutes) * len(hours) <= 4:
        return "At " + _join([_clock(h, m, s) for h in hours for m in minutes for s in seconds])
    if len(seconds) > 1:
        return _every(seconds, "second") + _of_minutes(minutes, hours)
    past = f", at second {seconds[0]}" if seconds[0] else ""
    if len(minutes) > 1:
        return _minutes(minutes, hours, past)
    if len(hours) == 24:
        return f"Every hour at :{minutes[0]:02}{past}"
    step = _step(hours)
    if len(hours) > 4 and step:
        span = f"{_clock(hours[0], minutes[0])} to {_clock(hours[-1], minutes[0])}"
        return f"Every {_units(step, 'hour')} from {span}{past}"
    return f"At {_join([_clock(hour, minutes[0], seconds[0]) for hour in hours])}"


def _minutes(minutes: list[int], hours: list[int], past: str) -> str:
    """Several minutes of some hours, at one second."""
    if _cycle(minutes) and _step(hours) == 1 and len(hours) < 24:
        until = f"{_clock(hours[0], minutes[0])} to {_clock(hours[-1], minutes[-1])}"
        return f"{_every(minutes, 'minute')} from {until}{past}"
    if _cycle(minutes):
        return _every(minutes, "minute") + _of_hours(hours) + past
    if len(minutes) <= _MOST_LISTED and not (len(minutes) > 4 and _step(minutes)):
        at = _join([f":{minute:02}" for minute in minutes])
        return f"Every hour{_of_hours(hours)} at {at}{past}"
    return _every(minutes, "minute") + (_of_hours(hours) or " of every hour") + past


def _every(numbers: list[int], unit: str) -> str:
    """Several values of the seconds or minutes: "Every 10 seconds", "Every 7 minutes from :00 to :56"."""
    step = _step(numbers)
    if step and _cycle(numbers):
        return f"Every {_units(step, unit)}"
    if step and len(numbers) > 3:
        return f"Every {_units(step, unit)} from :{numbers[0]:02} to :{numbers[-1]:02}"
    return f"At {unit}s {_join([str(number) for number in numbers])}"


def _of_minutes(minutes: list[int], hours: list[int]) -> str:
    if len(minutes) == 60:
        return _of_hours(hours)
    listed = _join([f":{minute:02}" for minute in minutes])
    return f" of minute{'s' * (len(minutes) > 1)} {listed}{_of_hours(hours) or ' of every hour'}"


def _of_hours(hours: list[int]) -> str:
    if len(hours) == 24:
        return ""
    if _step(hours) == 1 or len(hours) == 1:
        return f" from {_clock(hours[0], 0)} to {_clock(hours[-1], 59)}"
    step = _step(hours)
    if step and len(hours) > 4:
        return f" of every {_ordinal(step)} hour from {hours[0]} to {hours[-1]}"
    return f" of the hours {_join([str(hour) for hour in hours])}"


def _days(fields: Fields) -> str:
    """On which days, with their months; empty for every day of every month."""
    day = "" if fields.day.bits & DAY.every == DAY.every else _of_month(fields)
    weekday = "" if fields.weekday.bits & WEEKDAY.every == WEEKDAY.every else _of_week(fields)
    if fields.both and day and weekday:
        return f"{day}, if that is {_one_weekday(fields)}"
    if fields.both:
        return day or weekday
    return f"{day}, and also {weekday}" if day and weekday else ""


def _of_month(fields: Fields) -> str:
    bits = fields.day.bits
    plain = values(bits & DAY.every)
    step = _step(plain)
    of = f" of {_months(fields) or 'the month'}"
    items: list[str] = []
    if step and len(plain) > 4:
        span = f"the {_ordinal(plain[0])} to the {_ordinal(plain[-1])}"
        items.append(f"every {'' if step == 1 else _ordinal(step) + ' '}day from {span}")
    elif plain:
        items.append("on the " + _join([_ordinal(day) for day in plain]))
    if bits >> LAST_DAY & 1:
        items.append("on the last day")
    items += [f"on the working day nearest to the {_ordinal(day)}" for day in values(bits >> LAST_DAY) if day]
    return _join(items) + of


def _of_week(fields: Fields) -> str:
    plain = values(fields.weekday.bits & WEEKDAY.every)
    items: list[str] = []
    if plain:
        items.append(("" if len(plain) > 2 and _step(plain) == 1 else "every ") + _weekday_names(plain))
    items += ["on the " + name for name in _nth_weekdays(fields)]
    months = _months(fields)
    if items[-1].startswith("on"):
        return f"{_join(items)} of {months or 'the month'}"
    return _join(items) + _in_months(fields)


def _one_weekday(fields: Fields) -> str:
    plain = values(fields.weekday.bits & WEEKDAY.every)
    items = [f"a {_WEEKDAYS[day]}" for day in plain] + ["the " + name for name in _nth_weekdays(fields)]
    return _join(items, "or")


def _nth_weekdays(fields: Fields) -> list[str]:
    return [
        f"{_NTH[week]} {_WEEKDAYS[day]}"
        for week in range(1, LAST_WEEK + 1)
        for day in values(fields.weekday.bits >> 7 * week & 127)
    ]


def _weekday_names(days: list[int]) -> str:
    days = sorted(days, key=lambda day: day or 7) if 1 in days or 6 in days else days
    monday_first = [day or 7 for day in days]
    if len(days) > 2 and _step(monday_first) == 1:
        return f"{_WEEKDAYS[days[0]]} to {_WEEKDAYS[days[-1]]}"
    return _join([_WEEKDAYS[day] for day in days])


def _months(fields: Fields) -> str:
    """The names of the months; empty for all of them."""
    months = values(fields.month.bits)
    if len(months) == 12:
        return ""
    if len(months) > 3 and _step(months) == 1:
        return f"{_MONTHS[months[0] - 1]} to {_MONTHS[months[-1] - 1]}"
    return _join([_MONTHS[month - 1] for month in months])


def _in_months(fields: Fields) -> str:
    months = _months(fields)
    return f" in {months}" if months else ""


def _years(years: list[int]) -> str:
    step = _step(years)
    if len(years) > 2 and step:
        every = "" if step == 1 else f"every {_ordinal(step)} year "
        return f"{every}from {years[0]} to {years[-1]}"
    return f"in {_join([str(year) for year in years])}"


def _step(numbers: Sequence[int]) -> int:
    """What evenly spaced numbers are apart, or 0."""
    if len(numbers) < 2:
        return 0
    step = numbers[1] - numbers[0]
    return step if list(numbers) == list(range(numbers[0], numbers[-1] + 1, step)) else 0


def _cycle(numbers: list[int]) -> bool:
    """Whether seconds or minutes go on evenly over the hour's end."""
    step = _step(numbers)
    return bool(step) and numbers[0] == 0 and numbers[-1] + step == 60


def _units(count: int, unit: str) -> str:
    return unit if count == 1 else f"{count} {unit}s"


def _clock(hour: int, minute: int, second: int = 0) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _join(items: Sequence[str], word: str = "and") -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"
