"""Real workers: an extension whose jobs do what a test asks of them, a plane, and pools that one hears."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
import structlog

from scheduler_daemon.ledger.outcomes import Ending, Start
from scheduler_daemon.model import JobSpec, LogRecord, Outcome, RunKind, WorkerSettings
from scheduler_daemon.runner.orders import RunOrder
from scheduler_daemon.runner.plane import Discovery, JobPlane
from scheduler_daemon.runner.pool import Pool

HERE = Path(__file__).parent
PATIENCE_S = 40.0
INSTALLED = ("scheduler-core", "scheduler-web", "scheduler-example")


@dataclass
class Scene:
    """A folder with the extension `stage`, gates that its jobs wait at, and the notes that they leave."""

    folder: Path

    def prepare(self) -> None:
        (self.folder / "site").mkdir()
        (self.folder / "gates").mkdir()
        shutil.copy(HERE / "stage_jobs.py", self.folder / "site")
        for name in INSTALLED:
            self._distribution(name, "")
        self._distribution("stage", "[scheduler_daemon.extensions]\nstage = stage_jobs:extension\n")

    def open(self, gate: str) -> None:
        (self.folder / "gates" / gate).touch()

    def notes(self, what: str = "start") -> list[str]:
        """Ids of the runs that noted this, in order."""
        file = self.folder / "gates" / "notes"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.split()[0] for line in lines if line.split()[1] == what]

    def pids(self, run_id: str) -> list[int]:
        """Processes that a run said it made."""
        lines = (self.folder / "gates" / "notes").read_text().splitlines()
        return [int(line.split()[2]) for line in lines if line.split()[:2] == [run_id, "pid"]]

    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(self.folder / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "STAGE_GATES": str(self.folder / "gates"),
        }

    def _distribution(self, name: str, entries: str) -> None:
        info = self.folder / "site" / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entries)


def spec(job: str, **rest: Any) -> JobSpec:
    for name in ("timeout", "kill_after", "retry_delay"):
        if isinstance(rest.get(name), int | float):
            rest[name] = timedelta(seconds=rest[name])
    whole = {"name": job, "extension": "stage", "job": job, "schedule": "* * * * * *", **rest}
    return JobSpec(**whole)


def order(job: str, parameters: Mapping[str, Any] | None = None, **rest: Any) -> RunOrder:
    return RunOrder(
        id=str(uuid4()),
        token=str(uuid4()),
        spec=spec(job, **rest),
        kind=RunKind.CRON,
        parameters=parameters or {},
    )


@dataclass
class Heard:
    """Everything that a pool told (RunEvents)."""

    starts: list[str] = field(default_factory=list)
    endings: dict[str, Ending] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    logs: list[LogRecord] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def started(self, order: RunOrder, start: Start) -> None:
        self.starts.append(order.id)
        self.news.set()

    def ended(self, order: RunOrder, ending: Ending) -> None:
        assert order.id not in self.endings, "ended twice"
        self.endings[order.id] = ending
        self.news.set()

    def logged(self, order: RunOrder, record: LogRecord) -> None:
        self.logs.append(record)

    def step(self, order: RunOrder, step: Mapping[str, Any]) -> None:
        self.told.append(("step", order.id))

    def progress(self, order: RunOrder, progress: Mapping[str, Any]) -> None:
        self.told.append(("progress", order.id))

    def sql_must_end(self, order: RunOrder) -> None:
        self.told.append(("sql", order.id))

    def free(self) -> None:
        self.news.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while not (answer := condition()):
                self.news.clear()
                await self.news.wait()
        return answer

    async def start(self, run: RunOrder) -> None:
        await self.until(lambda: run.id in self.starts)

    async def end(self, *runs: RunOrder) -> list[Outcome]:
        await self.until(lambda: all(run.id in self.endings for run in runs))
        return [self.endings[run.id].outcome for run in runs]


@contextlib.contextmanager
def scene_in(folder: Path) -> Iterator[Scene]:
    scene = Scene(folder)
    scene.prepare()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in scene.environment().items():
            patch.setenv(name, value)
        yield scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_in(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(scene: Scene) -> AsyncIterator[JobPlane]:
    """One zygote for a whole file."""
    state = scene.folder / "state"
    state.mkdir()
    shared = JobPlane(python=Path(sys.executable), log=structlog.get_logger())
    await shared.start(Discovery(base_dir=scene.folder, state_dir=state))
    yield shared
    await shared.stop(0)


MakePool = Callable[..., tuple[Pool, Heard]]


@pytest_asyncio.fixture(loop_scope="module")
async def make_pool(plane: JobPlane) -> AsyncIterator[MakePool]:
    """`await make_pool(max=2)`: a pool that has started, and what it tells."""
    pools: list[Pool] = []

    async def make(**settings: Any) -> tuple[Pool, Heard]:
        heard = Heard()
        pools.append(Pool(plane, WorkerSettings(**{"min": 0, **settings}), heard))
        await pools[-1].start()
        return pools[-1], heard

    yield make
    hurry = asyncio.Event()
    hurry.set()
    for pool in pools:
        for slot in pool.workers:
            assert slot.link is not None
            slot.link.kill(9)
        await pool.stop(0, hurry)


def alive(pid: int) -> bool:
    """Neither gone nor a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"
