"""One YAML file → a tree with places. Nothing is guessed: what is doubtful is an error.

The tree is built from the parser's events, not by recursion, so that depth and size are ours to bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import Reader

from scheduler_daemon.config import scalars
from scheduler_daemon.config.report import Report, quoted
from scheduler_daemon.config.tree import Entry, Node, Place, mapping, sequence
from scheduler_daemon.config.wording import explain

DEEPEST = 50
LARGEST = 500_000

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(file: Path, text: str, report: Report) -> Node | None:
    """The file's tree, or None where it is empty or cannot be read; mistakes go to `report`."""
    place = _unprintable(file, text)
    if place:
        report.error(place, "a control character does not belong into YAML")
        return None
    try:
        return _Builder(file, text, report).build()
    except yaml.MarkedYAMLError as error:
        where, message = explain(error, text)
        report.error(Place(file=file, line=where.line + 1, column=where.column + 1), message)
    except yaml.YAMLError as error:
        report.error(Place(file=file), f"not valid YAML: {error}")
    except _TooMuchError as error:
        report.error(error.place, str(error))
    return None


def _unprintable(file: Path, text: str) -> Place | None:
    bad = Reader.NON_PRINTABLE.search(text)
    if bad is None:
        return None
    before = text[: bad.start()]
    return Place(file=file, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))


class _TooMuchError(Exception):
    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


@dataclass(kw_only=True, slots=True)
class _Open:
    """A mapping or sequence whose end has not come yet."""

    place: Place
    anchor: str | None
    keyed: bool
    key: Node | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    merged: list[Node] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)


class _Builder:
    def __init__(self, file: Path, text: str, report: Report) -> None:
        self._file = file
        self._text = text
        self._report = report
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._size = 0
        self._root: Node | None = None
        self._documents = 0

    def build(self) -> Node | None:
        for event in self._events():
            self._take(event)
        return self._root

    def _events(self) -> Iterator[Any]:
        loader = _Loader(self._text)
        try:
            while loader.check_event():
                yield loader.get_event()
        finally:
            loader.dispose()

    def _take(self, event: Any) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents == 2:
                    self._report.error(self._place(event), "a second document starts here: a file holds one")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._begin(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.ScalarEvent():
                self._put(self._scalar(event), event.anchor)
            case yaml.AliasEvent():
                self._put(self._alias(event), None)

    def _begin(self, event: Any) -> None:
        place = self._place(event)
        self._check_tag(event.tag, place)
        if len(self._open) >= DEEPEST:
            raise _TooMuchError(place, f"nested more than {DEEPEST} deep")
        keyed = isinstance(event, yaml.MappingStartEvent)
        self._open.append(_Open(place=place, anchor=event.anchor, keyed=keyed))

    def _end(self) -> None:
        done = self._open.pop()
        if done.keyed:
            for source in done.merged:
                for name, entry in source.entries.items():
                    done.entries.setdefault(name, entry)
            self._put(mapping(done.place, done.entries), done.anchor)
        else:
            self._put(sequence(done.place, done.items), done.anchor)

    def _put(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            self._root = node if self._documents == 1 else self._root
            return
        inside = self._open[-1]
        if not inside.keyed:
            inside.items.append(node)
        elif inside.key is None:
            inside.key = node
        else:
            key, inside.key = inside.key, None
            self._enter(inside, key, node)

    def _enter(self, inside: _Open, key: Node, node: Node) -> None:
        if key.plain and scalars.implied_tag(key.text) == scalars.MERGE:
            self._merge(inside, key, node)
        elif not isinstance(key.value, str):
            hint = f"write {quoted(key.text)}" if key.text else "this one is not text"
            self._report.error(key.place, f"keys are strings: {hint}")
        elif key.value in inside.entries:
            first = inside.entries[key.value].key.line
            self._report.error(
                key.place, f"{quoted(key.value)} is given twice in one mapping, first in line {first}"
            )
        else:
            inside.entries[key.value] = Entry(key=key.place, node=node)

    def _merge(self, inside: _Open, key: Node, node: Node) -> None:
        sources = node.items or (node,)
        if inside.merged:
            self._report.error(key.place, '"<<" is given twice in one mapping: give it a list')
        elif not all(isinstance(source.value, dict) for source in sources):
            self._report.error(node.place, '"<<" takes a mapping, or a list of mappings')
        else:
            inside.merged.extend(sources)

    def _scalar(self, event: Any) -> Node:
        place = self._place(event)
        text: str = event.value
        self._grow(1, place)
        self._check_tag(event.tag, place)
        tag = scalars.STRING
        if event.tag in scalars.KNOWN_TAGS:
            tag = event.tag
        elif event.implicit[0] and event.tag is None:
            tag = scalars.implied_tag(text)
        try:
            value = scalars.value(text, tag)
        except scalars.ScalarError as error:
            self._report.error(place, str(error))
            value = text
        if "\0" in text:
            self._report.error(place, "a NUL character cannot be kept")
        plain = event.implicit[0] and event.tag is None
        return Node(place=place, value=value, text=text, plain=plain, inset=self._inset(event))

    def _inset(self, event: Any) -> int | None:
        raw = self._text[event.start_mark.index : event.end_mark.index]
        offset = raw.find(event.value)
        return offset if event.value and offset >= 0 and "\n" not in raw else None

    def _alias(self, event: Any) -> Node:
        place = self._place(event)
        node = self._anchors.get(event.anchor)
        if node is None:
            itself = any(one.anchor == event.anchor for one in self._open)
            why = "contains itself" if itself else "is not defined above"
            self._report.error(
                place, f"the alias *{event.anchor} {why} (a text that starts with * must be in quotes)"
            )
            return Node(place=place, value=None)
        self._grow(node.size, place)
        if len(self._open) + node.height > DEEPEST:
            raise _TooMuchError(place, f"nested more than {DEEPEST} deep")
        return node

    def _grow(self, size: int, place: Place) -> None:
        self._size += size
        if self._size > LARGEST:
            raise _TooMuchError(place, f"more than {LARGEST:,} values, aliases counted out in full")

    def _check_tag(self, tag: str | None, place: Place) -> None:
        if tag is not None and tag != "!" and tag not in scalars.KNOWN_TAGS:
            self._report.error(place, f"the tag {quoted(tag)} is not supported here")

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(file=self._file, line=mark.line + 1, column=mark.column + 1)
