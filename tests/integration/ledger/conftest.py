"""The ledger as one node sees it, on a real database: no engine, no workers, and time as an argument."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.ledger.claims import Claims, Granted
from scheduler_daemon.ledger.history import History
from scheduler_daemon.ledger.outcomes import Batch, Ending, Outcomes
from scheduler_daemon.ledger.plans import Plans
from scheduler_daemon.ledger.presence import Presence
from scheduler_daemon.ledger.values import Claim, Entry, NewRun, NodeIdentity, new_run_id
from scheduler_daemon.model import JobSpec, Outcome, Overlap, RunKind, RunStatus

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MANY = 1_000


@dataclass
class Node:
    """One daemon's ledger. `name` is its host's; every node of a test is on one database."""

    url: str
    name: str = "here"
    id: UUID = field(default_factory=uuid4)
    offset: timedelta = timedelta(0)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.identity = NodeIdentity(
            id=self.id, boot_id=uuid4(), name=self.name, machine_id="m", pid=1, version="0"
        )
        self.gateway = Gateway(self.url, log=self.lines.append)
        parts = {"offset": lambda: self.offset}
        self.claims = Claims(self.gateway, self.identity, **parts)
        self.presence = Presence(self.gateway, self.identity, **parts)
        self.outcomes = Outcomes(self.gateway, self.identity)
        self.history = History(self.gateway, self.id)
        self.plans = Plans(self.gateway, self.id, lambda spec: str(self.id) if spec.nodes == "every" else "")

    async def enter(self, *jobs: str, key: str | None = None, revision: str = "r1", **spec: Any) -> None:
        """These jobs are in the plan from NOON on, under one revision."""
        specs = [
            JobSpec(name=name, extension="x", job="x", schedule="* * * * * *", concurrency=key or "", **spec)
            for name in jobs
        ]
        async with self.plans.transaction() as connection:
            await self.plans.lock_all(connection)
            await self.plans.enter(connection, specs, NOON)
            text = json.dumps({"configuration": {"scheduler": {"jobs": [{"name": name} for name in jobs]}}})
            await self.plans.put_in_force(connection, (revision, text), NOON)
        self.claims.revision = revision

    async def claim(self, *claims: Claim, capacity: int = MANY) -> Granted:
        return await self.claims.claim(claims, capacity)

    async def by_hand(self, job: str, **rest: Any) -> tuple[NewRun, UUID, UUID | None]:
        """The run, its token, and what it collides with."""
        kind = rest.pop("kind", RunKind.MANUAL)
        run = NewRun(
            id=new_run_id(),
            job=job,
            scope=rest.pop("scope", ""),
            kind=kind,
            status=RunStatus.SKIPPED,
            concurrency=rest.pop("key", job),
            planned=False,
        )
        token, blocker = await self.claims.add(run, **{"capacity": MANY, **rest})
        return run, token, blocker

    async def end(
        self, run: UUID, token: UUID, status: RunStatus = RunStatus.SUCCEEDED, **outcome: Any
    ) -> None:
        told = Outcome(run_id=str(run), status=status, started_at=1.0, finished_at=2.0, **outcome)
        await self.outcomes.write(Batch(endings=[Ending(outcome=told, token=str(token))]))

    async def start_next(self, *keys: str, concurrent: Iterable[str] = ()) -> list[UUID]:
        """Ids of the runs whose turn has come."""
        allowed = set(concurrent)
        started = await self.claims.start_next(
            keys, lambda job: job in allowed, lambda job, scope: scope in ("", str(self.id))
        )
        return [run.id for run, _ in started]


def cron(number: int = 1, **rest: Any) -> Entry:
    """The instant `number` seconds after NOON, to be run."""
    moment = NOON + number * SECOND
    return Entry(first=moment, last=moment, **rest)


def span(first: int, last: int, reason: str = "daemon_down") -> Entry:
    """Missed instants, in seconds after NOON."""
    return Entry(
        first=NOON + first * SECOND,
        last=NOON + last * SECOND,
        count=last - first + 1,
        status=RunStatus.MISSED,
        reason=reason,
    )


def due(job: str, *entries: Entry, after: int = 0, key: str | None = None, **rest: Any) -> Claim:
    """A claim of `job` from the watermark NOON + `after` seconds."""
    whole: dict[str, Any] = {"overlap": Overlap.SKIP, **rest}
    return Claim(
        job=job,
        concurrency=key or job,
        watermark=NOON + after * SECOND,
        until=max(entry.last for entry in entries),
        entries=entries,
        **whole,
    )


MakeNode = Callable[..., Awaitable[Node]]
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
async def make_node(scheduler_database: str) -> AsyncIterator[MakeNode]:
    nodes: list[Node] = []

    async def make(*jobs: str, **rest: Any) -> Node:
        spec = {name: rest.pop(name) for name in ("key", "nodes", "revision") if name in rest}
        nodes.append(Node(scheduler_database, **rest))
        await nodes[-1].gateway.open()
        if jobs:
            await nodes[-1].enter(*jobs, **spec)
        else:
            nodes[-1].claims.revision = "r1"
        return nodes[-1]

    yield make
    for node in nodes:
        await node.gateway.close()


@pytest.fixture
def query(scheduler_database: str) -> Iterator[Query]:
    """What somebody else sees in the database."""
    with psycopg.connect(scheduler_database, autocommit=True, row_factory=dict_row) as connection:

        def run(statement: str, *parameters: Any) -> list[dict[str, Any]]:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def runs(query: Query) -> Callable[..., list[dict[str, Any]]]:
    """All rows of a job, oldest first, or these columns of them."""

    def read(job: str = "a", columns: str = "*") -> list[Mapping[str, Any]]:
        return query(f"SELECT {columns} FROM scheduler.runs WHERE job = %s ORDER BY id", job)

    return read
