"""Real daemons, alone or together on one database, whose clocks may be set; the books are audited."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from scheduler_daemon.control.client import Client, NoDaemonError
from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.database.temporary import TemporaryServer, scheduler_sets
from scheduler_daemon.ledger.audit import Audit, AuditedJob

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 90.0
YEARLY = "0 0 0 1 1 *"
HIDDEN = ("scheduler-core", "scheduler-web", "scheduler-example")
BROKEN = ("Exception in callback", "never retrieved", "internal error", "a turn of the dispatcher failed")


def job(name: str, schedule: str = "* * * * * *", **more: Any) -> dict[str, Any]:
    return {"name": name, "extension": "stage", "job": name, "schedule": schedule, "enabled": True} | more


@dataclass
class Daemon:
    """One state directory, and the daemon that runs on it."""

    stage: Stage
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *jobs: Mapping[str, Any], ready: bool = True, **more: Any) -> Daemon:
        """`jobs` and `more` replace the configuration, if there are any."""
        if jobs or more:
            self.configure(*jobs, **more)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "scheduler-daemon", "run", "--config", self.folder / "config.yaml"],
                env=self.environment(),
                stdout=log,
                stderr=log,
            )
        if ready:
            self.stage.until(self.ready)
        return self

    def configure(self, *jobs: Mapping[str, Any], url: str | None = None, **more: Any) -> None:
        """YAML is a superset of JSON. Every daemon's configuration is the same file, but for its folders."""
        whole = {
            "database": {"url": url or self.stage.url},
            "scheduler": {"jobs": list(jobs)},
            **more,
        }
        (self.folder / "config.yaml").write_text(json.dumps(whole))

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "STATE_DIRECTORY": str(self.folder / "state"),
            "RUNTIME_DIRECTORY": str(self.folder),
            "PYTHONPATH": str(self.stage.folder / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "STAGE_GATES": str(self.stage.folder),
            "SCHEDULER_DAEMON_SOCKET": str(self.folder / "control.sock"),
            "SCHEDULER_DAEMON_TEST_CLOCK": str(self.folder / "clock"),
            "TZ": "UTC",
        }

    def set_clock(self, offset_s: float) -> None:
        (self.folder / "clock.new").write_text(str(offset_s))
        (self.folder / "clock.new").rename(self.folder / "clock")

    def ready(self) -> bool:
        try:
            return bool(self.client.get("/v1/status")["ready"])
        except (NoDaemonError, OSError):
            return False

    @property
    def client(self) -> Client:
        return Client(str(self.folder / "control.sock"))

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.send(how)
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def program(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAMS / name, *words],
            env=self.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def run(self, name: str, **body: Any) -> str:
        """By hand; the run's id, once it is handed out."""
        return str(self.client.post(f"/v1/jobs/{name}/runs", body)["id"])


@dataclass
class Stage:
    """A database and the daemons on it."""

    server: TemporaryServer
    url: str
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="sd-l-")))
    daemons: list[Daemon] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)

    def daemon(self) -> Daemon:
        folder = self.folder / f"n{len(self.daemons)}"
        (folder / "state").mkdir(parents=True)
        made = Daemon(self, folder)
        self.daemons.append(made)
        return made

    def install(self) -> None:
        site = self.folder / "site"
        entries = dict.fromkeys(HIDDEN, "")
        entries["stage"] = "[scheduler_daemon.extensions]\nstage = ledger_jobs:extension\n"
        for name, text in entries.items():
            info = site / f"{name.replace('-', '_')}-1.0.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(text)
        shutil.copy(HERE / "ledger_jobs.py", site)

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    def notes(self, job: str, what: str = "start") -> list[list[str]]:
        """[run, more] of each note."""
        file = self.folder / "notes"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [line[2:] for line in lines if line[:2] == [job, what]]

    def rows(self, where: str = "true", url: str | None = None, **values: Any) -> list[dict[str, Any]]:
        """Rows of scheduler.runs, in the order in which they were made."""
        return self.ask(f"SELECT * FROM scheduler.runs WHERE {where} ORDER BY id", url, **values)

    def ask(self, query: str, url: str | None = None, **values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(url or self.url, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(query, values)
            return list(cursor.fetchall()) if cursor.description else []

    def copy(self) -> str:
        """Another database with all that this one holds."""
        name = psycopg.conninfo.conninfo_to_dict(self.url)["dbname"]
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}_copy" TEMPLATE "{name}"')
        self.copies.append(self.url.replace(f"/{name}?", f"/{name}_copy?"))
        return self.copies[-1]

    def cut(self, *, allow: bool) -> None:
        """Whether anybody may connect; if not, those connected are cut off."""
        name = psycopg.conninfo.conninfo_to_dict(self.url)["dbname"]
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {str(allow).lower()}')
            if not allow:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
                )

    def until(self, condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
        deadline = time.monotonic() + within_s
        while not (found := condition()):
            assert time.monotonic() < deadline, "\n\n".join(d.log for d in self.daemons)
            time.sleep(0.02)
        return found

    def pass_time(self, seconds: float) -> None:
        """Where the time that passes is what is tested."""
        time.sleep(seconds)

    def audit(self, url: str | None = None) -> list[AuditedJob]:
        async def look() -> list[AuditedJob]:
            gateway = Gateway(url or self.url, log=print)
            await gateway.open()
            try:
                return await Audit(gateway).run()
            finally:
                await gateway.close()

        return asyncio.run(look())

    def end(self) -> None:
        for daemon in self.daemons:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.send(signal.SIGCONT)
                daemon.process.kill()
                daemon.process.wait()


@contextmanager
def stage_on(server: TemporaryServer) -> Iterator[Stage]:
    """At its end every instant of every job has exactly one row, and no daemon stumbled."""
    made = Stage(server, server.make_database(*scheduler_sets(scheduler=True)))
    made.install()
    try:
        yield made
        made.end()
        for url in (made.url, *made.copies):
            assert [f"{one.job}: {one.findings}" for one in made.audit(url) if not one.clean] == []
        for daemon in made.daemons:
            assert not [line for line in daemon.log.splitlines() if any(words in line for words in BROKEN)]
    finally:
        made.end()
        made.cut(allow=True)
        for url in (*made.copies, made.url):
            server.drop_database(url)
        shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def stage(_scheduler_server: TemporaryServer) -> Iterator[Stage]:
    with stage_on(_scheduler_server) as made:
        yield made


def alive(pid: int | str) -> bool:
    """Neither gone nor a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"
