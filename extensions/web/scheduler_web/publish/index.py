"""What ingestion knows from its last run: files as they were read, and the documents they gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from scheduler_web.publish import store
from scheduler_web.publish.documents import Document
from scheduler_web.publish.problems import Problem

VERSION = "index 1"
Place = tuple[str, str]
"""(name of the source, path of the file in it)"""


@dataclass(kw_only=True)
class Index:
    """`files`: place → (size, mtime_ns, inode, hash). `key`: the configuration that shaped the documents.

    `errors` and `warnings` belong to files as they were last read; `conflicts` are between files.
    """

    key: bytes = b""
    stamp: tuple[int, int] = (-1, 0)
    files: dict[Place, tuple[int, int, int, str]] = field(default_factory=dict)
    docs: dict[str, Document] = field(default_factory=dict)
    errors: dict[Place, Problem] = field(default_factory=dict)
    warnings: dict[Place, list[Problem]] = field(default_factory=dict)
    conflicts: list[Problem] = field(default_factory=list)
    digest: bytes = b""

    def seal(self) -> None:
        """Set `digest`, which stands for all documents."""
        lines = [
            f"{d.id} {d.version} {d.source} {d.path} {d.url} {d.changed_at}\n" for d in self.docs.values()
        ]
        joined = "".join(sorted(lines)).encode("utf-8", "surrogatepass")
        self.digest = blake2b(self.key + joined, digest_size=16).digest()

    def save(self, path: Path) -> None:
        value = (
            self.key,
            self.stamp,
            self.files,
            [tuple(document) for document in self.docs.values()],
            {place: tuple(problem) for place, problem in self.errors.items()},
            {place: [tuple(p) for p in problems] for place, problems in self.warnings.items()},
            [tuple(problem) for problem in self.conflicts],
            self.digest,
        )
        store.save(path, VERSION, value)


def load(path: Path) -> Index:
    value: Any = store.load(path, VERSION)
    if value is None:
        return Index()
    key, stamp, files, docs, errors, warnings, conflicts, digest = value
    return Index(
        key=key,
        stamp=stamp,
        files=files,
        docs={row[0]: Document._make(row) for row in docs},
        errors={place: Problem._make(row) for place, row in errors.items()},
        warnings={place: [Problem._make(row) for row in rows] for place, rows in warnings.items()},
        conflicts=[Problem._make(row) for row in conflicts],
        digest=digest,
    )
