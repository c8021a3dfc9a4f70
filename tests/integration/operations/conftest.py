"""A house of real parts on a real database, with a clock that tests set; its pool starts nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio
import structlog
from psycopg.rows import dict_row

from scheduler_daemon.clock import Clock
from scheduler_daemon.config import bindings, load
from scheduler_daemon.daemon import Daemon
from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.ledger.history import Actor
from scheduler_daemon.ledger.values import NodeIdentity
from scheduler_daemon.logs import LedgerTap
from scheduler_daemon.model import Catalogue, ExtensionInfo, JobInfo
from scheduler_daemon.operations import Operations
from scheduler_daemon.runner.plane import JobPlane
from scheduler_daemon.runner.rollover import Edition

BOSS = Actor(uid=1000, user_name="boss", pid=4711)


class SetClock(Clock):
    """Says what it was set to, and goes on from there."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = timedelta(0)

    def set(self, moment: datetime) -> None:
        self.shift = moment - datetime.now(UTC)

    def offset(self) -> timedelta:
        return self.shift


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Furnished:
    """The house, its operations, and what tests do to it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.clock = SetClock()
        self.jobs = ("nightly", "other")
        self.house: Any = None
        self.operations: Operations

    async def move_in(self, at: str, *jobs: Mapping[str, Any], **more: Any) -> None:
        """The daemon has started at that time, with these entries of the configuration."""
        self.clock.set(utc(at))
        edition, loaded = self.edition(*jobs, **more)
        (self.folder / "state").mkdir(exist_ok=True)
        daemon = Daemon(loaded, tap=LedgerTap(), announce=lambda house: None)
        daemon._clock = self.clock
        gateway = Gateway(self.url, log=lambda line: None)
        await gateway.open()
        plane = JobPlane(python=Path("python"), log=structlog.get_logger())
        self.house = daemon._furnish(gateway, plane, _node(), edition)
        self.operations = Operations(self.house)
        self.house.ready = True
        await self.house.runner.pool.stop(0, asyncio.Event())
        await self.house.runner.recorder.start()
        self.house.runner.dispatcher.readiness.began(self.clock.now(), alone=True)
        await self.house.presence.register(edition.settings.revision)
        await self.operations.scheduler.put_in_force(loaded, edition)

    async def move_out(self) -> None:
        if self.house is not None:
            await self.house.runner.recorder.stop()
            await self.house.gateway.close()

    def edition(self, *jobs: Mapping[str, Any], **more: Any) -> tuple[Edition, Any]:
        scheduler = {"jobs": [self.entry(**one) for one in jobs], **more.pop("scheduler", {})}
        whole = {
            "database": {"url": self.url},
            "state_dir": str(self.folder / "state"),
            "scheduler": scheduler,
        }
        file = self.folder / "config.yaml"
        file.write_text(json.dumps({**whole, "control": {"socket": "/tmp/x.sock"}, **more}))
        loaded = load(file)
        infos = tuple(JobInfo(extension="probe", name=name) for name in self.jobs)
        catalogue = Catalogue(extensions=(ExtensionInfo(name="probe", version="1", jobs=infos),))
        bound = bindings(loaded.settings, catalogue)
        return Edition(settings=loaded.settings, catalogue=catalogue, bindings=bound), loaded

    def entry(self, name: str = "nightly", **more: Any) -> dict[str, Any]:
        plain = {"extension": "probe", "job": name, "schedule": "0 30 2 * * *", "enabled": True}
        return {"name": name, **plain, "misfire": "skip", **more}

    async def reload(self, *jobs: Mapping[str, Any], **more: Any) -> None:
        edition, loaded = self.edition(*jobs, **more)
        await self.operations.scheduler.put_in_force(loaded, edition)

    async def until(self, at: str) -> None:
        """Time passes, and the dispatcher does its work at the end of it."""
        self.clock.set(utc(at))
        await self.house.runner.dispatcher.settle()

    async def outage(self, start: str, end: str, reason: str) -> None:
        self.clock.set(utc(end))
        dispatcher = self.house.runner.dispatcher
        dispatcher.on_outage = self.operations.scheduler.note_outage
        dispatcher.readiness.ended(utc(start), reason)
        await asyncio.gather(*self.operations.scheduler._tasks)
        await dispatcher.settle()

    async def why(self, at: str | None = None, job: str = "nightly") -> Any:
        return await self.operations.answers.why(job, at)

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def end(self, job: str, status: str, started: str, finished: str, **more: Any) -> UUID:
        """What a worker would have reported of the job's live run."""
        (row,) = self.sql("SELECT id FROM scheduler.runs WHERE job = %s AND status = 'running'", job)
        self.sql(
            "UPDATE scheduler.runs SET status = %s, started_at = %s, finished_at = %s, error = %s,"
            " message = %s,"
            " duration_ms = extract(epoch FROM %s::timestamptz - %s::timestamptz) * 1000,"
            " lateness_ms = extract(epoch FROM %s::timestamptz - scheduled_for) * 1000 WHERE id = %s",
            status, utc(started), utc(finished), more.get("error"), more.get("message"),
            utc(finished), utc(started), utc(started), row["id"],
        )  # fmt: skip
        run: UUID = row["id"]
        return run


def _node() -> NodeIdentity:
    return NodeIdentity(id=uuid4(), boot_id=uuid4(), name="here", machine_id="m", pid=1, version="1")


@pytest_asyncio.fixture
async def home(tmp_path: Path, make_database: Any) -> AsyncIterator[Furnished]:
    furnished = Furnished(tmp_path, make_database())
    try:
        yield furnished
    finally:
        await furnished.move_out()


@pytest.fixture
def boss() -> Actor:
    return BOSS
