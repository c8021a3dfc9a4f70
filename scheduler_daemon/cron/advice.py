"""What is wrong with a text that the grammar refuses, and what to write instead.

The habits are those of other schedulers: Quartz and Spring (`0/15`, `L-3`, `LW`), Jenkins (`H`) and
OpenBSD (`~`). Nothing here runs for an expression that parses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from scheduler_daemon.cron.fields import (
    DAY,
    MONTHS,
    WEEKDAY,
    WEEKDAYS,
    Kind,
    UnreadableError,
    digits,
    number,
    read_field,
)

_UPPER = "only names may be in lower case"
_PLUS = '"+" (both day fields must match) may only be the first character of the day of week'
_ALONE = "W takes a single day and stands alone; give every such day a job of its own"


class Explanation(NamedTuple):
    """`piece` of the item, at `offset` in it, is what is wrong; `reason` goes on after it."""

    piece: str
    offset: int
    reason: str


def explain(unreadable: UnreadableError) -> Explanation:
    """Why the item cannot be read, and what to write."""
    kind, field, item = unreadable.kind, unreadable.field, unreadable.item
    if not item:
        reason = 'a day of week must follow "+"' if field == "+" else "an item of the list is missing"
        return Explanation(field, -unreadable.offset, reason)
    return (
        _character(kind, item)
        or _calendar_letter(kind, item)
        or _step(kind, item)
        or _range(kind, item)
        or _value(kind, item)
    )


def explain_nickname(words: list[str], nicknames: Iterable[str]) -> str:
    """What to write instead of a nickname that is none."""
    name = words[0]
    if name in nicknames:
        return f'a nickname stands alone: "{name}"'
    if name.lower() in nicknames:
        return f'write "{name.lower()}"'
    every = re.fullmatch(r"([0-9]{1,2})([smh])", words[-1])
    if name == "@every" and every:
        place = "smh".index(every[2])
        fields = ["0"] * place + [f"*/{every[1]}"] + ["*"] * (5 - place)
        if int(every[1]) and (60, 60, 24)[place] % int(every[1]) == 0:
            return f'write "{" ".join(fields)}"'
    return f"there are {', '.join(nicknames)}"


def quote(text: str) -> str:
    """`text` in double quotes, on one line, cut if it is long."""
    text = text.strip(" \t")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:80])
    return f'"{shown}{"…" * (len(text) > 80)}"'


def _character(kind: Kind, item: str) -> Explanation | None:
    """A character that this field does not take."""
    if bad := re.search(r"[^A-Za-z0-9*/?#+-]", item):
        reason = "no field takes this character"
        if bad[0].isspace():
            reason = "only spaces and tabs may stand between fields"
        elif bad[0] == "~":
            reason = "there are no random times; write a number"
        elif bad[0] in "\u2010\u2011\u2012\u2013\u2014\u2212":
            reason = "a range is written with a plain hyphen"
        return Explanation(bad[0], bad.start(), reason)
    if "?" in item and not kind.is_day:
        return Explanation("?", item.index("?"), 'only the two day fields take "?"; write "*"')
    return Explanation("+", item.index("+"), _PLUS) if "+" in item else None


def _calendar_letter(kind: Kind, item: str) -> Explanation | None:
    """`L`, `W` and `#` where they are not understood."""
    if _reads(kind, item.upper()) and not _reads(kind, item):
        return Explanation(item, 0, f'{_UPPER}; write "{item.upper()}"')
    reason = None
    if kind is DAY:
        if "#" in item or item.upper() in WEEKDAYS:
            reason = "weekdays belong in the day of week"
        elif item in ("LW", "WL"):
            reason = "there is no last working day of the month; L is its last day"
        elif item.startswith("L-"):
            reason = "there is no counting back from the month's end; L is its last day"
        elif item.endswith("W") and re.fullmatch(r"[0-9]+(-[0-9]+)?W", item):
            day = number(kind, item[:-1])
            reason = _ALONE if day or "-" in item else f"allowed are {kind.allowed}"
    elif kind is WEEKDAY:
        if item == "L":
            reason = 'say which weekday is the last: "6L" is the last Saturday of the month'
        elif item.endswith("W") and digits(item[:-1]) is not None:
            reason = "W belongs in the day of month"
        elif "#" in item or (item.endswith("L") and "-" in item):
            reason = 'one weekday, #, and 1-5 or L for the last: "5#2" is the second Friday of the month'
    elif re.fullmatch(r"[0-9]*[LW]|.*#.*", item):
        reason = "L, W and # belong in the day fields"
    return Explanation(item, 0, reason) if reason else None


def _reads(kind: Kind, item: str) -> bool:
    try:
        read_field(kind, item)
    except UnreadableError:
        return False
    return True


def _step(kind: Kind, item: str) -> Explanation | None:
    """OCPS 1.1 §6.2: `/` after `*` or a full range only, and a step from 1 on."""
    head, slash, step = item.partition("/")
    if not slash:
        return None
    if not digits(step):
        return Explanation(item, 0, "a step is a whole number from 1 on")
    instead = None
    if head == "" or number(kind, head) == kind.low:
        instead = f"*/{step}"
    elif number(kind, head) is not None:
        instead = f"{head}-{_highest(kind)}/{step}"
    reason = 'a step needs "*" or a range before it'
    if instead:
        return Explanation(item, 0, f'{reason}; write "{instead}"')
    return None if "-" in head else Explanation(item, 0, reason)


def _range(kind: Kind, item: str) -> Explanation | None:
    """A range with a bad end, or one that runs backwards."""
    head, slash, _ = item.partition("/")
    low, dash, high = head.partition("-")
    if not dash:
        return None
    if not low or not high or "-" in high:
        return Explanation(item, 0, 'a range is written "a-b"')
    first, last = number(kind, low), number(kind, high)
    if first is None:
        return _value(kind, low)
    if last is None:
        piece, offset, reason = _value(kind, high)
        return Explanation(piece, offset + len(low) + 1, reason)
    if first > last:
        instead = f'; write "{_upwards(kind, low, high)}"' if not slash else ", with a step as well"
        return Explanation(item, 0, f"a range runs upwards{instead}")
    return None


def _upwards(kind: Kind, low: str, high: str) -> str:
    """The backward range `low`-`high` as ranges that run upwards."""
    if kind is WEEKDAY and number(kind, high) == 0:
        return "7" if low == "7" else f"{number(kind, low)}-7"
    lowest, highest = (kind.names[0], kind.names[-1]) if low.isalpha() else (str(kind.low), _highest(kind))
    parts = (low, highest), (lowest, high)
    return ",".join(start if start == end else f"{start}-{end}" for start, end in parts)


def _highest(kind: Kind) -> str:
    return "6" if kind is WEEKDAY else str(kind.high)


def _value(kind: Kind, text: str) -> Explanation:
    """A number out of range, a long name, or anything else."""
    short = text[:3].upper()
    reason = f"allowed are {kind.allowed}"
    if text.isalpha() and short in kind.names:
        reason = f'write "{short}"'
    elif text.isalpha() and short in MONTHS + WEEKDAYS:
        reason = f"belongs in the {'month' if short in MONTHS else 'day of week'}; {reason}"
    elif text[0] == "*" and digits(text[1:]):
        reason = f'write "*/{text[1:]}"'
    elif text[0] in "Hh" and not kind.names:
        reason = f"there are no times by hash; write a number; {reason}"
    elif digits(text) == kind.high + 1 and kind.low == 0 and kind is not WEEKDAY:
        reason = f"{reason}; what comes after {kind.high} is 0"
    return Explanation(text, 0, reason)
