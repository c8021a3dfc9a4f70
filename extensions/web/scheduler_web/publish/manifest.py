"""What stands in one tree: every file, who made it, and from what."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scheduler_web.publish import store
from scheduler_web.publish.problems import Problem

VERSION = "tree 1"
Key = tuple[Any, ...]
"""One thing that a file was made from, such as ("doc", id) or ("asset", "css/site.css")."""


class Entry(NamedTuple):
    """`step` made it. `shape` numbers the list of keys that it was made from, `inputs` is their digest.

    A key's "@" in a shape stands for the entry's own `subject`.
    """

    size: int
    mtime_ns: int
    inode: int
    step: str
    digest: bytes
    shape: int
    inputs: bytes
    subject: str


@dataclass(kw_only=True)
class Manifest:
    """`entries` by path. `inputs` stands for everything the whole build was made from, `window` is the span
    of time (Unix seconds, from–before) in which no document falls due or expires. `failed` holds paths
    whose last rendering failed, `unfinished` the steps that have to run again."""

    entries: dict[str, Entry] = field(default_factory=dict)
    shapes: list[tuple[Key, ...]] = field(default_factory=list)
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    inputs: bytes = b""
    window: tuple[float, float] = (0.0, 0.0)
    unfinished: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        value = (
            {name: tuple(entry) for name, entry in self.entries.items()},
            self.shapes,
            {name: [tuple(p) for p in problems] for name, problems in self.problems.items()},
            self.inputs,
            self.window,
            self.unfinished,
        )
        store.save(path, VERSION, value)


def load(path: Path) -> Manifest | None:
    value: Any = store.load(path, VERSION)
    if value is None:
        return None
    entries, shapes, problems, inputs, window, unfinished = value
    return Manifest(
        entries={name: Entry._make(row) for name, row in entries.items()},
        shapes=shapes,
        problems={name: [Problem._make(row) for row in rows] for name, rows in problems.items()},
        inputs=inputs,
        window=window,
        unfinished=unfinished,
    )
