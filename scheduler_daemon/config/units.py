"""Durations (`1h30m`) and sizes (`256M`)."""

from __future__ import annotations

import re
from datetime import timedelta

from scheduler_daemon.config.report import quoted

LONGEST = timedelta(days=3660)

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PART = re.compile(r"([0-9]{1,12})([wdhms])")
_DURATION = re.compile(
    r"(?:[0-9]{1,12}w)?(?:[0-9]{1,12}d)?(?:[0-9]{1,12}h)?(?:[0-9]{1,12}m)?(?:[0-9]{1,12}s)?"
)
_BYTES = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SIZE = re.compile(r"([0-9]{1,12})([KMGT])")


def duration(text: str) -> timedelta:
    """`90s`, `10m`, `1h30m`, `90d`, `2w`: whole numbers, larger units first, each once.

    Raises ValueError with a line for a person.
    """
    if not text or not _DURATION.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a duration{_duration_hint(text)}")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{quoted(text)} is longer than ten years")
    return timedelta(seconds=seconds)


def size(text: str) -> int:
    """`256M`: a number of bytes, in powers of 1024. Raises ValueError with a line for a person."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"{quoted(text)} is not a size{_size_hint(text)}")
    return int(match[1]) * _BYTES[match[2]]


def _duration_hint(text: str) -> str:
    if text.isdecimal():
        return f': it needs a unit, such as "{text}s" or "{text}m"'
    lowered = re.sub(r"[\s_]", "", text.lower())
    for word, unit in (
        ("week", "w"),
        ("day", "d"),
        ("hour", "h"),
        ("minute", "m"),
        ("min", "m"),
        ("second", "s"),
    ):
        lowered = re.sub(rf"(?<=[0-9]){word}s?", unit, lowered)
    lowered = re.sub(r"(?<=[0-9])sec", "s", lowered)
    if lowered and lowered != text and _DURATION.fullmatch(lowered):
        return f' (did you mean "{lowered}"?)'
    return ': write "90s", "10m", "1h30m", "24h" or "90d"'


def _size_hint(text: str) -> str:
    match = re.fullmatch(r"\s*([0-9]+)\s*([kmgtKMGT])(?:i?[bB])?\s*", text)
    if match:
        return f' (did you mean "{match[1]}{match[2].upper()}"?)'
    return ': write "512K", "256M" or "2G"'
