"""The application: the table of routes under FastAPI, and the one place where errors are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from scheduler_daemon import __version__
from scheduler_daemon.control import problems
from scheduler_daemon.control.events import MEDIA_TYPE, SCHEMA
from scheduler_daemon.control.gate import Gate
from scheduler_daemon.control.routes import Route, routes
from scheduler_daemon.control.values import Problem
from scheduler_daemon.errors import SchedulerError
from scheduler_daemon.operations import Operations

DESCRIPTION = """Control of a scheduler-daemon over its Unix socket. Peer credentials decide who may do what.
Errors are problem details (RFC 9457) with a stable `code`; live streams are server-sent events."""
ALWAYS = (400, 403, 422, 503)
MEANINGS: Mapping[int, str] = {
    400: "The request is not one that this API knows",
    403: "The caller may not do this",
    404: "There is no such job, or run",
    409: "Something is in the way",
    422: "A value is not valid",
    503: "The database is away, or there are too many connections",
}
log = structlog.get_logger(__name__)


class Api(FastAPI):
    """FastAPI, whose own description has every refusal as plain JSON."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        answers = (
            answer
            for methods in document["paths"].values()
            for operation in methods.values()
            for status, answer in operation["responses"].items()
            if int(status) >= 400
        )
        for answer in answers:
            if "schema" in answer["content"].get("application/json", {}):
                answer["content"] = {problems.MEDIA_TYPE: answer["content"]["application/json"]}
        return document


def application(operations: Operations) -> Gate:
    """The whole API behind its gate."""
    app = Api(
        title="scheduler-daemon control",
        version=__version__,
        description=DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            SchedulerError: _write,
            RequestValidationError: _write,
            HTTPException: _write,
            Exception: _write,
        },
    )
    for route in routes(operations):
        _add(app, route)
    return Gate(app)


def _add(app: FastAPI, route: Route) -> None:
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": MEANINGS[status]} for status in (*ALWAYS, *route.refusals)
    }
    success: dict[str, Any] = {"description": "Done"}
    if route.answer is None:
        success["content"] = {
            route.media_type: {"schema": _SCHEMAS.get(route.media_type, {"type": "string"})}
        }
    if route.streams:
        refusals[200] = {"description": "Its events", "content": {MEDIA_TYPE: {"schema": SCHEMA}}}
    app.add_api_route(
        route.path,
        route.handler,
        methods=[route.method],
        response_model=route.answer,
        status_code=route.status,
        responses={**refusals, route.status: success},
        operation_id=route.handler.__qualname__.replace("Routes.", "_").lower(),
    )


_SCHEMAS = {MEDIA_TYPE: SCHEMA}


async def _write(request: Request, error: Exception) -> JSONResponse:
    """Every error on its way to a client comes through here."""
    headers: Mapping[str, str] | None = None
    if isinstance(error, SchedulerError):
        document = problems.problem_of(error)
    elif isinstance(error, RequestValidationError):
        document = _invalid(error)
    elif isinstance(error, HTTPException):
        document = problems.problem(
            error.status_code, _CODES.get(error.status_code, "http"), str(error.detail)
        )
        headers = error.headers
    else:
        document = problems.problem(500, "internal", "an error of the daemon's own; its log has the details")
    if document["status"] >= 500 and document["code"] == "internal":
        log.error("a request failed", path=request.url.path, exc_info=error)
    return JSONResponse(document, document["status"], headers, media_type=problems.MEDIA_TYPE)


_CODES = {400: "bad-request", 404: "unknown-path", 405: "method-not-allowed"}


def _invalid(error: RequestValidationError) -> dict[str, Any]:
    faults = [
        {
            "where": ".".join(map(str, one["loc"])),
            "message": str(one["msg"]).removeprefix("Value error, "),
        }
        for one in error.errors()
    ]
    detail = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
    return problems.problem(422, "invalid-request", detail, {"faults": faults})
