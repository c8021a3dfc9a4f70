"""Secrets that stand in the files as they are: a stored revision would keep them for readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scheduler_daemon.config.loading import Loaded
from scheduler_daemon.config.references import stand_ins
from scheduler_daemon.config.report import problem
from scheduler_daemon.config.tree import Node
from scheduler_daemon.errors import Problem
from scheduler_daemon.model import Catalogue

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]


def plain_secrets(loaded: Loaded, catalogue: Catalogue) -> tuple[Problem, ...]:
    """Errors about values without a reference where an extension's model wants a `SecretStr`."""
    return tuple(
        problem(
            node.place,
            f"{'.'.join(map(str, path))} holds a secret in plain text: "
            "put ${env:NAME} or ${credential:NAME} there",
        )
        for start, schema, where in _models(loaded, catalogue)
        for path, node in _Secrets(schema).find(loaded.tree.find(*loaded.path(where)), start)
        if node.value not in (None, "") and stand_ins(node.text, "") == node.text
    )


def _models(loaded: Loaded, catalogue: Catalogue) -> Iterator[tuple[Path, Schema, Path]]:
    """(how a mistake is told, JSON schema, where the value stands) of every section and all parameters."""
    for extension in catalogue.extensions:
        if extension.config_schema:
            path = ("extensions", extension.name)
            yield path, extension.config_schema, path
    for job in loaded.settings.jobs:
        info = catalogue.find(job.extension, job.job)
        if info and info.parameters_schema:
            yield ("parameters",), info.parameters_schema, ("scheduler", "jobs", job.name, "parameters")


class _Secrets:
    def __init__(self, schema: Schema) -> None:
        self._root = schema

    def find(
        self, node: Node | None, path: Path, schema: Schema | None = None
    ) -> Iterator[tuple[Path, Node]]:
        """The scalars below `node` that the schema says are secret: pydantic marks them as write-only."""
        if node is None:
            return
        variants = list(self._variants(self._root if schema is None else schema))
        if not node.entries and not node.items:
            if any(variant.get("writeOnly") for variant in variants):
                yield path, node
            return
        for part, below in self._children(node):
            inner = [found for variant in variants for found in _below(variant, part)]
            yield from self.find(below, (*path, part), {"anyOf": inner})

    def _variants(self, schema: Schema) -> Iterator[Schema]:
        """The schema with all that it refers to or is made of."""
        yield schema
        reference = schema.get("$ref")
        if reference:
            yield from self._variants(self._root["$defs"][reference.rpartition("/")[2]])
        for kind in ("anyOf", "oneOf", "allOf"):
            for one in schema.get(kind, ()):
                yield from self._variants(one)

    def _children(self, node: Node) -> Iterator[tuple[str | int, Node]]:
        yield from ((name, entry.node) for name, entry in node.entries.items())
        yield from enumerate(node.items)


def _below(schema: Schema, part: str | int) -> Iterator[Schema]:
    """The schemas that a value at `part` of one of this schema may have."""
    if isinstance(part, int):
        found = [schema.get("items"), *schema.get("prefixItems", ())]
    else:
        found = [schema.get("properties", {}).get(part), schema.get("additionalProperties")]
    yield from (one for one in found if isinstance(one, Mapping))
