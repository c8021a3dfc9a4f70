"""Whether what a worker says has the shape that wire.py describes.

The code of a job shares a process with our own: nothing that comes from there is taken on trust. A value
that PostgreSQL would refuse, once in a batch, would hold up everything behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.jobplane.wire import Message

LARGEST = 2**63 - 1
"""PostgreSQL's bigint."""
LATEST = 7_258_118_400.0
"""Unix seconds: the year 2200, which no schedule reaches."""
DEEPEST = 32
Check = Callable[[Any], bool]


def check(messages: Iterable[Message]) -> None:
    """Raises JobPlaneError for a message that no worker of ours would send. Unknown kinds pass unread."""
    for message in messages:
        kind = message["t"]
        if not isinstance(kind, str):
            raise JobPlaneError("a worker's message has no kind")
        for name, right in _SHAPES.get(kind, {}).items():
            if not right(message.get(name)):
                raise JobPlaneError(f"a worker's message {kind!r} is not well-formed: {name}")


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


def _or_none(right: Check) -> Check:
    return lambda value: value is None or right(value)


def _one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


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
    return isinstance(value, list) and all(
        isinstance(step, dict) and all(right(step.get(name)) for name, right in _STEP.items())
        for step in value
    )


_STEP: Mapping[str, Check] = {
    "name": _text,
    "status": _one_of("running", "succeeded", "failed"),
    "duration_s": _time,
    "error": _or_none(_text),
}
_SHAPES: Mapping[str, Mapping[str, Check]] = {
    "started": {"id": _text, "at": _time},
    "step": {"id": _text, **_STEP},
    "progress": {
        "id": _text,
        "done": lambda value: isinstance(value, int),
        "total": _or_none(lambda value: isinstance(value, int)),
        "note": _text,
    },
    "log": {
        "id": _or_none(_text),
        "at": _time,
        "level": _one_of("debug", "info", "warning", "error"),
        "module": _text,
        "message": _text,
        "fields": _or_none(lambda value: isinstance(value, dict) and _data(value)),
    },
    "outcome": {
        "id": _text,
        "status": _one_of("succeeded", "failed", "cancelled"),
        "started_at": _or_none(_time),
        "finished_at": _time,
        "items_processed": _or_none(_count),
        "items_failed": _or_none(_count),
        "message": _or_none(_text),
        "error": _or_none(_text),
        "traceback": _or_none(_text),
        "reason": _or_none(_text),
        "steps": _or_none(_steps),
        "logs_dropped": _or_none(_count),
    },
    "returned": {"ids": _texts},
    "leaving": {"reason": _or_none(_text)},
}
