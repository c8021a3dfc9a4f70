"""Outcomes and logs on disk while the database is away: lines of JSON, bounded, logs dropped first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from scheduler_daemon.ledger.outcomes import Batch, batch_from_json, batch_to_json

LIMIT = 256 * 1024 * 1024
LOGS_UNTIL = LIMIT * 3 // 4
PIECE = 64 * 1024


class Spool:
    """One file in the state directory. Appends are flushed to the disk: an outcome is told only once.

    A last line that a crash cut short is taken away at the start; a line that cannot be read is left out.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._size = _cut_torn_line(file)
        self._unreadable = 0
        self._logs_dropped = 0
        self._done = 0

    def __bool__(self) -> bool:
        return self._size > 0

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    def append(self, batch: Batch) -> None:
        """Past three quarters of the limit log lines are dropped and counted; outcomes are never.

        Raises OSError, as on a full disk; nothing of the batch is in the file then.
        """
        if self._size > LOGS_UNTIL:
            self._logs_dropped += len(batch.logs)
            batch = replace(batch, logs=[])
        if not batch:
            return
        line = batch_to_json(batch).encode() + b"\n"
        try:
            with self._file.open("ab") as stream:
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(self._file, self._size)
            raise
        self._size += len(line)

    def batches(self) -> Iterator[Batch]:
        """Oldest first, from where an earlier call was left."""
        if not self._file.exists():
            return
        with self._file.open(encoding="utf-8", errors="replace") as stream:
            for number, line in enumerate(stream):
                if number < self._done:
                    continue
                try:
                    batch = batch_from_json(line)
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    self._unreadable += 1
                    continue
                yield batch
                self._done = number + 1

    def clear(self) -> tuple[int, int]:
        """Forget everything; how many log lines had been dropped, and how many batches were unreadable."""
        self._file.unlink(missing_ok=True)
        self._size = self._done = 0
        lost = self._logs_dropped, self._unreadable
        self._logs_dropped = self._unreadable = 0
        return lost


def _cut_torn_line(file: Path) -> int:
    """The size of what is whole."""
    if not file.exists():
        return 0
    with file.open("r+b") as stream:
        size = end = stream.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - PIECE)
            stream.seek(start)
            found = stream.read(end - start).rfind(b"\n")
            end = start + found + 1
            if found >= 0:
                break
            end = start
        if end < size:
            stream.truncate(end)
        return end
