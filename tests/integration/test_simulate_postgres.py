"""The simulation's ledger in memory decides as the one in PostgreSQL does: one driver on both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from scheduler_daemon.config import load
from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.ledger.claims import Claims
from scheduler_daemon.ledger.outcomes import Batch, Ending, Outcomes
from scheduler_daemon.ledger.plans import Plans
from scheduler_daemon.ledger.presence import Presence
from scheduler_daemon.ledger.values import NodeIdentity, Retry, StoredRun
from scheduler_daemon.model import Outcome
from scheduler_daemon.testing import Cue, MakeDatabase, Outage, Play, Plays
from scheduler_daemon.testing.driver import Driver, VirtualClock
from scheduler_daemon.testing.memory import MemoryLedger
from scheduler_daemon.testing.simulation import book_of, taken_as_there
from scheduler_daemon.testing.stage import Stage

START = datetime(2026, 3, 28, 18, tzinfo=UTC)
END = START + timedelta(hours=18)
HOUR = timedelta(hours=1)
JOBS: list[dict[str, Any]] = [
    {"name": "skips", "schedule": "0 */10 * * * *"},
    {"name": "queues", "schedule": "0 */10 * * * *", "overlap": "queue"},
    {"name": "cancels", "schedule": "0 */20 * * * *", "overlap": "cancel_previous"},
    {"name": "shares", "schedule": "0 */15 * * * *", "concurrency": "disk", "overlap": "queue"},
    {"name": "meets", "schedule": "0 */15 * * * *", "concurrency": "disk"},
    {"name": "fails", "schedule": "0 5 * * * *", "retries": 2, "retry_delay": "4m", "timeout": "8m"},
    {"name": "all", "schedule": "0 */30 * * * *", "misfire": "all", "overlap": "allow"},
    {"name": "nightly", "schedule": "0 30 2 * * *", "dst": {"gap": "skip"}, "on_lost": "rerun"},
    {"name": "off", "schedule": "0 * * * * *", "enabled": False},
]
OUTAGES = [
    Outage(start=START + 2.2 * HOUR, end=START + 3.3 * HOUR, reason="database_down"),
    Outage(start=START + 6.1 * HOUR, end=START + 8.5 * HOUR, reason="daemon_down"),
    Outage(start=START + 12 * HOUR, end=START + 13.1 * HOUR, reason="suspended"),
]


def play_of(cue: Cue) -> Play:
    """Different each time, and the same on both ledgers."""
    number = int(cue.started_at.timestamp() // 60) + len(cue.job) * 7 + cue.attempt
    ends = ("succeeded", "succeeded", "failed", "lost")[number % 4]
    return Play(takes=timedelta(minutes=number * 13 % 27), ends=ends)  # type: ignore[arg-type]  # one of them


LAG = timedelta(seconds=5)
"""More than a round trip: the server's clock goes on while ours stands."""
PLAYS: Plays = {job["name"]: play_of for job in JOBS}
SHOWN = "job, kind, status, reason, scheduled_for, last_for, instants, attempt, started_at"


class PostgresLedger:
    """The driver's side of the real one."""

    def __init__(self, url: str, clock: VirtualClock) -> None:
        self.url = url
        self.gateway = Gateway(url, log=lambda line: None)
        self.node = NodeIdentity(id=uuid4(), boot_id=uuid4(), name="n", machine_id="m", pid=1, version="0")
        self.claims = Claims(self.gateway, self.node, offset=lambda: clock.offset() + LAG)
        self.outcomes = Outcomes(self.gateway, self.node)
        self.presence = Presence(self.gateway, self.node, offset=clock.offset)

    async def enter(self, jobs: Any, at: datetime) -> None:
        plans = Plans(self.gateway, self.node.id, lambda spec: "")
        async with plans.transaction() as connection:
            await plans.enter(connection, [job.spec for job in jobs], at)
            await plans.put_in_force(connection, ("r1", "{}"), at)
        self.claims.revision = "r1"

    async def end(self, outcome: Outcome, retry: Retry | None) -> None:
        tokens = {str(run.id): str(run.claim_token) for run in await self.live()}
        ending = Ending(outcome=outcome, token=tokens[outcome.run_id], retry=retry)
        await self.outcomes.write(Batch(endings=[ending]))

    async def live(self) -> list[StoredRun]:
        return list(await self.presence.own_live())

    def rows(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, options="-c timezone=UTC") as connection:
            return list(connection.execute(f"SELECT {SHOWN} FROM scheduler.runs"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    jobs = [{"extension": "x", "job": "j", "enabled": True, **job} for job in JOBS]
    file = tmp_path / "config.yaml"
    whole = {"timezone": "Europe/Berlin", "workers": {"max": 3}, "scheduler": {"jobs": jobs}}
    file.write_text(json.dumps(whole))
    return file


@contextmanager
def theatre(config: Path) -> Iterator[tuple[VirtualClock, Stage, Any]]:
    loaded, clock = load(config), VirtualClock(START)
    book = book_of(loaded, taken_as_there(loaded), START)
    yield clock, Stage(clock, loaded.settings.workers.max, PLAYS), book


def in_memory(config: Path) -> list[tuple[Any, ...]]:
    with theatre(config) as (clock, stage, book):
        ledger = MemoryLedger(clock, book.jobs.values())
        asyncio.run(Driver(clock, (ledger, ledger), stage, book).play(END, OUTAGES))  # type: ignore[arg-type]  # as Claims
        return [
            (d.job, d.kind, d.status, d.reason, d.scheduled_for, d.last, d.count, d.attempt, d.started_at)
            for d in ledger.dispositions()
        ]


def in_postgres(config: Path, url: str) -> list[tuple[Any, ...]]:
    with theatre(config) as (clock, stage, book):
        ledger = PostgresLedger(url, clock)

        async def play() -> None:
            await ledger.gateway.open()
            await ledger.enter(book.jobs.values(), START - timedelta(seconds=1))
            await Driver(clock, (ledger.claims, ledger), stage, book).play(END, OUTAGES)
            await ledger.gateway.close()

        asyncio.run(play())
        return ledger.rows()


def ordered(rows: list[tuple[Any, ...]]) -> list[tuple[str, ...]]:
    return sorted(tuple(str(value) for value in row) for row in rows)


def test_both_ledgers_come_to_the_same(config: Path, make_database: MakeDatabase) -> None:
    expected, found = ordered(in_postgres(config, make_database())), ordered(in_memory(config))

    assert found == expected
    kinds = {row[1] for row in found}
    statuses = {(row[2], row[3]) for row in found}
    assert kinds == {"cron", "catch_up", "retry"}
    assert statuses >= {
        ("succeeded", "None"),
        ("failed", "None"),
        ("lost", "worker_died"),
        ("lost", "daemon_died"),
        ("cancelled", "cancelled"),
        ("timed_out", "timeout"),
        ("skipped", "overlap"),
        ("skipped", "disabled"),
        ("skipped", "dst_gap"),
        ("missed", "daemon_down"),
        ("missed", "suspended"),
        ("missed", "database_down"),
    }
