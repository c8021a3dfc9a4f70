"""A real daemon with jobs that do as a file tells them, and a server that its notifications go to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scheduler_daemon.control.client import Client, NoDaemonError
from scheduler_daemon.database.temporary import TemporaryServer, scheduler_sets

PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 60.0
HIDDEN = ("scheduler-core", "scheduler-web", "scheduler-example")
JOBS = '''
import os, time
from pathlib import Path
from scheduler_daemon.extension import Extension, JobResult

extension = Extension("service")
ORDERS = Path(os.environ["SERVICE_ORDERS"])

@extension.job(name="obeys", schedule="0 0 0 1 1 *")
def obeys(ctx):
    """Succeed with as many items as ORDERS/obeys says; or fail with its text."""
    order = (ORDERS / "obeys").read_text()
    ctx.logger.info("ordered", order=order, password="open sesame")
    if not order.isdigit():
        raise RuntimeError(order)
    return JobResult.success().with_stats(int(order), 0)

@extension.job(name="waits", schedule="0 0 0 1 1 *")
def waits(ctx):
    """Wait until ORDERS/go is there."""
    (ORDERS / "waiting").touch()
    while not (ORDERS / "go").exists():
        time.sleep(0.01)
'''


def job(name: str, schedule: str = "0 0 0 1 1 *", **more: Any) -> dict[str, Any]:
    return {"name": name, "extension": "service", "job": name, "schedule": schedule, "enabled": True} | more


class Service:
    """`start`, `stop`, `restart`; `config` is written at each start."""

    def __init__(self, url: str, admin_url: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sd-service-"))
        self.url = url
        self.admin_url = admin_url
        self.config: dict[str, Any] = {
            "database": {"url": url},
            "state_dir": str(self.folder / "state"),
            "scheduler": {"jobs": [job("obeys"), job("waits")]},
        }
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None
        self.orders.mkdir()
        self._install()

    @property
    def orders(self) -> Path:
        return self.folder / "orders"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def client(self) -> Client:
        return Client(str(self.folder / "state" / "run" / "control.sock"))

    def order(self, text: str) -> None:
        (self.orders / "obeys").write_text(text)

    def start(self, **config: Any) -> Service:
        self.config |= config
        (self.folder / "config.yaml").write_text(json.dumps(self.config))
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "scheduler-daemon", "run", "--config", self.folder / "config.yaml"],
                env=self.whole_environment(),
                stdout=log,
                stderr=log,
                text=True,
            )
        self.until(self._ready)
        return self

    def whole_environment(self) -> dict[str, str]:
        paths = {"PYTHONPATH": str(self.folder / "site"), "SERVICE_ORDERS": str(self.orders)}
        socket = {"SCHEDULER_DAEMON_SOCKET": str(self.folder / "state" / "run" / "control.sock")}
        return {**os.environ, **paths, **socket, **self.environment}

    def stop(self, how: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)

    def program(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAMS / name, *words],
            env=self.whole_environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def run(self, name: str = "obeys", order: str | None = None) -> dict[str, Any]:
        """Run the job by hand; its last event."""
        if order is not None:
            self.order(order)
        return list(self.client.events("POST", f"/v1/jobs/{name}/runs", body={}))[-1]

    def until(self, condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
        deadline = time.monotonic() + within_s
        while not (found := condition()):
            assert self.process is None or self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return found

    def take_database_away(self) -> None:
        """Nobody may connect any more, and who is connected is cut off."""
        name = psycopg.conninfo.conninfo_to_dict(self.url)["dbname"]
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )

    def give_database_back(self) -> None:
        name = psycopg.conninfo.conninfo_to_dict(self.url)["dbname"]
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    def _ready(self) -> bool:
        try:
            return bool(self.client.get("/v1/status")["ready"])
        except (NoDaemonError, OSError):
            return False

    def _install(self) -> None:
        site = self.folder / "site"
        entries = dict.fromkeys(HIDDEN, "")
        entries["service"] = "[scheduler_daemon.extensions]\nservice = service_jobs:extension\n"
        for name, text in entries.items():
            info = site / f"{name.replace('-', '_')}-1.0.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(text)
        (site / "service_jobs.py").write_text(JOBS)


@pytest.fixture
def service(_scheduler_server: TemporaryServer) -> Iterator[Service]:
    url = _scheduler_server.make_database(*scheduler_sets(scheduler=True))
    service = Service(url, _scheduler_server.url)
    service.order("1")
    try:
        yield service
    finally:
        if service.process is not None and service.process.poll() is None:
            service.process.kill()
            service.process.wait()
        service.give_database_back()
        _scheduler_server.drop_database(url)


class Hook:
    """Notes what is posted to it."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hook.got.append((self.path, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def messages(self) -> list[Mapping[str, Any]]:
        return [json.loads(body) for path, body in self.got if path == "/hook"]

    def lines(self) -> list[str]:
        return [line for message in self.messages() for line in message["text"].splitlines()]

    def pings(self, name: str) -> list[str]:
        return [path.removeprefix(f"/{name}") for path, _ in self.got if path.startswith(f"/{name}")]


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()
