"""Back up, restore, accept, upgrade, move away: by the commands, on real databases and a real daemon."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scheduler_daemon.control.client import Client, NoDaemonError
from scheduler_daemon.database import binaries
from scheduler_daemon.database.embedded import EmbeddedServer
from scheduler_daemon.database.temporary import TemporaryServer, quick_place

PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 180.0
pytestmark = pytest.mark.timeout(600)
DEBIAN = Path("/usr/lib/postgresql/15/bin")
JOBS = """
from scheduler_daemon.extension import Extension, JobResult

extension = Extension("data")

@extension.job(name="hello", schedule="@yearly")
def hello(ctx):
    return JobResult.success()
"""


class Place:
    """A folder with a configuration; on it the embedded database, or the one at `url`."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        job = {
            "name": "hello",
            "extension": "data",
            "job": "hello",
            "schedule": "@yearly",
            "enabled": True,
        }
        config = {"state_dir": str(folder / "state"), "scheduler": {"jobs": [job]}}
        if url is not None:
            config["database"] = {"url": url}
        (folder / "config.yaml").write_text(json.dumps(config))
        info = folder / "site" / "data-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: data\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[scheduler_daemon.extensions]\ndata = data_jobs:extension\n")
        (folder / "site" / "data_jobs.py").write_text(JOBS)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder / "site")}

    @property
    def client(self) -> Client:
        return Client(str(self.folder / "state" / "run" / "control.sock"))

    def do(self, *words: str, status: int = 0) -> str:
        """What `scheduler-daemon WORDS` says."""
        done = subprocess.run(
            [PROGRAMS / "scheduler-daemon", *words, "--config", self.folder / "config.yaml"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "scheduler-daemon", "run", "--config", self.folder / "config.yaml"],
                env=self.environment,
                stdout=log,
                stderr=log,
                text=True,
            )
        self.until(self._ready)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE_S) == 0
        self.process = None

    def run(self) -> str:
        """A run by hand; how it ended."""
        events = list(self.client.events("POST", "/v1/jobs/hello/runs", body={}))
        return str(events[-1]["status"])

    def runs(self) -> list[dict[str, Any]]:
        return list(self.client.get("/v1/runs", job="hello", status="succeeded")["runs"])

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)
        return found

    def _ready(self) -> bool:
        try:
            return bool(self.client.get("/v1/status")["ready"])
        except (NoDaemonError, OSError):
            return False


@pytest.fixture
def place() -> Iterator[Callable[..., Place]]:
    made: list[Place] = []
    with tempfile.TemporaryDirectory(prefix="sd-data-", dir=quick_place()) as folder:

        def make(url: str | None = None) -> Place:
            one = Path(folder, str(len(made)))
            one.mkdir()
            made.append(Place(one, url))
            return made[-1]

        yield make
        for one in made:
            one.stop()


def test_a_backup_of_a_running_daemon_is_restored_elsewhere_and_waits_to_be_accepted(place: Any) -> None:
    here, there = place(), place()
    file = here.folder / "backup.dump"
    here.start()
    assert here.run() == "succeeded"
    assert here.do("migrate") == "nothing to apply\n"
    assert "backup.dump" in here.do("backup", str(file))
    assert file.stat().st_mode & 0o077 == 0
    assert "exists already" in here.do("backup", str(file), status=78)
    here.do("backup", str(file), "--force")
    assert "stop it first" in here.do("restore", str(file), status=75)
    (run,) = here.runs()
    here.stop()

    assert "scheduler-daemon accept" in there.do("restore", str(file))
    there.start()
    assert [one["id"] for one in there.runs()] == [run["id"]]
    assert "restored or copied" in str(there.client.get("/v1/status")["degraded"])
    assert "accepted" in there.do("accept")
    there.until(lambda: not there.client.get("/v1/status")["degraded"])
    assert there.run() == "succeeded"
    actions = there.client.get("/v1/actions")["actions"]
    assert [one["action"] for one in actions].count("accept") == 1
    there.stop()
    assert "nothing to accept" in there.do("accept")


def test_a_restore_in_place_keeps_what_was_there(place: Any) -> None:
    here = place()
    file = here.folder / "backup.dump"
    here.start()
    here.run()
    here.do("backup", str(file))
    here.run()
    assert len(here.runs()) == 2
    here.stop()

    assert "is not empty" in here.do("restore", str(file), status=78)
    damaged = here.folder / "damaged.dump"
    damaged.write_bytes(file.read_bytes()[:-2000])
    assert "damaged" in here.do("restore", str(damaged), "--replace", status=78)
    assert 'stays as "scheduler_before_' in here.do("restore", str(file), "--replace")
    here.do("accept")
    here.start()
    assert len(here.runs()) == 1
    here.stop()


def test_from_the_embedded_database_to_one_of_your_own(
    place: Any,
    _scheduler_server: TemporaryServer,  # noqa: PT019  # its value is what makes databases
) -> None:
    here = place()
    here.start()
    here.run()
    here.stop()
    file = here.folder / "backup.dump"
    here.do("backup", str(file))  # no daemon runs: the database is started for it
    there = place(_scheduler_server.make_database())
    there.do("restore", str(file))
    there.do("accept")
    there.start()
    assert len(there.runs()) == 1
    assert there.run() == "succeeded"
    there.stop()


def test_another_major_version_is_refused_with_the_command_that_helps(place: Any) -> None:
    if not (DEBIAN / "postgres").exists():
        pytest.skip("Debian's postgresql-15 is not installed")
    here = place()
    asyncio.run(_write_a_note(here.folder / "state"))
    assert "run scheduler-daemon upgrade-database" in here.do("run", status=78)
    assert "remove the old files: rm -r" in here.do("upgrade-database")
    assert "nothing to do" in here.do("upgrade-database")
    here.start()
    with psycopg.connect(_url(here.folder / "state")) as connection:
        assert connection.execute("SELECT said FROM note").fetchall() == [("kept",)]
    assert f"pid {here.process.pid}" in here.do("upgrade-database", status=75)
    here.stop()


async def _write_a_note(state_dir: Path) -> None:
    state_dir.mkdir(mode=0o700)
    server = EmbeddedServer(state_dir, log=lambda line: None, programs=binaries.read_binaries(DEBIAN))
    await server.start()
    try:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE note (said text)")
            connection.execute("INSERT INTO note VALUES ('kept')")
            # As a server of the wheel would have made it; Debian's may be newer than any of those.
            connection.execute(
                "UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text ~ 'pg_attver'"
            )
    finally:
        await server.stop()


def _url(state_dir: Path) -> str:
    return f"postgresql://postgres@/scheduler?host={state_dir}/postgres/run&port=5432"
