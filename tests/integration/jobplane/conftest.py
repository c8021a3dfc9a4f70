"""Throw-away extension packages, a job plane that finds them, and workers that one can wait on."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scheduler_daemon.runner.plane import Discovery, JobPlane, WorkerLink

PATIENCE_S = 30.0
INSTALLED = ("scheduler-core", "scheduler-web", "scheduler-example")

PREAMBLE = """
import asyncio, ctypes, logging, multiprocessing, os, signal, subprocess, sys, threading, time, warnings
from pathlib import Path
from pydantic import BaseModel
from scheduler_daemon.extension import Extension, Job, JobContext, JobResult

extension = Extension("{name}")
"""


class Packages:
    """Writes importable distributions into a folder of PYTHONPATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in INSTALLED:
            self.distribution(name, "")

    def add(
        self, name: str, source: str, *, distribution: str = "", entry: str = "", preamble: str = PREAMBLE
    ) -> str:
        """An extension `name` in a module of its own; returns the distribution's name."""
        distribution = distribution or f"pkg-{name}"
        module = distribution.replace("-", "_")
        text = preamble.format(name=name) + textwrap.dedent(source)
        (self.folder / f"{module}.py").write_text(text)
        self.distribution(
            distribution, f"[scheduler_daemon.extensions]\n{entry or name} = {module}:extension\n"
        )
        return distribution

    def distribution(self, name: str, entry_points: str) -> None:
        folder = self.folder / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(entry_points)


@contextlib.contextmanager
def packages_in(folder: Path) -> Iterator[Packages]:
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield Packages(folder)


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[Packages]:
    with packages_in(tmp_path / "site") as made:
        yield made


class Log:
    """Implements extension.Logger; keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, Any]]] = []

    def text(self) -> str:
        return "\n".join(f"{level} {message} {fields}" for level, message, fields in self.records)

    def debug(self, message: str, /, **fields: Any) -> None:
        self.records.append(("debug", message, fields))

    def info(self, message: str, /, **fields: Any) -> None:
        self.records.append(("info", message, fields))

    def warning(self, message: str, /, **fields: Any) -> None:
        self.records.append(("warning", message, fields))

    def error(self, message: str, /, **fields: Any) -> None:
        self.records.append(("error", message, fields))

    def exception(self, message: str, /, **fields: Any) -> None:
        self.records.append(("error", message, fields))


@dataclass
class Worker:
    """A worker and all that it said."""

    link: WorkerLink
    messages: list[dict[str, Any]] = field(default_factory=list)
    frames: list[list[dict[str, Any]]] = field(default_factory=list)
    status: int | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def result(self, job: str, **rest: Any) -> dict[str, Any]:
        self.run(job, **rest)
        return await self.outcome(rest.get("run_id", "r1"))

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while not (answer := condition()):
                self.news.clear()
                await self.news.wait()
        return answer

    async def exit(self) -> int:
        await self.until(lambda: self.status is not None)
        assert self.status is not None
        return self.status

    async def message(self, kind: str, run_id: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = await self.until(lambda: next(iter(self.all(kind, run_id)), None))
        return found

    async def outcome(self, run_id: str = "r1") -> dict[str, Any]:
        return await self.message("outcome", run_id)

    def all(self, kind: str, run_id: str | None = None) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["t"] == kind and run_id in (None, m.get("id"))]

    def lines(self, run_id: str = "r1") -> list[str]:
        return [m["message"] for m in self.all("log", run_id)]

    def run(self, job: str, *, run_id: str = "r1", extension: str = "demo", **rest: Any) -> None:
        self.link.send([run_message(job, run_id=run_id, extension=extension, **rest)])


def run_message(job: str, *, run_id: str = "r1", extension: str = "demo", **rest: Any) -> dict[str, Any]:
    return {
        "t": "run",
        "id": run_id,
        "name": job,
        "extension": extension,
        "job": job,
        "kind": "manual",
        "attempt": 1,
        "scheduled_for": None,
        "parameters": {},
        "memory_limit": None,
        "timeout_s": None,
        **rest,
    }


class Plane(JobPlane):
    """The real one, and the workers that it gave out."""

    log: Log
    request: Discovery

    def __init__(self, log: Log, request: Discovery, **rest: Any) -> None:
        super().__init__(python=Path(sys.executable), log=log, **rest)
        self.log = log
        self.request = request
        self.all: dict[WorkerLink, Worker] = {}

    async def worker(self, *, isolate: str | None = None) -> Worker:
        link = await self.spawn(on_messages=self._on_messages, on_exit=self._on_exit, isolate=isolate)
        self.all[link] = Worker(link)
        return self.all[link]

    def _on_messages(self, link: WorkerLink, messages: list[dict[str, Any]]) -> None:
        worker = self.all[link]
        worker.frames.append(messages)
        worker.messages += messages
        worker.news.set()

    def _on_exit(self, link: WorkerLink, status: int) -> None:
        self.all[link].status = status
        self.all[link].news.set()


MakePlane = Callable[..., Plane]


@pytest.fixture
async def make_plane(packages: Packages, tmp_path: Path) -> AsyncIterator[MakePlane]:
    planes: list[Plane] = []

    def make(*, import_timeout_s: float = 10.0, on_catalogue: Any = None, **discovery: Any) -> Plane:
        state_dir = tmp_path / "state"
        state_dir.mkdir(exist_ok=True)
        request = Discovery(base_dir=tmp_path, state_dir=state_dir, **discovery)
        planes.append(Plane(Log(), request, import_timeout_s=import_timeout_s, on_catalogue=on_catalogue))
        return planes[-1]

    yield make
    for plane in planes:
        await plane.stop(0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Plane]:
    """One plane for a whole file: its extension `demo` has the source JOBS of that file."""
    folder = tmp_path_factory.mktemp("plane")
    (folder / "state").mkdir()
    sections = getattr(request.module, "SECTIONS", {})
    url = (
        request.getfixturevalue("scheduler_postgres") if getattr(request.module, "DATABASE", False) else None
    )
    discovery = Discovery(base_dir=folder, state_dir=folder / "state", sections=sections, database_url=url)
    with packages_in(folder / "site") as made:
        made.add("demo", request.module.JOBS)
        shared = Plane(Log(), discovery)
        catalogue = await shared.start(discovery)
        assert [(e.name, e.error) for e in catalogue.extensions] == [("demo", None)]
        yield shared
        await shared.stop(0)


@pytest_asyncio.fixture(loop_scope="module")
async def worker(plane: Plane) -> AsyncIterator[Worker]:
    """A worker of this test's own."""
    made = await plane.worker()
    yield made
    made.link.kill(9)
    await made.exit()


def alive(pid: int) -> bool:
    """Neither gone nor a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"


@pytest.fixture
def gone() -> Callable[..., Any]:
    """`await gone(pid)`: it ends within seconds, or the test fails."""

    async def wait(*pids: int, within_s: float = 10.0) -> None:
        deadline = time.monotonic() + within_s
        while left := [pid for pid in pids if alive(pid)]:
            assert time.monotonic() < deadline, f"still alive: {left}"
            await asyncio.sleep(0.01)

    return wait


@pytest.fixture(name="alive")
def alive_fixture() -> Callable[[int], bool]:
    return alive


@pytest.fixture(name="run_message")
def run_message_fixture() -> Callable[..., dict[str, Any]]:
    return run_message
