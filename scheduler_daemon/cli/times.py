"""Times as people say them: local, relative, and how long something took."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPOKEN = ((86400 * 2, 86400, "d"), (3600 * 2, 3600, "h"), (120, 60, "min"), (0, 1, "s"))


def instant(text: str) -> datetime:
    """A time of the API (RFC 3339)."""
    return datetime.fromisoformat(text)


def local(moment: datetime | str | None, *, now: datetime | None = None) -> str:
    """In this terminal's zone; only the time of day where it is today."""
    if moment is None:
        return ""
    here = (instant(moment) if isinstance(moment, str) else moment).astimezone()
    if now is not None and here.date() == now.astimezone().date():
        return f"{here:%H:%M:%S}"
    return f"{here:%Y-%m-%d %H:%M:%S}"


def relative(moment: datetime | str | None, now: datetime) -> str:
    """ "in 4 min", "3 h ago", "just now"."""
    if moment is None:
        return ""
    seconds = ((instant(moment) if isinstance(moment, str) else moment) - now).total_seconds()
    if abs(seconds) < 1:
        return "just now" if seconds < 0 else "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def span(seconds: float) -> str:
    """The largest unit that says enough: "45 s", "17 min", "3 h", "12 d"."""
    for least, size, name in _SPOKEN:
        if seconds >= least:
            return f"{int(seconds // size)} {name}"
    return "0 s"


def took(milliseconds: float | None) -> str:
    """A measured duration: "3 ms", "1.24 s", "12 min 3 s"."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.2f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def duration(text: str) -> timedelta:
    """ "90s", "2h", "1d12h". Raises ValueError saying what is allowed."""
    parts = re.findall(r"(\d+)([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'"{text}" is not a duration such as 90s, 30m, 2h, 1d or 1d12h')
    try:
        return timedelta(seconds=sum(int(number) * UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise ValueError(f'"{text}" is longer than any clock') from None


def moment(text: str, now: datetime | None = None) -> datetime:
    """A duration before now, or a date or time; without a zone it is this terminal's. Raises ValueError."""
    try:
        return (now or datetime.now(UTC)) - duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f'"{text}" is neither a duration such as 2h nor a time such as 2026-03-29 or "2026-03-29 02:30"'
        ) from None
