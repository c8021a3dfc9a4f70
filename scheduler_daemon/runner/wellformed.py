"""Whether what a worker says has the shape that wire.py describes.

The code of a job shares a process with our own: nothing that comes from there is taken on trust. A value
that PostgreSQL would refuse, once in a batch, would hold up everything behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.jobplane.wire import Message

LARGEST = 2**63 - 1
"""PostgreSQL's bigint."""
LATEST = 7_258_118_400.0
"""Unix seconds: the year 2200, which no schedule reaches."""
DEEPEST = 32
Check = Callable[[Any], bool]
Part = tuple[str, Check, bool]
"""A name in a message, what its value must be, and whether there must be one."""


def check(messages: Iterable[Message]) -> None:
    """Raises JobPlaneError for a message that no worker of ours would send. Unknown kinds pass unread."""
    for message in messages:
        kind = message["t"]
        if not isinstance(kind, str):
            raise JobPlaneError("a worker's message has no kind")
        if name := _wrong(message, _SHAPES.get(kind, ())):
            raise JobPlaneError(f"a worker's message {kind!r} is not well-formed: {name}")


def _wrong(values: Mapping[str, Any], parts: Sequence[Part]) -> str | None:
    """The name of the first part that is not as it must be."""
    for name, right, required in parts:
        value = values.get(name)
        if required if value is None else not right(value):
            return name
    return None


def _text(value: Any) -> bool:
    """What UTF-8 and PostgreSQL can hold."""
    if not isinstance(value, str) or "\0" in value:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LATEST


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _whole(value: Any) -> bool:
    return isinstance(value, int)


def _object(value: Any) -> bool:
    return isinstance(value, dict) and _data(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _data(value: Any, depth: int = 0) -> bool:
    """What jsonb can hold."""
    if depth > DEEPEST:
        return False
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    if isinstance(value, Mapping):
        return all(_text(name) and _data(one, depth + 1) for name, one in value.items())
    if isinstance(value, list):
        return all(_data(one, depth + 1) for one in value)
    return True


def _steps(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(s, dict) and not _wrong(s, _STEP) for s in value)


_STEP: Sequence[Part] = (
    ("name", _text, True),
    ("status", _one_of("running", "succeeded", "failed"), True),
    ("duration_s", _time, True),
    ("error", _text, False),
)
_SHAPES: Mapping[str, Sequence[Part]] = {
    "started": (("id", _text, True), ("at", _time, True)),
    "step": (("id", _text, True), *_STEP),
    "progress": (
        ("id", _text, True),
        ("done", _whole, True),
        ("total", _whole, False),
        ("note", _text, True),
    ),
    "log": (
        ("id", _text, False),
        ("at", _time, True),
        ("level", _one_of("debug", "info", "warning", "error"), True),
        ("module", _text, True),
        ("message", _text, True),
        ("fields", _object, False),
    ),
    "outcome": (
        ("id", _text, True),
        ("status", _one_of("succeeded", "failed", "cancelled"), True),
        ("started_at", _time, False),
        ("finished_at", _time, True),
        ("items_processed", _count, False),
        ("items_failed", _count, False),
        ("message", _text, False),
        ("error", _text, False),
        ("traceback", _text, False),
        ("reason", _text, False),
        ("steps", _steps, False),
        ("logs_dropped", _count, False),
    ),
    "returned": (("ids", _texts, True),),
    "leaving": (("reason", _text, False),),
}
