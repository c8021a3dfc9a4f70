"""Numbers as people read them; what belongs together stays on one line of a narrow screen."""

from __future__ import annotations

_SPACE = "\N{NO-BREAK SPACE}"


def count(value: float) -> str:
    return f"{value:,.0f}"


def clock(ms: float | None) -> str:
    """Minutes and seconds: "2:05"."""
    if ms is None:
        return "–"
    seconds = round(ms / 1000)
    return f"{seconds // 60}:{seconds % 60:02}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.0f}{_SPACE}%"


def change(now: float | None, before: float | None) -> str:
    """▲12 %, ▼3 %, =, or new where there was nothing before."""
    if now is None or before is None:
        return "–"
    if before == 0:
        return "=" if now == 0 else "new"
    share = round((now - before) / before * 100)
    return f"▲{share:,}{_SPACE}%" if share > 0 else f"▼{-share:,}{_SPACE}%" if share < 0 else "="


def points(now: float | None, before: float | None) -> str:
    """The same for a rate, in percentage points."""
    if now is None or before is None:
        return "–"
    moved = round((now - before) * 100)
    return f"▲{moved}{_SPACE}pp" if moved > 0 else f"▼{-moved}{_SPACE}pp" if moved < 0 else "="


def size(value: float) -> str:
    """Bytes: "1.4 GB"."""
    for limit, unit in ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if abs(value) >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{value:.0f} bytes"


def several(number: int, one: str, many: str = "", *, sign: bool = False) -> str:
    """ "1 view", "1,250 views"; with `sign` "+1 view", "−2 views"."""
    plus = ("+" if number >= 0 else "−") if sign else ""
    shown = abs(number) if sign else number
    return f"{plus}{shown:,} {one if shown == 1 else many or one + 's'}"
