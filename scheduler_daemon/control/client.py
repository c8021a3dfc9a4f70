"""The CLI's side of the socket: synchronous, and cheap to import."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

VARIABLE = "SCHEDULER_DAEMON_SOCKET"
PLACES = ("var/run/control.sock", "/run/scheduler-daemon/control.sock")
TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5
STREAM_SILENCE_S = 60.0
"""The daemon sends at least a comment every 15 s."""
CROWDED = "too-many-connections"
TRIES = 20
PAUSE_S = 0.01
"""A crowd at the socket: nothing has been done yet, so asking again is safe."""
Answer = dict[str, Any]


class NoDaemonError(Exception):
    """No daemon answers; `tried` are the places where one was looked for, each with what was there."""

    def __init__(self, tried: Sequence[tuple[str, str]]) -> None:
        self.tried = tuple(tried)
        super().__init__("no daemon answers: " + ", ".join(f"{path} ({why})" for path, why in tried))


class DeniedError(Exception):
    """There is a socket that this user may not open."""


class ProblemError(Exception):
    """The daemon refused: an RFC 9457 problem. Its text is one clear line."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = dict(document)
        self.code = str(document.get("code", "unknown"))
        super().__init__(str(document.get("detail") or document.get("title") or "refused"))


class Client:
    """Talks to the daemon behind one socket, a connection for each request."""

    def __init__(self, path: str) -> None:
        self.path = path

    @classmethod
    def find(cls, option: str | None = None, environ: Mapping[str, str] = os.environ) -> Client:
        """The option, else $SCHEDULER_DAEMON_SOCKET, else the first of the usual places where one answers.

        Raises NoDaemonError with what was tried.
        """
        named = option or environ.get(VARIABLE)
        tried: list[tuple[str, str]] = []
        for place in [named] if named else _places(environ):
            try:
                _dial(place, TIMEOUT_S).close()
            except PermissionError as error:
                raise DeniedError(
                    f"you may not open {place}: the daemon's user, root and the group control.group may"
                ) from error
            except OSError as error:
                tried.append((place, _why(error)))
            else:
                return cls(place)
        raise NoDaemonError(tried)

    def get(self, path: str, **query: Any) -> Answer:
        """`query`: values that are None are left out, sequences are repeated. Raises ProblemError."""
        return self._answer("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        return self._answer("POST", path, body=body or {})

    def events(self, method: str, path: str, **more: Any) -> Iterator[Answer]:
        """The events of a stream, as they come; each has its kind under `event`.

        more: `query` or `body`, mappings. Raises ProblemError; NoDaemonError where the stream is cut.
        """
        connection, response = self._request(method, path, accept="text/event-stream", **more)
        try:
            yield from _events(response)
        except (OSError, http.client.HTTPException) as error:
            raise NoDaemonError([(self.path, f"the stream broke off: {error}")]) from error
        finally:
            connection.close()

    def _answer(self, method: str, path: str, **more: Any) -> Answer:
        connection, response = self._request(method, path, accept="application/json", **more)
        try:
            answer: Answer = json.loads(response.read())
            return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoDaemonError([(self.path, f"the answer broke off: {error}")]) from error
        finally:
            connection.close()

    def _request(
        self,
        method: str,
        path: str,
        *,
        accept: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = path + ("?" + urlencode(given, doseq=True) if given else "")
        payload = None if body is None else json.dumps(body).encode()
        headers = {"accept": accept} | ({"content-type": "application/json"} if payload else {})
        for attempt in range(1, TRIES + 1):
            try:
                return self._try(method, target, payload, headers)
            except ProblemError as error:
                if error.code != CROWDED or attempt == TRIES:
                    raise
                time.sleep(attempt * PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def _try(
        self, method: str, target: str, payload: bytes | None, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        timeout_s = STREAM_SILENCE_S if "event" in headers["accept"] else TIMEOUT_S
        connection = _Connection(self.path, timeout_s)
        try:
            with contextlib.suppress(BrokenPipeError):  # sent away: the reason can be read
                connection.request(method, target, payload, headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise ProblemError(_document(response))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NoDaemonError([(self.path, _why(error))]) from error
        except BaseException:
            connection.close()
            raise
        return connection, response


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("scheduler-daemon", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = _dial(self._path, self._timeout_s)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _places(environ: Mapping[str, str]) -> Iterator[str]:
    yield PLACES[0]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield f"{runtime}/scheduler-daemon/control.sock"
    yield from PLACES[1:]


def _dial(path: str, timeout_s: float) -> socket.socket:
    """A full queue of a Unix socket refuses those who will not wait: so this waits, but not for ever."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", CONNECT_TIMEOUT_S, 0))
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    connection.settimeout(timeout_s)
    return connection


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "not there"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens"
    if isinstance(error, TimeoutError | BlockingIOError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _document(response: http.client.HTTPResponse) -> Answer:
    body = response.read()
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    return {"status": response.status, "code": "http", "detail": f"HTTP {response.status} {response.reason}"}


def _events(response: http.client.HTTPResponse) -> Iterator[Answer]:
    """Server-sent events as this daemon writes them: one `data` line each; comments are skipped."""
    for line in response:
        if line.startswith(b"data: "):
            event: Answer = json.loads(line[6:])
            yield event
