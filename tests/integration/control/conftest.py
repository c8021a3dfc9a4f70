"""A real daemon with an extension made for these tests, its CLI and its socket."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scheduler_daemon.control.client import Client
from scheduler_daemon.database.temporary import TemporaryServer, scheduler_sets

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 60.0
YEARLY = "0 0 0 1 1 *"


def job(name: str, schedule: str = YEARLY, **more: Any) -> dict[str, Any]:
    """An entry of scheduler.jobs; `job` and `extension` may be given, too."""
    entry = {"name": name, "extension": "probe", "job": name, "schedule": schedule, "enabled": True}
    return entry | more


@dataclass
class Daemon:
    """A folder with a configuration, and a daemon that runs on it."""

    folder: Path
    url: str
    jobs: list[dict[str, Any]]
    more: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    listener: threading.Thread | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.folder / "c.sock"

    @property
    def gates(self) -> Path:
        return self.folder / "gates"

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def configure(self, *jobs: Mapping[str, Any], **more: Any) -> None:
        """YAML is a superset of JSON."""
        control = {"socket": str(self.socket), **more.pop("control", {})}
        whole = {
            "database": {"url": self.url},
            "state_dir": str(self.folder / "state"),
            "control": control,
            "scheduler": {"jobs": list(jobs)},
            **more,
        }
        self.config.write_text(json.dumps(whole, indent=1))

    def start(self) -> None:
        self.gates.mkdir(exist_ok=True)
        if not self.config.exists():
            self.configure(*self.jobs, **self.more)
        self.process = subprocess.Popen(
            [PROGRAMS / "scheduler-daemon", "run", "--config", self.config],
            env={**os.environ, **self._paths(), **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        told: queue.Queue[str | None] = queue.Queue()
        self.listener = threading.Thread(target=self._listen, args=(self.process, told), daemon=True)
        self.listener.start()
        while (line := told.get(timeout=PATIENCE_S)) is not None:
            if line.startswith("Stop with Ctrl-C"):
                return
        raise AssertionError("the daemon did not start:\n" + "".join(self.lines))

    def stop(self, how: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.ended()

    def ended(self) -> int:
        """Its exit status, when it has one."""
        assert self.process is not None
        assert self.listener is not None
        status = self.process.wait(PATIENCE_S)
        self.listener.join(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def cli(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`systemprompt infra …` on this daemon's socket."""
        return subprocess.run(
            [PROGRAMS / "systemprompt", "infra", *arguments],
            env={
                **os.environ,
                **self._paths(),
                "SCHEDULER_DAEMON_SOCKET": str(self.socket),
                "TZ": "UTC",
                **environment,
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def json(self, *arguments: str) -> Any:
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def client(self) -> Client:
        return Client(str(self.socket))

    def dial(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE_S)
        connection.connect(str(self.socket))
        return connection

    def open_gate(self, name: str) -> None:
        (self.gates / name).touch()

    def close_gate(self, name: str) -> None:
        (self.gates / name).unlink(missing_ok=True)

    def run_to_end(self, name: str) -> dict[str, Any]:
        """The `ended` event of a run by hand."""
        return self.client_events(name)[-1]

    def client_events(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        body = {"parameters": parameters}
        return list(self.client.events("POST", f"/v1/jobs/{name}/runs", body=body))

    def _paths(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(self.folder / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PROBE_GATES": str(self.gates),
        }

    def _listen(self, process: subprocess.Popen[str], told: queue.Queue[str | None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            told.put(line)
        told.put(None)


def install_probe(site: Path) -> None:
    """The extension, as an importable distribution; those of this repository hide themselves."""
    site.mkdir()
    shutil.copy(HERE / "probe_jobs.py", site)
    installed = ("scheduler-core", "scheduler-web", "scheduler-example")
    for name, entries in ((n, "") for n in installed):
        distribution(site, name, entries)
    distribution(site, "probe", "[scheduler_daemon.extensions]\nprobe = probe_jobs:extension\n")


def distribution(site: Path, name: str, entries: str) -> None:
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)


MakeDaemon = Callable[..., Daemon]


@contextmanager
def daemons(server: TemporaryServer) -> Iterator[MakeDaemon]:
    """A factory of running daemons, each on a database of its own; all end with it."""
    made: list[Daemon] = []

    def make(*jobs: Mapping[str, Any], environment: Mapping[str, str] | None = None, **more: Any) -> Daemon:
        folder = Path(tempfile.mkdtemp(prefix="sd-control-"))
        install_probe(folder / "site")
        url = server.make_database(*scheduler_sets(scheduler=True))
        daemon = Daemon(folder, url, [dict(one) for one in jobs], more, environment or {})
        made.append(daemon)
        daemon.start()
        return daemon

    try:
        yield make
        broken = ("Exception in callback", "never retrieved", "internal error")
        for daemon in made:
            assert not [line for line in daemon.lines if any(words in line for words in broken)]
    finally:
        for daemon in made:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.stop()
            elif daemon.process is not None:
                daemon.ended()
            shutil.rmtree(daemon.folder, ignore_errors=True)
            server.drop_database(daemon.url)


@pytest.fixture
def make_daemon(_scheduler_server: TemporaryServer) -> Iterator[MakeDaemon]:
    with daemons(_scheduler_server) as make:
        yield make


@pytest.fixture(scope="module")
def daemon(_scheduler_server: TemporaryServer) -> Iterator[Daemon]:
    """One for a whole module: nothing in it fires by itself but `quick`, which starts disabled."""
    with daemons(_scheduler_server) as make:
        yield make(
            *(job(name) for name in ("steps", "fails", "waits", "noisy", "typed")),
            job("quick", "* * * * * *", enabled=False),
            job("gone", extension="nowhere"),
            job("lost_code", job="no_such_job"),
        )
