"""What older revisions had planned until another one came: settled by each node for what it plans.

A job's instants are those of the revision that was in force at the time. Usually that is one revision, up to
now; a node that was away while others went from one to the next has several behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from scheduler_daemon.config import Binding, Planned, planned
from scheduler_daemon.database.gateway import Connection
from scheduler_daemon.errors import ConfigurationError
from scheduler_daemon.ledger.claims import Claims, Granted
from scheduler_daemon.ledger.plans import Marks, Plans
from scheduler_daemon.ledger.presence import Revision
from scheduler_daemon.model import Catalogue, JobSpec, Misfire, Settings
from scheduler_daemon.runner.book import Book, PlannedJob, timetable
from scheduler_daemon.runner.claiming import claims_of
from scheduler_daemon.runner.planning import Situation

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """A configuration with what the job plane made of it."""

    settings: Settings
    catalogue: Catalogue
    bindings: Sequence[Binding]

    def planned_job(self, spec: JobSpec, binding: Binding | None, scope: str, mark: datetime) -> PlannedJob:
        """`binding` None: the configuration has no such job any more."""
        extension = next((e for e in self.catalogue.extensions if e.name == spec.extension), None)
        return PlannedJob(
            spec=spec,
            table=timetable(spec),
            scope=scope,
            watermark=mark,
            info=binding.info if binding else None,
            unavailable=binding.reason if binding else None,
            isolate=extension is not None and extension.leaves_threads,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """Which node this is: its name, and its id, the scope of its own copies of jobs."""

    name: str
    scope: str

    def plans(self, spec: JobSpec) -> bool:
        return spec.nodes in ("any", "every", self.name)

    def scope_of(self, spec: JobSpec) -> str:
        return self.scope if spec.nodes == "every" else ""

    def row_of(self, spec: JobSpec) -> tuple[str, str]:
        """The key of the job's row in the ledger's schedules."""
        return spec.name, self.scope_of(spec)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A revision, what it planned, and when it ended; `last`: it is the one in force until now."""

    revision: Revision
    plan: Planned
    end: datetime
    last: bool

    @property
    def start(self) -> datetime:
        return self.revision.in_force_from


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What settling granted, with the book by which it is to be run; and how far each schedule now is."""

    granted: Sequence[tuple[Book, Granted]]
    marks: Marks


class Settling:
    """Works in a transaction that has locked all schedules."""

    def __init__(self, plans: Plans, claims: Claims, here: Here) -> None:
        self._plans = plans
        self._claims = claims
        self._here = here

    async def settle(
        self,
        connection: Connection,
        stretches: Sequence[Stretch],
        edition: Edition,
        marks: Marks,
        at: Callable[[datetime], Situation],
        capacity: int,
    ) -> Settled:
        reached = dict(marks)
        granted: list[tuple[Book, Granted]] = []
        for stretch in stretches:
            mine, others = self._books(stretch, edition, reached)
            rows = {(job.spec.name, job.scope) for book in (mine, others) for job in book.jobs.values()}
            absent = {row: stretch.start for row in rows if reached[row] < stretch.start}
            await self._plans.advance(connection, absent, anew=True)
            gone = replace(at(stretch.end), able_since=stretch.end + timedelta(microseconds=1))
            for book, situation in ((mine, at(stretch.end)), (others, gone)):
                due = claims_of(book, book.jobs, situation)
                if due:
                    answer = await self._claims.settle(connection, due, capacity, stretch.revision.hash)
                    granted.append((book, answer))
            ended = dict.fromkeys(rows, stretch.end)
            await self._plans.advance(connection, ended, anew=False)
            reached.update(ended)
        return Settled(granted=granted, marks=reached)

    async def stretches(
        self, connection: Connection, edition: Edition, marks: Marks, until: datetime | None
    ) -> list[Stretch]:
        """What ended since this node's schedules stand still; with `until`, the one in force ends then."""
        latest = await self._plans.latest_revision(connection)
        plan = read(latest) if until is not None else None
        specs = [*(b.job for b in edition.bindings), *(plan.jobs if plan else ())]
        rows = {self._here.row_of(spec) for spec in specs if self._here.plans(spec)}
        oldest = min((marks[row] for row in rows if row in marks), default=None)
        if latest is None or oldest is None:
            return []
        revisions = await self._plans.revisions_since(connection, oldest)
        ends = [*(r.in_force_from for r in revisions[1:]), *([until] if until is not None else [])]
        return [
            Stretch(revision=revision, plan=known, end=end, last=revision.id == latest.id)
            for revision, end in zip(revisions, ends, strict=False)
            if (known := plan if revision.id == latest.id else read(revision)) is not None
        ]

    def _books(self, stretch: Stretch, edition: Edition, marks: Marks) -> tuple[Book, Book]:
        """What this node planned then; and what another one did, but this one plans from now on."""
        new = {binding.job.name: binding for binding in edition.bindings}
        mine, others = (Book(scheduler_enabled=stretch.plan.enabled) for _ in range(2))
        for spec in stretch.plan.jobs:
            row = self._here.row_of(spec)
            if row not in marks or marks[row] >= stretch.end:
                continue
            binding = new.get(spec.name)
            own = self._here.plans(spec)
            if own or (binding is not None and self._takes_over(binding.job)):
                spec = _as_it_would_run(spec, binding, late=not stretch.last or not own)
                book = mine if own else others
                mark = max(marks[row], stretch.start)
                book.jobs[spec.name] = edition.planned_job(spec, binding, row[1], mark)
        return mine, others

    def _takes_over(self, spec: JobSpec) -> bool:
        return self._here.plans(spec) and self._here.scope_of(spec) == ""


def read(revision: Revision | None) -> Planned | None:
    """What a revision planned; None, and a line in the log, if this version cannot read it."""
    if revision is None:
        return None
    try:
        return planned(revision.text)
    except ConfigurationError as error:
        log.error("a revision cannot be read by this version", revision=revision.hash[:12], why=str(error))
        return None


def _as_it_would_run(spec: JobSpec, binding: Binding | None, *, late: bool) -> JobSpec:
    """The old schedule with the new rules; a job that is gone, or whose time is long over, only ends."""
    if binding is None:
        return replace(spec, misfire=Misfire.SKIP)
    return replace(
        binding.job,
        schedule=spec.schedule,
        timezone=spec.timezone,
        dst=spec.dst,
        nodes=spec.nodes,
        enabled=spec.enabled and binding.job.enabled,
        misfire=Misfire.SKIP if late else binding.job.misfire,
    )
