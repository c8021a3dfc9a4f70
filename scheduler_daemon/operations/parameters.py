"""Parameters of a run by hand, against the JSON Schema of the job's model: what the daemon can tell at once.

The job plane checks them again with the model itself; this answers before a run is made of a typing mistake.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from scheduler_daemon.errors import InvalidParametersError
from scheduler_daemon.operations.views import nearest

Schema = Mapping[str, Any]
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
_WORDS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}
HIDDEN = "***"
DEPTH = 8
_AN = {"integer": "an integer", "array": "an array", "object": "an object"}


def checked(job: str, given: Mapping[str, Any], schema: Schema | None) -> dict[str, Any]:
    """`given` with texts read as what the schema wants. Raises InvalidParametersError naming each mistake."""
    if schema is None:
        return dict(given)
    properties: Mapping[str, Any] = schema.get("properties", {})
    mistakes = list(_unknown(job, given, schema))
    found: dict[str, Any] = {}
    for name, value in given.items():
        shape = _resolved(properties.get(name, {}), schema)
        try:
            found[name] = _read(value, shape, schema)
        except ValueError as error:
            mistakes.append(f"{name}: {error}")
    if mistakes:
        raise InvalidParametersError("; ".join(mistakes))
    return found


def masked(parameters: Mapping[str, Any], schema: Schema | None) -> dict[str, Any]:
    """What may be shown: those that their model calls secret (writeOnly, or format password) as ***."""
    properties: Mapping[str, Any] = (schema or {}).get("properties", {})
    secret = {name for name, shape in properties.items() if _secret(shape, schema or {})}
    return {name: HIDDEN if name in secret else value for name, value in parameters.items()}


def hidden(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Where nobody knows any more which of them are secret."""
    return dict.fromkeys(parameters, HIDDEN)


def _secret(shape: Any, schema: Schema, depth: int = 0) -> bool:
    """Wherever in the shape a secret is called so; models may hold themselves."""
    if depth > DEPTH:
        return False
    if isinstance(shape, list):
        return any(_secret(one, schema, depth + 1) for one in shape)
    if not isinstance(shape, Mapping):
        return False
    if shape.get("writeOnly") or shape.get("format") == "password":
        return True
    inside = [shape.get(key) for key in ("anyOf", "allOf", "items", "additionalProperties")]
    if "$ref" in shape:
        inside.append(list(_resolved(shape, schema).get("properties", {}).values()))
    return any(_secret(one, schema, depth + 1) for one in inside)


def _unknown(job: str, given: Mapping[str, Any], schema: Schema) -> Iterator[str]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    if schema.get("additionalProperties"):
        return
    for name in given:
        if name not in properties:
            near = nearest(name, list(properties))
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            allowed = f" (it has: {', '.join(properties)})" if properties and not near else ""
            yield f'"{job}" has no parameter "{name}"{hint}{allowed}'


def _read(value: Any, shape: Schema, schema: Schema) -> Any:
    """The value, or what its text means under one of the types that the schema allows."""
    kinds = list(_types(shape, schema))
    if not kinds or "format" in shape:
        return value
    if isinstance(value, str) and "string" not in kinds:
        value = _from_text(value, kinds)
    if not any(_is(value, kind) for kind in kinds):
        wanted = " or ".join(_AN.get(kind, f"a {kind}") for kind in kinds if kind != "null")
        raise ValueError(f"{json.dumps(value)} is not {wanted}")
    _within(value, shape, schema)
    return value


def _from_text(text: str, kinds: list[str]) -> Any:
    if "boolean" in kinds and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _types(shape: Schema, schema: Schema) -> Iterator[str]:
    """Every type name; none where the schema says nothing that is understood here."""
    if isinstance(shape.get("type"), str) and shape["type"] in _KINDS:
        yield shape["type"]
    for option in shape.get("anyOf", ()):
        yield from _types(_resolved(option, schema), schema)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    whole = kind == "integer" and isinstance(value, float) and value.is_integer()
    return whole or isinstance(value, _KINDS[kind])


def _within(value: Any, shape: Schema, schema: Schema) -> None:
    options = [_resolved(option, schema) for option in shape.get("anyOf", ())] or [shape]
    for option in options:
        allowed = option.get("enum")
        if allowed is not None and value not in allowed:
            raise ValueError(f"{json.dumps(value)} is not one of {', '.join(map(str, allowed))}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if value < option.get("minimum", value):
            raise ValueError(f"{value} is less than {option['minimum']}")
        if value > option.get("maximum", value):
            raise ValueError(f"{value} is more than {option['maximum']}")


def _resolved(shape: Schema, schema: Schema) -> Schema:
    """A reference into the schema's own definitions, followed."""
    reference = shape.get("$ref", "")
    if not reference.startswith("#/$defs/"):
        return shape
    definition: Schema = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
    return definition
