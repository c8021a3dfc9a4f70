"""The chart can be drawn where matplotlib is installed (the extra `charts`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Day:
    """Views and visitors of one day."""

    day: date
    views: int
    visitors: int


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(days: Sequence[Day], note: str, cache: Path) -> bytes:
    """A PNG of 1,200 × 600 dots. The last day is the current one, not over yet; `note` says until when.

    `cache` is a folder for matplotlib's list of fonts, which takes it a second to make.
    """
    os.environ.setdefault("MPLCONFIGDIR", str(cache))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads would outlive the run
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from scheduler_web.reports.drawing import drawn  # half a second of imports

    return drawn(days, note)
