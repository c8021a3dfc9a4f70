"""Outcomes and logs on disk while the database is away: lines of JSON, bounded, logs dropped first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from scheduler_daemon.ledger.outcomes import Batch, batch_from_json, batch_to_json

LIMIT = 256 * 1024 * 1024
LOGS_UNTIL = LIMIT * 3 // 4


class Spool:
    """One file in the state directory. Appends are flushed to the disk: an outcome is told only once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._size = file.stat().st_size if file.exists() else 0
        self._logs_dropped = 0
        self._done = 0

    def __bool__(self) -> bool:
        return self._size > 0

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    def append(self, batch: Batch) -> None:
        """Past three quarters of the limit log lines are dropped and counted; outcomes are never."""
        if self._size > LOGS_UNTIL:
            self._logs_dropped += len(batch.logs)
            batch = replace(batch, logs=[])
        if not batch:
            return
        line = batch_to_json(batch).encode() + b"\n"
        with self._file.open("ab") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        self._size += len(line)

    def batches(self) -> Iterator[Batch]:
        """Oldest first, from where an earlier call was left. A line that a crash cut short ends the file."""
        if not self._file.exists():
            return
        with self._file.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream):
                if number < self._done:
                    continue
                try:
                    batch = batch_from_json(line)
                except (ValueError, KeyError, TypeError):
                    return
                yield batch
                self._done = number + 1

    def clear(self) -> int:
        """Forget everything; how many log lines had been dropped."""
        self._file.unlink(missing_ok=True)
        self._size = self._done = 0
        dropped, self._logs_dropped = self._logs_dropped, 0
        return dropped
