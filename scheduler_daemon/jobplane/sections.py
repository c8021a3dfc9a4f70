"""What an extension's models say about a section or about parameters: an instance, or what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

Path = tuple[str | int, ...]


class MismatchError(ValueError):
    """`problems` are (path to the value, what is wrong with it); never the value: it may be a secret."""

    def __init__(self, problems: list[tuple[Path, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{'.'.join(map(str, path)) or 'all'}: {text}" for path, text in problems))


def build(model: Any, data: Mapping[str, Any]) -> Any:
    """An instance of `model`, or a plain dict where it is None. Raises MismatchError."""
    if model is None:
        return copy.deepcopy(dict(data)) if data else {}
    try:
        return _adapter(model).validate_python(dict(data))
    except ValidationError as exc:
        raise MismatchError([_problem(error, data) for error in exc.errors(**_BRIEF)]) from None


_BRIEF: dict[str, Any] = {"include_url": False, "include_input": False, "include_context": False}


def schema(model: Any) -> dict[str, Any] | None:
    """Its JSON schema; None where there is no model, or one that has types JSON cannot describe."""
    if model is None:
        return None
    try:
        return _adapter(model).json_schema()
    except PydanticUserError:
        return None


@cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _problem(error: Any, data: Any) -> tuple[Path, str]:
    """The location without what pydantic adds to it (union members, validators)."""
    path: list[str | int] = []
    for part in error["loc"]:
        inside = _has(data, part)
        if inside or (error["type"] == "missing" and part == error["loc"][-1]):
            path.append(part)
        if inside:
            data = data[part]
    return tuple(path), error["msg"][:1].lower() + error["msg"][1:]


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
