"""Text from job code made safe to send and to store: bounded, no NUL, no lone surrogate."""

from __future__ import annotations

import importlib
import json
import math
import traceback
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

LINE_LIMIT = 8_000
MESSAGE_LIMIT = 10_000
TRACEBACK_LIMIT = 32_000
FIELDS_LIMIT = 8_000
_DEPTH = 6
_IMPORTING = str(Path(importlib.__file__).parent)
_ENTRIES = 200


def clean(value: object, limit: int = MESSAGE_LIMIT) -> str:
    """At most `limit` characters, and what was cut off is said."""
    text = value if isinstance(value, str) else safe_str(value)
    length = len(text)
    kept = text[:limit].replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return kept if length <= limit else f"{kept}… [truncated: {length:,} characters in all]"


def clean_or_none(value: object, limit: int = MESSAGE_LIMIT) -> str | None:
    return None if value is None else clean(value, limit)


def safe_str(value: object) -> str:
    """str(value), whatever its `__str__` does."""
    try:
        return str.__str__(str(value))
    except BaseException as exc:  # a job's own class may raise anything, SystemExit too
        return f"<{type(value).__name__} whose str() raised {type(exc).__name__}>"


def describe(exc: BaseException) -> str:
    """`ValueError: text`, in a bounded line or few."""
    text = safe_str(exc)
    name = type(exc).__qualname__
    return clean(f"{name}: {text}" if text else name)


def place(exc: BaseException, *, ours: Container[str] = ()) -> str | None:
    """`file:line` of the code that raised it; None where that is in a file of ours, or in the importing."""
    if isinstance(exc, SyntaxError) and exc.filename and exc.lineno:
        return f"{exc.filename}:{exc.lineno}"
    frames = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(exc.__traceback__)
        if frame.filename not in ours and not frame.filename.startswith(("<", _IMPORTING))
    ]
    return frames[-1] if frames else None


def format_traceback(exc: BaseException, *, ours: Container[str] = ()) -> str:
    """The traceback, its middle left out where it is longer than TRACEBACK_LIMIT characters.

    `ours`: files whose frames are left out at its top, so that it starts with the extension's code.
    """
    trace = exc.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in ours:
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(exc), exc, trace))
    except BaseException as problem:  # a job's exception may have any __str__, __cause__ or __notes__
        text = "".join(traceback.format_tb(trace))
        text += f"{describe(exc)}\n(its traceback cannot be written in full: {type(problem).__name__})\n"
    if len(text) > TRACEBACK_LIMIT:
        half = TRACEBACK_LIMIT // 2
        text = f"{text[:half]}\n… [{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"
    return clean(text, TRACEBACK_LIMIT + 200)


def clean_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A log record's fields as plain JSON values, at most FIELDS_LIMIT characters in all."""
    if not fields:
        return {}
    cleaned = {clean(key, 100): _plain(value, _DEPTH) for key, value in list(fields.items())[:_ENTRIES]}
    size = len(json.dumps(cleaned))
    if size <= FIELDS_LIMIT:
        return cleaned
    share = FIELDS_LIMIT // (2 * len(cleaned))
    return {key: clean(json.dumps(value), share) for key, value in cleaned.items()}


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if depth and isinstance(value, Mapping):
        return {clean(key, 100): _plain(item, depth - 1) for key, item in list(value.items())[:_ENTRIES]}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth - 1) for item in list(value)[:_ENTRIES]]
    return clean(value, 2_000)
