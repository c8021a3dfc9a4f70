"""Configuration as a tree in which every value, and every key, knows its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

Scalar = str | int | float | bool | None


class Place(NamedTuple):
    """A point in a file; line and column start at 1, columns count characters."""

    file: Path
    line: int = 1
    column: int = 1


@dataclass(kw_only=True, slots=True)
class Node:
    """One value; not changed once it is there (but not frozen: that costs a large file a third of a second).

    `text` is a scalar as written (references to secrets unexpanded).

    `inset` is the number of columns from `place` to the text's first character (1 where it is in quotes),
    or None where the text does not stand in the file as it is (escapes, several lines).
    """

    place: Place
    value: Scalar | tuple[Node, ...] | dict[str, Entry]
    text: str = ""
    plain: bool = False
    inset: int | None = None
    size: int = 1
    height: int = 1

    @property
    def entries(self) -> dict[str, Entry]:
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> tuple[Node, ...]:
        return self.value if isinstance(self.value, tuple) else ()

    @property
    def empty(self) -> bool:
        return self.value is None

    def child(self, part: str | int) -> Node | None:
        if isinstance(part, int):
            return self.items[part] if 0 <= part < len(self.items) else None
        entry = self.entries.get(part)
        return entry.node if entry else None

    def find(self, *path: str | int) -> Node | None:
        node: Node | None = self
        for part in path:
            node = node.child(part) if node else None
        return node

    def nearest(self, path: Sequence[str | int]) -> Node:
        """The node at `path`, or the deepest one on the way to it.

        Parts that lead nowhere are passed over: a validator's path also names things that no file has.
        """
        node = self
        for part in path:
            node = node.child(part) or node
        return node

    def data(self) -> Any:
        """The same as plain dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {name: entry.node.data() for name, entry in self.value.items()}
        if isinstance(self.value, tuple):
            return [item.data() for item in self.value]
        return self.value

    def walk(self) -> Iterator[Node]:
        yield self
        for entry in self.entries.values():
            yield from entry.node.walk()
        for item in self.items:
            yield from item.walk()


@dataclass(kw_only=True, slots=True)
class Entry:
    """A key's place and its value."""

    key: Place
    node: Node


def mapping(place: Place, entries: Mapping[str, Entry]) -> Node:
    nodes = [entry.node for entry in entries.values()]
    return _collection(place, dict(entries), nodes)


def sequence(place: Place, items: Sequence[Node]) -> Node:
    return _collection(place, tuple(items), items)


def planted(place: Place, data: Any) -> Node:
    """Plain data as a tree whose every node is at `place`."""
    if isinstance(data, dict):
        return mapping(place, {str(k): Entry(key=place, node=planted(place, v)) for k, v in data.items()})
    if isinstance(data, list):
        return sequence(place, [planted(place, item) for item in data])
    return Node(place=place, value=data, text=str(data))


def _collection(place: Place, value: Any, nodes: Sequence[Node]) -> Node:
    return Node(
        place=place,
        value=value,
        size=1 + sum(node.size for node in nodes),
        height=1 + max((node.height for node in nodes), default=0),
    )
