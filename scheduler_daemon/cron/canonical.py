"""Bit sets → the canonical text: what two expressions share if they mean the same."""

from __future__ import annotations

from scheduler_daemon.cron.bits import LAST_DAY, LAST_WEEK, span, values
from scheduler_daemon.cron.fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, YEAR, Fields, Kind


def canonical(fields: Fields) -> str:
    """Six fields, or seven if the year is restricted; numbers for names, 0 for Sunday, sorted, no duplicates.

    A leading `*` of minute and hour is kept and none is added, for the fixed-time rule asks for it.
    """
    texts = [
        _free(SECOND, fields.second.bits),
        _kept(MINUTE, fields.minute.bits, starred=fields.minute.starred),
        _kept(HOUR, fields.hour.bits, starred=fields.hour.starred),
        *_days(fields),
    ]
    if fields.year.bits != YEAR.every:
        texts.append(_free(YEAR, fields.year.bits << YEAR.low))
    return " ".join(texts)


def _days(fields: Fields) -> tuple[str, str, str]:
    """Day of month, month, day of week. A full set is `*`, unless that would turn OR into AND."""
    month = _free(MONTH, fields.month.bits)
    days, weekdays = _day_of_month(fields.day.bits), _day_of_week(fields.weekday.bits)
    if not fields.both:
        return days if days != "*" else "1-31", month, weekdays if weekdays != "*" else "0-6"
    plus = "+" if "*" not in (days, weekdays) else ""
    return days, month, plus + weekdays


def _day_of_month(bits: int) -> str:
    plain = bits & DAY.every
    if plain == DAY.every:
        return "*"
    items = [_free(DAY, plain)] if plain else []
    items += ["L"] if bits >> LAST_DAY & 1 else []
    items += [f"{day}W" for day in values(bits >> LAST_DAY) if day]
    return ",".join(items)


def _day_of_week(bits: int) -> str:
    plain = bits & WEEKDAY.every
    if plain == WEEKDAY.every:
        return "*"
    items = [_free(WEEKDAY, plain)] if plain else []
    for week in range(1, LAST_WEEK + 1):
        nth = "L" if week == LAST_WEEK else week
        items += [f"{day}#{nth}" for day in values(bits >> 7 * week & 127)]
    return ",".join(items)


def _free(kind: Kind, bits: int) -> str:
    """The shortest of `*`, `*/n`, and a list."""
    found = values(bits)
    high = 6 if kind is WEEKDAY else kind.high
    if len(found) > 2 or len(found) == high - kind.low + 1:
        step = found[1] - found[0]
        if bits == span(kind.low, high, step):
            return "*" if step == 1 else f"*/{step}"
    return _list(found)


def _kept(kind: Kind, bits: int, *, starred: bool) -> str:
    """A text that starts with `*` exactly if the original did."""
    if not starred:
        return _list(values(bits))
    step = next(n for n in range(1, kind.high + 2) if not span(kind.low, kind.high, n) & ~bits)
    rest = values(bits & ~span(kind.low, kind.high, step))
    return ("*" if step == 1 else f"*/{step}") + ("," + _list(rest) if rest else "")


def _list(found: list[int]) -> str:
    """`a-b/n` for four and more that are evenly spaced, else single values and runs of three and more."""
    if len(found) > 3:
        step = found[1] - found[0]
        if step > 1 and found == list(range(found[0], found[-1] + 1, step)):
            return f"{found[0]}-{found[-1]}/{step}"
    items: list[str] = []
    while found:
        run = 1
        while run < len(found) and found[run] == found[0] + run:
            run += 1
        run = run if run > 2 else 1
        items.append(str(found[0]) if run == 1 else f"{found[0]}-{found[run - 1]}")
        found = found[run:]
    return ",".join(items)
