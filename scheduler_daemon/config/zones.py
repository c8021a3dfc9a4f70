"""IANA time zones: their names and the version of their rules, from the locked tzdata package."""

from __future__ import annotations

from functools import cache
from importlib import resources

import tzdata  # type: ignore[import-untyped]  # it has no stubs

from scheduler_daemon.config.report import did_you_mean, nearest, quoted


def version() -> str:
    """Of the rules, such as "2026f"."""
    return str(tzdata.IANA_VERSION)


@cache
def names() -> frozenset[str]:
    return frozenset((resources.files("tzdata") / "zones").read_text("utf-8").split())


def zone(text: str) -> str:
    """`text`, if it is the name of a zone. Raises ValueError with the nearest names."""
    if text in names():
        return text
    raise ValueError(f"{quoted(text)} is not an IANA time zone{_hint(text)}")


def _hint(text: str) -> str:
    cities: dict[str, str] = {}
    for name in sorted(names()):
        cities.setdefault(name.rpartition("/")[2], name)
    spelled = text.strip().replace(" ", "_")
    whole = did_you_mean(spelled, names())
    city = nearest(spelled.rpartition("/")[2], cities)
    if city and (not whole or city[0].casefold() == spelled.rpartition("/")[2].casefold()):
        return f" (did you mean {quoted(cities[city[0]])}?)"
    return whole
