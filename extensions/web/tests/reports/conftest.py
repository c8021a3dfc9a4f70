"""A local server that behaves as Discord's webhook API is documented, and a run on a real database."""

from __future__ import annotations

import json
import logging
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import scheduler_core
import scheduler_web
from pydantic import SecretStr
from scheduler_web.config import WebConfig
from scheduler_web.reports.jobs import ReportParameters

from scheduler_daemon.testing import MakeDatabase

WEB = Path(scheduler_web.__file__).parent / "migrations"
CORE = Path(scheduler_core.__file__).parent / "migrations"
TOKEN = "aVerySecretToken-42"
PATH = f"/api/webhooks/1234567890/{TOKEN}"
EVENING = datetime(2026, 11, 22, 19, tzinfo=UTC)


@dataclass
class Reply:
    """What the server answers instead of what is documented for a good message."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


@dataclass
class Message:
    payload: dict[str, Any]
    files: dict[str, bytes]
    query: dict[str, list[str]]


class Discord:
    """Its answers, in order, come from `replies`; then it accepts, five messages in two seconds."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.messages: list[Message] = []
        self.requests = 0
        self.times: list[float] = []
        self.limit = 5
        self.clock: Callable[[], float] = time.monotonic
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner._post(self)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def webhook(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.requests += 1
        if self.replies:
            reply = self.replies.pop(0)
            if reply.drop:
                request.connection.close()
                return
        else:
            reply = self._judge(request, body)
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        request.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _judge(self, request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        parts = urlsplit(request.path)
        if parts.path != PATH:
            if parts.path.startswith("/api/webhooks/1234567890/"):
                return Reply(401, {"message": "Invalid Webhook Token", "code": 50027})
            return Reply(404, {"message": "Unknown Webhook", "code": 10015})
        now = self.clock()
        self.times = [at for at in self.times if at > now - 2]
        if len(self.times) >= self.limit:
            wait = self.times[0] + 2 - now
            limited = {
                "message": "You are being rate limited.",
                "retry_after": round(wait, 3),
                "global": False,
            }
            return Reply(429, limited, {"Retry-After": "1", "X-RateLimit-Scope": "user"})
        self.times.append(now)
        message = _parse(request, body)
        message.query = parse_qs(parts.query)
        if errors := _errors(message):
            return Reply(400, {"message": "Invalid Form Body", "code": 50035, "errors": errors})
        self.messages.append(message)
        if message.query.get("wait") != ["true"]:
            return Reply(204, b"")
        return Reply(200, {"id": f"11{len(self.messages):05}", "type": 0, "content": ""})


def _parse(request: BaseHTTPRequestHandler, body: bytes) -> Message:
    head = f"Content-Type: {request.headers['Content-Type']}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    form = message_from_bytes(head + body, policy=policy.HTTP)
    found = Message({}, {}, {})
    for part in form.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content: Any = part.get_payload(decode=True)
        if name == "payload_json":
            found.payload = json.loads(content)
        else:
            found.files[name] = content
    return found


def _errors(message: Message) -> dict[str, Any]:
    """The documented limits, and the shape of the errors that Discord answers with."""
    embeds = message.payload.get("embeds", [])
    if not embeds and not message.payload.get("content"):
        return {"_errors": [{"code": "BASE_TYPE_REQUIRED", "message": "Cannot send an empty message"}]}
    found: dict[str, Any] = {}
    if len(embeds) > 10:
        found["embeds"] = _error("Must be 10 or fewer in length.")
    total = 0
    for number, embed in enumerate(embeds):
        wrong: dict[str, Any] = {}
        texts = {"title": 256, "description": 4096}
        for name, limit in texts.items():
            total += len(embed.get(name, ""))
            if len(embed.get(name, "")) > limit:
                wrong[name] = _error(f"Must be {limit} or fewer in length.")
        total += len(embed.get("footer", {}).get("text", ""))
        fields = embed.get("fields", [])
        if len(fields) > 25:
            wrong["fields"] = _error("Must be 25 or fewer in length.")
        for index, part in enumerate(fields):
            total += len(part["name"]) + len(part["value"])
            for name, limit in (("name", 256), ("value", 1024)):
                if not part[name]:
                    wrong.setdefault("fields", {})[str(index)] = {name: _error("This field is required")}
                elif len(part[name]) > limit:
                    text = f"Must be {limit} or fewer in length."
                    wrong.setdefault("fields", {})[str(index)] = {name: _error(text)}
        image = embed.get("image", {}).get("url", "")
        if image.startswith("attachment://") and not _attached(message, image.partition("//")[2]):
            wrong["image"] = {"url": _error("Referenced attachment not found")}
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", embed.get("timestamp", "")):
            wrong["timestamp"] = _error("Could not parse")
        if wrong:
            found.setdefault("embeds", {})[str(number)] = wrong
    if total > 6000:
        found.setdefault("embeds", {})["_errors"] = _error("Embed size exceeds maximum size of 6000")[
            "_errors"
        ]
    return found


def _attached(message: Message, name: str) -> bool:
    named = {entry["filename"]: f"files[{entry['id']}]" for entry in message.payload.get("attachments", [])}
    return named.get(name) in message.files


def _error(text: str) -> dict[str, Any]:
    return {"_errors": [{"code": "BASE_TYPE_BAD_LENGTH", "message": text}]}


@dataclass
class RecordedStep:
    name: str
    error: str | None = None

    def __enter__(self) -> RecordedStep:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.error = None if error is None else str(error)


@dataclass
class Recorder:
    lines: list[str] = field(default_factory=list)

    def _log(self, message: str, /, **fields: Any) -> None:
        self.lines.append(f"{message} {fields or ''}")
        logging.getLogger("reports").debug(message)

    debug = info = warning = error = exception = _log


@dataclass
class Context:
    """What a run is handed, as far as reports use it."""

    url: str
    config: WebConfig
    state_dir: Path
    parameters: ReportParameters = field(default_factory=ReportParameters)
    scheduled_for: datetime | None = EVENING
    run_id: str = "run-1"
    timezone: str = "UTC"
    cancelled: bool = False
    logger: Recorder = field(default_factory=Recorder)
    steps: list[RecordedStep] = field(default_factory=list)

    @contextmanager
    def sync_db(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.url) as connection:
            yield connection

    def step(self, name: str, *, continue_on_error: bool = False) -> RecordedStep:
        self.steps.append(RecordedStep(name))
        return self.steps[-1]

    def progress(self, done: int, total: int | None = None, note: str = "") -> None: ...


@pytest.fixture
def discord() -> Iterator[Discord]:
    server = Discord()
    yield server
    server.stop()


@pytest.fixture
def webhook(discord: Discord) -> SecretStr:
    return SecretStr(discord.webhook)


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def secret() -> str:
    return TOKEN


@pytest.fixture
def database(make_database: MakeDatabase) -> str:
    return make_database(CORE, WEB)


@pytest.fixture
def make_context(database: str, tmp_path: Path) -> Callable[..., Context]:
    """A context; `webhook` and `zone` go into the configuration, `parameters` to the job."""

    def make(webhook: str | None = None, zone: str = "UTC", **values: Any) -> Context:
        config = WebConfig.model_validate(
            {
                "analytics": {"timezone": zone},
                "reports": {"discord_webhook": webhook} if webhook else {},
                "site": {"base_url": "https://example.com"},
            }
        )
        parameters = ReportParameters(**values.pop("parameters", {}))
        return Context(database, config, tmp_path, parameters, **values)

    return make


@pytest.fixture
def png_size() -> Callable[[bytes], tuple[int, int]]:
    def size(content: bytes) -> tuple[int, int]:
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", content[16:24])
        return width, height

    return size
