"""The chart can be drawn where matplotlib is installed (the extra `charts`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class Day:
    """Views and visitors of one day."""

    day: date
    views: int
    visitors: int


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(days: Sequence[Day], note: str) -> bytes:
    """A PNG of 1,200 × 600 dots. The last day is the current one, not over yet; `note` says until when."""
    from scheduler_web.reports.drawing import drawn  # half a second of imports

    return drawn(days, note)
