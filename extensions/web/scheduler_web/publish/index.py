"""What ingestion knows from its last run: files as they were read, and the documents they gave."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler_web.publish import store
from scheduler_web.publish.documents import Document
from scheduler_web.publish.problems import Problem, PublishError
from scheduler_web.publish.scan import FileStat

VERSION = "index 2"
_documents = store.Kept()
Place = tuple[str, str]
"""(name of the source, path of the file in it)"""


@dataclass(kw_only=True)
class Index:
    """`stats`: each source's files as last seen. `key`: the configuration that shaped the documents.

    `errors` and `warnings` belong to files as they were last read, `conflicts` lie between files.
    `unrendered`: documents whose fragment is missing or of another version; `renderer`: what the fragments
    were made with. `digest` stands for all documents: it is new whenever one is.
    """

    folder: Path
    key: bytes = b""
    stamp: str = ""
    stats: dict[str, dict[str, FileStat]] = field(default_factory=dict)
    errors: dict[Place, Problem] = field(default_factory=dict)
    warnings: dict[Place, list[Problem]] = field(default_factory=dict)
    conflicts: list[Problem] = field(default_factory=list)
    unrendered: set[str] = field(default_factory=set)
    renderer: str = ""
    digest: bytes = b""
    changed: bool = False
    _docs: dict[str, Document] | None = None

    @property
    def docs(self) -> dict[str, Document]:
        """By id. Read only when asked for: a run that finds nothing changed does without."""
        if self._docs is None:
            file = self.folder / "documents"
            digest, docs = _documents.take(file) or _load_documents(file)
            if digest != self.digest:
                file.unlink(missing_ok=True)
                raise PublishError(f"{file} was damaged; the next run reads every document anew")
            self._docs = docs
        return self._docs

    @docs.setter
    def docs(self, docs: dict[str, Document]) -> None:
        self._docs = docs
        self.touch()

    def touch(self) -> None:
        """The documents are no longer those of the digest."""
        self.digest = secrets.token_bytes(16)
        self.changed = True

    def save(self) -> None:
        if not self.changed:
            return
        rows = [tuple(document) for document in self.docs.values()]
        store.save(self.folder / "documents", VERSION, (self.digest, rows))
        value = (
            self.key,
            self.stamp,
            self.stats,
            {place: tuple(problem) for place, problem in self.errors.items()},
            {place: [tuple(p) for p in problems] for place, problems in self.warnings.items()},
            [tuple(problem) for problem in self.conflicts],
            self.unrendered,
            self.renderer,
            self.digest,
            store.stat_of(self.folder / "documents"),
        )
        store.save(self.folder / "index", VERSION, value)
        self.changed = False

    def keep(self) -> None:
        """For the next run of this process."""
        if self._docs is not None and not self.changed:
            _documents.keep(self.folder / "documents", (self.digest, self._docs))


def load(folder: Path) -> Index:
    value: Any = store.load(folder / "index", VERSION)
    if value is None or value[-1] != store.stat_of(folder / "documents"):
        return Index(folder=folder, _docs={})
    key, stamp, stats, errors, warnings, conflicts, unrendered, renderer, digest, _ = value
    return Index(
        folder=folder,
        key=key,
        stamp=stamp,
        stats=stats,
        errors={place: Problem._make(row) for place, row in errors.items()},
        warnings={place: [Problem._make(row) for row in rows] for place, rows in warnings.items()},
        conflicts=[Problem._make(row) for row in conflicts],
        unrendered=unrendered,
        renderer=renderer,
        digest=digest,
    )


def _load_documents(file: Path) -> tuple[bytes, dict[str, Document]]:
    digest, rows = store.load(file, VERSION) or (b"", ())
    return digest, {row[0]: Document._make(row) for row in rows}
