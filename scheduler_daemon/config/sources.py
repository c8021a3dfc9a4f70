"""The configuration's files: read, followed through `includes:`, merged into one tree."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from scheduler_daemon.config.document import parse
from scheduler_daemon.config.report import Report, did_you_mean, quoted, shown
from scheduler_daemon.config.tree import Entry, Node, Place, mapping, sequence

LARGEST_FILE = 8 * 1024 * 1024
MOST_FILES = 200

Identity = tuple[int, int]


class Sources:
    """Reads one root file and all that it includes.

    `files` are absolute, in the order in which they take effect: a file's includes come before its own
    content.
    """

    def __init__(self, report: Report) -> None:
        self.files: list[Path] = []
        self._report = report
        self._seen: dict[Identity, Path] = {}
        self._chain: list[Identity] = []

    def read(self, file: Path) -> Node:
        """The merged tree of `file` (absolute) and its includes, without the key `includes`."""
        place = Place(file=file)
        return replace(self._follow(file, place) or mapping(place, {}), place=place)

    def _follow(self, file: Path, asked: Place) -> Node | None:
        identity = self._identify(file, asked)
        if identity is None:
            return None
        text = self._text(file, asked)
        node = parse(file, text, self._report) if text is not None else None
        self._chain.append(identity)
        merged = self._with_includes(file, node)
        self._chain.pop()
        self.files.append(file)
        return merged

    def _identify(self, file: Path, asked: Place) -> Identity | None:
        """Which file this is; None, with a report, where it cannot be had or was read before."""
        try:
            status = file.stat()
        except (OSError, ValueError) as error:
            self._report.error(asked, f"cannot read {shown(file)}: {_reason(error)}{_near(file)}")
            return None
        identity = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            self._report.error(asked, f"{shown(file)} is a folder: name a file in it")
        elif not stat.S_ISREG(status.st_mode):
            self._report.error(asked, f"{shown(file)} is not a regular file")
        elif identity in self._chain:
            chain = [self._seen[one] for one in self._chain[self._chain.index(identity) :]]
            way = " → ".join(shown(one) for one in [*chain, file])
            self._report.error(asked, f"includes go round in a circle: {way}")
        elif identity in self._seen:
            self._report.error(asked, f"{shown(file)} is included twice")
        elif len(self._seen) >= MOST_FILES:
            self._report.error(asked, f"more than {MOST_FILES} files")
        else:
            self._seen[identity] = file
            return identity
        return None

    def _text(self, file: Path, asked: Place) -> str | None:
        try:
            with file.open("rb") as stream:
                content = stream.read(LARGEST_FILE + 1)
        except OSError as error:
            self._report.error(asked, f"cannot read {shown(file)}: {_reason(error)}")
            return None
        if len(content) > LARGEST_FILE:
            self._report.error(Place(file=file), f"larger than {LARGEST_FILE // 1024**2} MiB")
            return None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = content[: error.start].rpartition(b"\n")
            line, column = before[0].count(b"\n") + bool(before[1]) + 1, len(before[2]) + 1
            self._report.error(Place(file=file, line=line, column=column), "not UTF-8 text")
            return None

    def _with_includes(self, file: Path, node: Node | None) -> Node:
        if node is None or node.empty:
            return mapping(Place(file=file), {})
        if not isinstance(node.value, dict):
            self._report.error(node.place, "a configuration file is a mapping: `key: value` lines")
            return mapping(Place(file=file), {})
        own = mapping(node.place, {k: e for k, e in node.entries.items() if k != "includes"})
        merged: Node | None = None
        for included in self._included(file, node.child("includes")):
            merged = merge(merged, included, self._report) if merged else included
        return merge(merged, own, self._report) if merged else own

    def _included(self, file: Path, includes: Node | None) -> list[Node]:
        if includes is None or includes.empty:
            return []
        if not isinstance(includes.value, tuple):
            self._report.error(includes.place, 'includes is a list of files, for instance ["jobs.yaml"]')
            return []
        nodes = (self._include(file, item) for item in includes.items)
        return [node for node in nodes if node is not None]

    def _include(self, file: Path, item: Node) -> Node | None:
        name = item.value
        if not isinstance(name, str) or not name:
            self._report.error(item.place, "an include is the path of a file")
        elif any(c in name for c in "*?[") or "${" in name:
            self._report.error(item.place, f"{quoted(name)}: includes are explicit files, not patterns")
        else:
            return self._follow(Path(os.path.normpath(file.parent / name)), item.place)
        return None


def merge(first: Node, second: Node, report: Report, path: str = "") -> Node:
    """Both trees in one: mappings merge, lists follow each other, anything else may be set only once."""
    if first.empty or second.empty:
        return second if first.empty else first
    if isinstance(first.value, tuple) and isinstance(second.value, tuple):
        return sequence(first.place, [*first.items, *second.items])
    if not (isinstance(first.value, dict) and isinstance(second.value, dict)):
        place = first.place
        report.error(
            second.place, f"{path} is set twice: also in {shown(place.file)}:{place.line}:{place.column}"
        )
        return first
    entries = dict(first.entries)
    for name, entry in second.entries.items():
        there = entries.get(name)
        below = f"{path}.{name}" if path else name
        entries[name] = (
            Entry(key=there.key, node=merge(there.node, entry.node, report, below)) if there else entry
        )
    return mapping(first.place, entries)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "not a possible file name"


def _near(file: Path) -> str:
    try:
        names = [one.name for one in file.parent.iterdir()]
    except (OSError, ValueError):
        return ""
    return did_you_mean(file.name, names)
