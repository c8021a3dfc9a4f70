"""Schemathesis against a real daemon: no 500, and every answer as the OpenAPI document says."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import hypothesis
import hypothesis.errors
import pytest
import requests
import schemathesis
from requests.adapters import HTTPAdapter
from schemathesis.specs.openapi.checks import positive_data_acceptance
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

Daemon = Any
BASE = "http://daemon"
JOBS = ("steps", "fails", "typed", "gone", "lost_code", "quick", "nope")
TIMEOUT_S = 60
MANY, FEW = 15, 2
NOT_SAID = [positive_data_acceptance]
"""A schema cannot say that schedules end in 2199, or that a text is a time."""


class _Connection(HTTPConnection):
    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self.path)


class _Adapter(HTTPAdapter):
    """requests over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = type("Connection", (_Connection,), {"path": path})
        self._pool = HTTPConnectionPool("daemon")
        self._pool.ConnectionCls = connection

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
        return self._pool

    def close(self) -> None:
        self._pool.close()


@pytest.fixture(scope="module")
def session(daemon: Daemon) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.mount("http://", _Adapter(str(daemon.socket)))
        yield made


@pytest.fixture(scope="module")
def api_schema(daemon: Daemon, session: requests.Session) -> Any:
    """Without the one stream that never ends; names of jobs and runs are mostly real ones."""
    daemon.run_to_end("steps")
    daemon.run_to_end("fails")
    runs = [one["id"] for one in daemon.client.get("/v1/runs")["runs"]]
    document = session.get(f"{BASE}/v1/openapi.json", timeout=TIMEOUT_S).json()
    del document["paths"]["/v1/logs/follow"]
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=BASE)

    @schema.hook
    def map_path_parameters(context: Any, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        """One in eight keeps what was made up."""
        for key, known in (("name", JOBS), ("run_id", runs)):
            made_up = (parameters or {}).get(key)
            if parameters and isinstance(made_up, str) and len(made_up) % 8 != 1:
                parameters[key] = known[len(made_up) % len(known)]
        return parameters

    return schema


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_every_answer_is_as_the_document_says(
    api_schema: Any, session: requests.Session, mode: schemathesis.GenerationMode
) -> None:
    """Valid requests, then invalid ones."""
    for found in api_schema.get_all_operations():
        operation = found.ok()
        examples = FEW if operation.path.startswith("/v1/reload") else MANY
        settings = hypothesis.settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )

        @settings
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(session=session, timeout=TIMEOUT_S, excluded_checks=NOT_SAID)

        with contextlib.suppress(hypothesis.errors.Unsatisfiable):
            check()


def test_the_openapi_document_is_complete(daemon: Daemon) -> None:
    document = daemon.client.get("/v1/openapi.json")
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["description"], where
            assert operation["operationId"].replace("_", "").isalnum(), where
            assert {"403", "503"} <= set(operation["responses"]), where
