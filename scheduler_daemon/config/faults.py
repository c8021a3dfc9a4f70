"""What pydantic finds wrong → our words, at the place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from scheduler_daemon.config.report import Report, did_you_mean, nearest, quoted
from scheduler_daemon.config.schema import Root
from scheduler_daemon.config.tree import Node, Place

Path = Sequence[str | int]

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def validate(root: Node, report: Report) -> Root | None:
    """The checked configuration; None, with everything wrong in `report`, where it is not usable."""
    try:
        return Root.model_validate(root.data())
    except ValidationError as error:
        known = report.places
        faults = error.errors(include_url=False, include_input=False)
        unknown = [fault["loc"] for fault in faults if fault["type"] == "extra_forbidden"]
        for fault in faults:
            if root.nearest(fault["loc"]).place not in known and not _misspelled(fault, unknown):
                report.error(*_explain(root, fault))
    return None


def _misspelled(fault: Any, unknown: Sequence[Path]) -> bool:
    """Whether a missing key is there after all, under a name that is reported as unknown."""
    path: Path = fault["loc"]
    siblings = [str(other[-1]) for other in unknown if other[:-1] == path[:-1]]
    return fault["type"] == "missing" and bool(nearest(str(path[-1]), siblings))


def _explain(root: Node, fault: Any) -> tuple[Place, str]:
    path: Path = fault["loc"]
    kind: str = fault["type"]
    node = root.nearest(path)
    context: dict[str, Any] = fault.get("ctx", {})
    if kind == "missing":
        return node.place, f"{quoted(str(path[-1]))} is missing{_of(path)}"
    if kind == "extra_forbidden":
        return _key_place(root, path), _unknown(root, path)
    name = _dotted(path)
    if kind == "ours":
        place = inside(node, context["column"])
        return place, masked(node, f"{name}: {context['message']}")
    wanted = context.get("wanted") or _WANTED.get(kind)
    if wanted:
        quote = wanted not in _WANTED.values() or wanted == "text"
        return node.place, f"{name} must be {wanted}, not {described(node, quote=quote)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        word = "at least" if kind.startswith("greater") else "at most"
        return node.place, f"{name} must be {word} {context.get('ge', context.get('le'))}"
    return node.place, masked(node, f"{name}: {fault['msg']}")


def inside(node: Node, column: int) -> Place:
    """The place of a scalar's `column`th character (from 1), where it can be told."""
    if node.inset is None:
        return node.place
    return node.place._replace(column=node.place.column + node.inset + column - 1)


def described(node: Node, *, quote: bool) -> str:
    """A value as a person would name it; `quote`: with the way to write it as text."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, tuple):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return f"the text {quoted(node.text)}"
    kind = "the boolean" if isinstance(node.value, bool) else "the number"
    hint = f" ({quoted(node.text)} in quotes is text)" if quote and node.text else ""
    return f"{kind} {node.text}{hint}"


def masked(node: Node, message: str) -> str:
    """The message without the secrets that references brought in, here or below."""
    for one in node.walk():
        if isinstance(one.value, str) and one.value and one.value != one.text:
            message = message.replace(one.value, one.text)
    return message


def _key_place(root: Node, path: Path) -> Place:
    parent = root.find(*path[:-1])
    entry = parent.entries.get(str(path[-1])) if parent else None
    return entry.key if entry else root.nearest(path).place


def _unknown(root: Node, path: Path) -> str:
    name = str(path[-1])
    known = _keys(path[:-1])
    present = (root.find(*path[:-1]) or root).entries
    hint = did_you_mean(name, [key for key in known if key not in present])
    homes = [] if hint else _homes(name)
    if homes:
        hint = f" (it belongs into {' or '.join(homes)})"
    return f"unknown key {quoted(name)}{_of(path)}{hint}"


def _of(path: Path) -> str:
    inside_of = _dotted(path[:-1]) if len(path) > 1 else ""
    return f" in {inside_of}" if inside_of else ""


def _dotted(path: Path) -> str:
    """scheduler.jobs[3].dst.gap → dst.gap: the place says which job."""
    parts = list(path)
    if parts[:2] == ["scheduler", "jobs"] and len(parts) > 3:
        parts = parts[3:]
    elif parts[:2] == ["scheduler", "defaults"] and len(parts) > 2:
        parts = parts[2:]
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _keys(path: Path) -> list[str]:
    model = _model(Root, [part for part in path if isinstance(part, str)])
    return [*model.model_fields, *(["includes"] if not path else [])] if model else []


def _model(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    for part in path:
        field = model.model_fields.get(part)
        below = next(_models(field), None) if field else None
        if below is None:
            return None
        model = below
    return model


def _models(field: FieldInfo) -> Iterator[type[BaseModel]]:
    waiting: list[Any] = [field.annotation]
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            yield one
        waiting.extend(get_args(one))


def _homes(name: str) -> list[str]:
    """Where else a key of that name lives."""
    found: list[str] = []
    waiting: list[tuple[str, type[BaseModel]]] = [("", Root)]
    while waiting:
        where, model = waiting.pop()
        if name in model.model_fields:
            found.append(where or "the root")
        for key, field in model.model_fields.items():
            for below in _models(field):
                suffix = "[]" if key == "jobs" else ""
                waiting.append((f"{where}.{key}{suffix}".removeprefix("."), below))
    return sorted(found)
