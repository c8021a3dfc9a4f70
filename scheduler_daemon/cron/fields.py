"""The grammar: one field's text → its bit set (OCPS 1.0-1.4). What a text lacks, `advice` explains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler_daemon.cron.bits import LAST_DAY, LAST_WEEK, span

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_NTH = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "L": LAST_WEEK}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold: numbers from `low` to `high`, and `names` for those from `low` on."""

    name: str
    low: int
    high: int
    allowed: str
    names: tuple[str, ...] = ()
    is_day: bool = False
    every: int = field(init=False)
    """The bits of `*`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", _fold(self, span(self.low, self.high)))


def _fold(kind: Kind, bits: int) -> int:
    """Numbers as they are kept: weekday 7 as 0, years from 1970 on."""
    if kind.high == 7:
        return bits & 127 | bits >> 7
    return bits >> kind.low if kind.low == 1970 else bits


SECOND = Kind("second", 0, 59, "0-59")
MINUTE = Kind("minute", 0, 59, "0-59")
HOUR = Kind("hour", 0, 23, "0-23")
DAY = Kind("day of month", 1, 31, "1-31, L for the last day, or one day with W, as 15W", is_day=True)
MONTH = Kind("month", 1, 12, "1-12 or JAN-DEC", MONTHS)
WEEKDAY = Kind(
    "day of week", 0, 7, "0-7 (0 and 7 are Sunday) or SUN-SAT, and 5#2 or 5#L as well", WEEKDAYS, is_day=True
)
YEAR = Kind("year", 1970, 2199, "1970-2199")
KINDS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR)


class Field(NamedTuple):
    """A field as read. `starred`: its text starts with `*` or `?`, for the fixed-time rule (Debian).

    `restricted`: its first item is more than a mere `*` (OCPS 1.1 §6.1). `both`: it starts with `+`.
    """

    bits: int
    starred: bool
    restricted: bool
    both: bool = False


class Fields(NamedTuple):
    """All fields of an expression."""

    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    year: Field

    @property
    def both(self) -> bool:
        """Whether both day fields must name a day; else one is enough (OCPS 1.4 §4.1)."""
        return self.weekday.both or not (self.day.restricted and self.weekday.restricted)


class UnreadableError(Exception):
    """`item` of a field of `kind` cannot be read; `offset` is its place in the field, `field` the whole."""

    def __init__(self, kind: Kind, field: str, item: str, offset: int) -> None:
        self.kind, self.field, self.item, self.offset = kind, field, item, offset


def read_field(kind: Kind, text: str) -> Field:
    """Read a field. Raises UnreadableError."""
    if text == "*":
        return Field(kind.every, starred=True, restricted=False)
    if bits := _read_number(kind, text):
        return Field(bits, starred=False, restricted=True)
    both = kind is WEEKDAY and text[0] == "+"
    body = text[both:]
    bits, offset = 0, int(both)
    for item in body.split(","):
        found = _read_number(kind, item) or _read_range(kind, item) or _read_special(kind, item)
        if not found or (item[-1] == "W" and item != body):
            raise UnreadableError(kind, text, item, offset)
        bits |= found
        offset += len(item) + 1
    starred = body[0] in "*?"
    return Field(bits, starred, restricted=not starred or body[1:2] not in ("", ","), both=both)


def _read_number(kind: Kind, text: str) -> int:
    """The bit of one number or name, or 0."""
    value = number(kind, text)
    return 0 if value is None else _fold(kind, 1 << value)


def _read_range(kind: Kind, item: str) -> int:
    """The bits of `*`, `a-b` and of either with a step; else 0."""
    head, slash, step = item.partition("/")
    low, dash, high = head.partition("-")
    if head == "*" or (head == "?" and kind.is_day):
        first, last = kind.low, kind.high
    elif dash:
        ends = number(kind, low), number(kind, high)
        if ends[0] is None or ends[1] is None or ends[0] > ends[1]:
            return 0
        first, last = ends[0], ends[1]
    else:
        return 0
    by = digits(step) if slash else 1
    return _fold(kind, span(first, last, by)) if by else 0


def _read_special(kind: Kind, item: str) -> int:
    """The bit of `L`, `15W`, `5#2`, `5#L` or `5L`, or 0."""
    if kind is DAY:
        if item == "L":
            return 1 << LAST_DAY
        day = number(kind, item[:-1])
        return 1 << LAST_DAY + day if day and item[-1] == "W" else 0
    if kind is WEEKDAY:
        name, hash_, nth = item.partition("#")
        if not hash_ and item.endswith("L"):
            name, nth = item[:-1], "L"
        weekday = number(kind, name)
        return 1 << 7 * _NTH[nth] + weekday % 7 if weekday is not None and nth in _NTH else 0
    return 0


def number(kind: Kind, text: str) -> int | None:
    """The number or name `text`, if `kind` allows it."""
    value = digits(text)
    if value is not None:
        return value if kind.low <= value <= kind.high else None
    name = text.upper() if text.isascii() else ""
    return kind.names.index(name) + kind.low if name in kind.names else None


def digits(text: str) -> int | None:
    """An unsigned decimal number of ASCII digits, no more of them than any field needs with leading zeros."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
