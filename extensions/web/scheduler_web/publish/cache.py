"""Rendered fragments, kept between runs in one SQLite file, which may be deleted at any time."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path

from scheduler_web.publish.markdown import Fragment

_SCHEMA = """
CREATE TABLE IF NOT EXISTS fragments
    (id TEXT PRIMARY KEY, key TEXT NOT NULL, html TEXT NOT NULL, rest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures
    (id TEXT PRIMARY KEY, key TEXT NOT NULL, message TEXT NOT NULL);
"""


class FragmentCache:
    """Document id → its last fragment. Not shared by processes: after a fork it opens the file anew."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._pid = -1
        self._connection: sqlite3.Connection | None = None

    def size(self) -> int:
        return int(self._open().execute("SELECT count(*) FROM fragments").fetchone()[0])

    def get(self, identifier: str) -> Fragment:
        """Raises KeyError when there is none."""
        row = self._open().execute("SELECT html, rest FROM fragments WHERE id = ?", (identifier,)).fetchone()
        if row is None:
            raise KeyError(identifier)
        toc, ids, links, images, words, excerpt = json.loads(row[1])
        return Fragment(
            html=row[0],
            toc=tuple((level, mark, text) for level, mark, text in toc),
            ids=tuple(ids),
            links=tuple(links),
            images=tuple(images),
            words=words,
            excerpt=excerpt,
        )

    def keys(self) -> dict[str, str]:
        """Document id → what its fragment was made from."""
        return dict(self._open().execute("SELECT id, key FROM fragments"))

    def key(self, identifier: str) -> str | None:
        row = self._open().execute("SELECT key FROM fragments WHERE id = ?", (identifier,)).fetchone()
        return row[0] if row else None

    def put(self, fragments: Iterable[tuple[str, str, Fragment]]) -> None:
        rows = ((i, key, f.html, json.dumps(f[1:], ensure_ascii=False)) for i, key, f in fragments)
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO fragments VALUES (?, ?, ?, ?)", rows)

    def failures(self) -> dict[str, tuple[str, str]]:
        """Document id → (the key that could not be rendered, why)."""
        return {
            i: (key, why) for i, key, why in self._open().execute("SELECT id, key, message FROM failures")
        }

    def fail(self, failures: Iterable[tuple[str, str, str]]) -> None:
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", failures)

    def drop(self, identifiers: Collection[str]) -> None:
        with self._open() as connection:
            for table in ("fragments", "failures"):
                rows = [(identifier,) for identifier in identifiers]
                connection.executemany(f"DELETE FROM {table} WHERE id = ?", rows)  # noqa: S608 (our two names)

    def close(self) -> None:
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()
        self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            self._pid = os.getpid()
            try:
                self._connection = self._connect()
            except sqlite3.DatabaseError:
                self._file.unlink(missing_ok=True)
                self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        """Without fsync: a file that a power failure damages is made anew."""
        connection = sqlite3.connect(self._file)
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(_SCHEMA)
        return connection
