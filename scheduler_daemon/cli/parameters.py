"""What a job's parameters may be, in words: from the JSON schema of their model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

HEADS = ("PARAMETER", "KIND", "DEFAULT", "MEANING")
_BOUNDS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("exclusiveMaximum", "< {}"),
    ("minLength", "length ≥ {}"),
    ("maxLength", "length ≤ {}"),
    ("minItems", "size ≥ {}"),
    ("maxItems", "size ≤ {}"),
    ("pattern", "as {}"),
)
Schema = Mapping[str, Any]


def rows(schema: Schema | None) -> Iterator[tuple[str, str, str, str]]:
    """One for each parameter, under HEADS."""
    whole = schema or {}
    for name, one in whole.get("properties", {}).items():
        required = name in whole.get("required", ())
        default = "required" if required else _default(_resolved(one, whole))
        yield name, _kind(one, whole), default, " ".join(one.get("description", "").split())


def _default(one: Schema) -> str:
    if "default" not in one:
        return ""
    return "***" if one.get("writeOnly") else json.dumps(one["default"], ensure_ascii=False)


def _kind(one: Schema, whole: Schema) -> str:
    one = _resolved(one, whole)
    if "enum" in one:
        return " | ".join(map(str, one["enum"]))
    if "anyOf" in one:
        return " or ".join(_kind(choice, whole) for choice in one["anyOf"])
    if one.get("type") == "array" and "items" in one:
        text = f"list of {_kind(one['items'], whole)}"
    else:
        text = str(one.get("const", one.get("format", one.get("type", "anything"))))
    bounds = [form.format(one[key]) for key, form in _BOUNDS if key in one]
    return ", ".join((text, *bounds))


def _resolved(one: Schema, whole: Schema) -> Schema:
    """What a `$ref` leads to, with what stands beside it."""
    place = str(one.get("$ref", ""))
    if not place.startswith("#/$defs/"):
        return one
    return {**whole.get("$defs", {}).get(place.removeprefix("#/$defs/"), {}), **one, "$ref": ""}
