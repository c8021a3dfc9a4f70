"""One field's text → its bit set (the grammar of OCPS 1.0-1.4), or a CronError that says what to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from scheduler_daemon.cron.advice import advise
from scheduler_daemon.cron.bits import LAST_DAY, LAST_WEEK, span
from scheduler_daemon.errors import CronError

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What one of the seven fields may hold: `low`-`high`, `names` for the values from `low` on."""

    name: str
    low: int
    high: int
    allowed: str
    names: tuple[str, ...] = ()

    @property
    def every(self) -> int:
        """The full set: weekday 7 is weekday 0, years count from 1970."""
        return fold(self, span(self.low, self.high))


SECOND = Kind(name="second", low=0, high=59, allowed="0-59")
MINUTE = Kind(name="minute", low=0, high=59, allowed="0-59")
HOUR = Kind(name="hour", low=0, high=23, allowed="0-23")
DAY = Kind(name="day of month", low=1, high=31, allowed="1-31, L (last day) or one day with W, as 15W")
MONTH = Kind(name="month", low=1, high=12, allowed="1-12 or JAN-DEC", names=MONTHS)
WEEKDAY = Kind(
    name="day of week",
    low=0,
    high=7,
    allowed="0-7 (0 and 7 are Sunday) or SUN-SAT, also as 5#2 (second Friday) or 5#L (last)",
    names=WEEKDAYS,
)
YEAR = Kind(name="year", low=1970, high=2199, allowed="1970-2199")
KINDS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR)


class Field(NamedTuple):
    """One field as read. `starred`: its text starts with `*` or `?`, which is what Debian's fixed-time rule asks.

    `restricted`: its first item is more than a mere `*` (OCPS 1.1 §6.1). `both`: it starts with `+`.
    """

    bits: int
    starred: bool = True
    restricted: bool = False
    both: bool = False


class Fields(NamedTuple):
    """All fields of an expression; `both`: a day must be named by both day fields, else by one of them."""

    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    year: Field

    @property
    def both(self) -> bool:
        return self.weekday.both or not (self.day.restricted and self.weekday.restricted)


def fold(kind: Kind, bits: int) -> int:
    """The bits of plain values as kept: weekday 7 as 0, years from 1970 on."""
    if kind is WEEKDAY:
        return bits & 127 | bits >> 7
    return bits >> kind.low if kind is YEAR else bits


def read_field(kind: Kind, text: str, column: int) -> Field:
    """Read one field's `text`, which starts at the 1-based `column` of the expression."""
    both = kind is WEEKDAY and text.startswith("+")
    body = text[both:]
    if body == "*":
        return Field(kind.every, both=both)
    place = _Place(kind, column + both)
    bits = 0
    for item in body.split(","):
        bits |= _read_item(place, item, alone=item == body)
        place.column += len(item) + 1
    wild = kind is DAY or kind is WEEKDAY
    starred = body[0] == "*" or (wild and body[0] == "?")
    return Field(bits, starred, not starred or body[1:2] not in ("", ","), both)


class _Place:
    """Where in the expression an item stands."""

    __slots__ = ("column", "kind")

    def __init__(self, kind: Kind, column: int) -> None:
        self.kind, self.column = kind, column

    def refuse(self, text: str, offset: int = 0) -> NoReturn:
        raise refusal(self.kind, text, self.column + offset)


def _read_item(place: _Place, item: str, *, alone: bool) -> int:
    kind = place.kind
    if item.isascii() and item.isdigit():
        return fold(kind, 1 << _value(place, item))
    special = _read_special(place, item, alone=alone)
    if special:
        return special
    head, slash, step = item.partition("/")
    low, dash, high = head.partition("-")
    if head == "*" or (head == "?" and (kind is DAY or kind is WEEKDAY)):
        first, last = kind.low, kind.high
    elif dash:
        first, last = _value(place, low), _value(place, high, len(low) + 1)
        if first > last:
            place.refuse(item)
    else:
        if slash:
            place.refuse(item)
        first = last = _value(place, item)
    return fold(kind, span(first, last, _step(place, item, step) if slash else 1))


def _read_special(place: _Place, item: str, *, alone: bool) -> int:
    """The bit of `L`, `15W`, `5L`, `5#L`, `5#2`; 0: the item is none of these."""
    kind = place.kind
    if kind is DAY:
        if item == "L":
            return 1 << LAST_DAY
        if item.endswith("W") and item[:-1].isascii() and item[:-1].isdigit():
            day = _value(place, item[:-1])
            if not alone:
                place.refuse(item)
            return 1 << LAST_DAY + day
    if kind is WEEKDAY:
        name, hash_, nth = item.partition("#")
        if hash_ and nth in ("1", "2", "3", "4", "5", "L"):
            return 1 << 7 * (LAST_WEEK if nth == "L" else int(nth)) + _value(place, name) % 7
        if not hash_ and len(item) > 1 and item.endswith("L") and item.upper() not in WEEKDAYS:
            return 1 << 7 * LAST_WEEK + _value(place, item[:-1]) % 7
    return 0


def _value(place: _Place, text: str, offset: int = 0) -> int:
    kind = place.kind
    if text.isascii() and text.isdigit():
        if len(text) < 10 and kind.low <= int(text) <= kind.high:
            return int(text)
    elif text.upper() in kind.names:
        return kind.names.index(text.upper()) + kind.low
    place.refuse(text, offset)


def _step(place: _Place, item: str, step: str) -> int:
    if step.isascii() and step.isdigit() and len(step) < 10 and int(step) > 0:
        return int(step)
    place.refuse(item)


def refusal(kind: Kind, text: str, column: int) -> CronError:
    shown = quote(text)
    advice = advise(kind.name, text)
    message = (
        f"{kind.name}, column {column}: {shown} is not understood; {advice or f'allowed: {kind.allowed}'}"
    )
    return CronError(message, field=kind.name, text=text, column=column)


def quote(text: str) -> str:
    """`text` in double quotes, on one line, cut if it is long."""
    return '"' + ascii(text)[1:-1][:60] + ('…"' if len(text) > 60 else '"')
