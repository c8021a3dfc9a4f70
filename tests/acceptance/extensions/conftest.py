"""A machine of a stranger's: a Python environment of its own, a daemon in it, a shell.

The environment finds the packages of ours (a .pth file), so that `pip install` needs no network.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scheduler_daemon.cli.scaffold import write_extension
from scheduler_daemon.control.client import Client
from scheduler_daemon.database.temporary import TemporaryServer

PATIENCE_S = 90.0
PROGRAMS = {
    "scheduler-daemon": "scheduler_daemon.cli.service:main",
    "systemprompt": "scheduler_daemon.cli.main:main",
    "pip": "pip._internal.cli.main:main",
    "pytest": "pytest:console_main",
}
YEARLY = "0 0 0 1 1 *"
Job = dict[str, Any]


def make_environment(folder: Path) -> None:
    """Without anything of its own but programs; whatever is installed goes into it."""
    venv.create(folder, with_pip=False, symlinks=True)
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (site_packages(folder) / "ours.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\n")
    for name, place in PROGRAMS.items():
        module, function = place.split(":")
        program = folder / "bin" / name
        lines = (f"#!{folder}/bin/python", "import sys", f"from {module} import {function} as main")
        program.write_text("\n".join((*lines, "sys.exit(main())")) + "\n")
        program.chmod(0o755)


def site_packages(environment: Path) -> Path:
    return environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"


def job(extension: str, name: str, schedule: str = YEARLY, **more: Any) -> Job:
    """An entry of scheduler.jobs."""
    return {
        "name": name,
        "extension": extension,
        "job": name,
        "schedule": schedule,
        "enabled": True,
        **more,
    }


@dataclass
class Machine:
    """Its home has .venv/ and config/config.yaml, as in the guide; `sh` runs there."""

    home: Path
    url: str
    jobs: list[Job] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    tools: str = ""
    process: subprocess.Popen[str] | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def environment(self) -> Path:
        return self.home / ".venv"

    @property
    def config(self) -> Path:
        return self.home / "config" / "config.yaml"

    @property
    def client(self) -> Client:
        return Client(str(self.home / "var" / "run" / "control.sock"))

    def sh(self, command: str, status: int = 0, **environ: str) -> str:
        """What the command printed, on both streams; it must exit with `status`."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.home,
            env=self._environ() | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == status, f"{command}\n{done.stdout}"
        return done.stdout

    def extension(self, name: str, source: str, **files: str) -> Path:
        """A package as new-extension makes it, with another extension in it; `files` are modules beside."""
        write_extension(name, self.home)
        package = self.home / name / f"scheduler_{name}"
        self.write(package / "__init__.py", HEAD.format(name=name) + textwrap.dedent(source))
        for module, text in files.items():
            self.write(package / f"{module}.py", text)
        return package

    def write(self, file: Path, text: str) -> None:
        file.write_text(textwrap.dedent(text))

    def install(self, *names: str, options: str = "") -> None:
        self.sh(f"pip install --quiet {options} " + " ".join(f"./{name}" for name in names))

    def schedule(self, *jobs: Job, **more: Any) -> None:
        """Add jobs, and keys of the root, to the configuration; the daemon does not know of it yet."""
        self.jobs += jobs
        self.more |= more
        self.configure()

    def configure(self) -> None:
        """YAML is a superset of JSON."""
        whole = {"database": {"url": self.url}, "scheduler": {"jobs": self.jobs}, **self.more}
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(json.dumps(whole, indent=1))

    def reload(self) -> None:
        self.sh("systemprompt infra scheduler reload")

    def start(self) -> None:
        if not self.config.exists():
            self.configure()
        self.process = subprocess.Popen(
            [self.environment / "bin" / "scheduler-daemon", "run"],
            cwd=self.home,
            env=self._environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        told: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, args=(self.process, told), daemon=True).start()
        while (line := told.get(timeout=PATIENCE_S)) is not None:
            if line.startswith("Stop with Ctrl-C"):
                return
        raise AssertionError("the daemon did not start:\n" + "".join(self.lines))

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def status(self) -> dict[str, Any]:
        return self.client.get("/v1/status")

    def run(self, name: str, **parameters: Any) -> dict[str, Any]:
        """The event with which a run by hand ended."""
        body = {"parameters": parameters}
        return list(self.client.events("POST", f"/v1/jobs/{name}/runs", body=body))[-1]

    def until_run(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The newest run of the job that is as wanted, once there is one."""

        def look() -> Any:
            runs = self.client.get("/v1/runs", job=name)["runs"]
            return next((run for run in runs if wanted.items() <= run.items()), None)

        return self.until(look, lambda: f"no run {wanted} of {name}: {self.client.get('/v1/runs', job=name)}")

    def until(self, condition: Callable[[], Any], otherwise: Callable[[], str]) -> Any:
        limit = time.monotonic() + PATIENCE_S
        while not (answer := condition()):
            assert time.monotonic() < limit, otherwise()
            time.sleep(0.05)
        return answer

    def _environ(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PIP_"))}
        return ours | {
            "PATH": f"{self.tools}:{self.environment}/bin:{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "TZ": "UTC",
            **self.environ,
        }

    def _listen(self, process: subprocess.Popen[str], told: queue.Queue[str | None]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.lines.append(line)
                told.put(line)
        told.put(None)


HEAD = """
import asyncio, os, sys, time
from pathlib import Path
from pydantic import BaseModel
from scheduler_daemon.extension import Extension, Job, JobContext, JobResult

extension = Extension("{name}", migrations=Path(__file__).parent / "migrations")
"""

MakeMachine = Callable[..., Machine]


@contextmanager
def machines(server: TemporaryServer) -> Iterator[MakeMachine]:
    made: list[Machine] = []

    def make(**more: Any) -> Machine:
        home = Path(tempfile.mkdtemp(prefix="sd-ext-"))
        machine = Machine(home, server.make_database(), more=dict(more))
        made.append(machine)
        make_environment(machine.environment)
        return machine

    try:
        yield make
    finally:
        for machine in made:
            if machine.process is not None and machine.process.poll() is None:
                machine.stop()
            shutil.rmtree(machine.home, ignore_errors=True)
            server.drop_database(machine.url)


@pytest.fixture
def make_machine(_scheduler_server: TemporaryServer) -> Iterator[MakeMachine]:
    with machines(_scheduler_server) as make:
        yield make


@pytest.fixture(scope="module")
def make_module_machine(_scheduler_server: TemporaryServer) -> Iterator[MakeMachine]:
    with machines(_scheduler_server) as make:
        yield make


@pytest.fixture(scope="module")
def machine(_scheduler_server: TemporaryServer) -> Iterator[Machine]:
    """One with a running daemon for a whole module: each test brings extensions of other names."""
    with machines(_scheduler_server) as make:
        one = make(jobplane={"import_timeout": "2s"})
        one.start()
        yield one


@pytest.fixture(name="job", scope="session")
def job_fixture() -> Callable[..., Job]:
    return job


@pytest.fixture(name="make_environment", scope="session")
def make_environment_fixture() -> Callable[[Path], None]:
    return make_environment
