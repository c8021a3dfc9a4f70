"""Errors on the wire: RFC 9457 problem details, written in one place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from scheduler_daemon.errors import (
    CollisionError,
    ConfigurationError,
    DatabaseUnavailableError,
    RequestError,
    SchedulerError,
    UnknownJobError,
)

MEDIA_TYPE = "application/problem+json"


def problem(status: int, code: str, detail: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A problem document. `code` is stable, for programs; `detail` is one clear line for a person."""
    return {
        "type": f"urn:problem-type:scheduler-daemon:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **(more or {}),
    }


def problem_of(error: SchedulerError) -> dict[str, Any]:
    if isinstance(error, RequestError):
        return problem(error.status, error.code, str(error), _more(error))
    if isinstance(error, DatabaseUnavailableError):
        return problem(503, "database-away", str(error))
    if isinstance(error, ConfigurationError):
        more = {"problems": [asdict(one) for one in error.problems]}
        return problem(422, "configuration", str(error), more)
    return problem(500, "internal", str(error))


def response_bytes(status: int, code: str, detail: str) -> bytes:
    """A whole HTTP/1.1 response that closes the connection, for where no handler is reached."""
    body = json.dumps(problem(status, code, detail)).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def _more(error: RequestError) -> Mapping[str, Any]:
    if isinstance(error, CollisionError):
        return {"blocking": error.blocking}
    if isinstance(error, UnknownJobError):
        return {"nearest": list(error.nearest)}
    return {}
