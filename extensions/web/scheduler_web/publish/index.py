"""What ingestion knows from its last run: files as they were read, and the documents they gave."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler_web.publish import store
from scheduler_web.publish.documents import Document
from scheduler_web.publish.problems import Problem, PublishError
from scheduler_web.publish.scan import FileStat

VERSION = "index 4"
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
    shards: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    _docs: dict[str, Document] | None = None
    _dirty: set[str] | None = field(default_factory=set)

    @property
    def docs(self) -> dict[str, Document]:
        """By id. Read only when asked for: a run that finds nothing changed does without."""
        if self._docs is None:
            kept = _documents.take(self.folder / "index")
            self._docs = kept if kept is not None else self._load()
        return self._docs

    def set_docs(self, docs: dict[str, Document], touched: Iterable[str] | None = None) -> None:
        """Replace the documents, of which only those `touched` are new, changed or gone (None: any)."""
        self._docs = docs
        self.digest = secrets.token_bytes(16)
        self.changed = True
        if touched is None or self._dirty is None:
            self._dirty = None
        else:
            self._dirty |= {identifier[:1] for identifier in touched}

    def save(self) -> None:
        if not self.changed:
            return
        if self._dirty is None or self._dirty:
            self._save_shards(self._dirty)
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
            self.shards,
        )
        store.save(self.folder / "index", VERSION, value)
        self.changed, self._dirty = False, set()

    def _save_shards(self, dirty: set[str] | None) -> None:
        """Documents lie in a few files by the first letter of their id: an edit writes one of them."""
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in dirty or self.shards}
        for identifier, document in self.docs.items():
            name = identifier[:1]
            if dirty is None or name in dirty:
                rows.setdefault(name, []).append(tuple(document))
        for name, members in rows.items():
            file = self._shard(name)
            store.save(file, VERSION, members)
            self.shards[name] = store.stat_of(file) or (0, 0, 0)

    def _load(self) -> dict[str, Document]:
        docs = {}
        for name in self.shards:
            rows = store.load(self._shard(name), VERSION)
            if rows is None:
                (self.folder / "index").unlink(missing_ok=True)
                raise PublishError(f"{self._shard(name)} was damaged; the next run reads every document anew")
            docs.update({row[0]: Document._make(row) for row in rows})
        return docs

    def _shard(self, name: str) -> Path:
        return self.folder / f"documents-{name}"

    def keep(self) -> None:
        """For the next run of this process."""
        if self._docs is not None and not self.changed:
            _documents.keep(self.folder / "index", self._docs)


def load(folder: Path) -> Index:
    value: Any = store.load(folder / "index", VERSION)
    if value is None or any(store.stat_of(folder / f"documents-{n}") != s for n, s in value[-1].items()):
        return Index(folder=folder, _docs={}, _dirty=None)
    key, stamp, stats, errors, warnings, conflicts, unrendered, renderer, digest, shards = value
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
        shards=shards,
    )
