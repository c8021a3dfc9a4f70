"""The wall clock, as everything that decides by time reads it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

TEST_VARIABLE = "SCHEDULER_DAEMON_TEST_CLOCK"


class Clock:
    """UTC now. For tests only, the file that SCHEDULER_DAEMON_TEST_CLOCK names holds an offset in seconds."""

    def __init__(self) -> None:
        name = os.environ.get(TEST_VARIABLE)
        self._file = Path(name) if name else None

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset()

    def offset(self) -> timedelta:
        if self._file is None:
            return timedelta(0)
        try:
            return timedelta(seconds=float(self._file.read_text()))
        except (OSError, ValueError):
            return timedelta(0)
