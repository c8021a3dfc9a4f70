"""From one configuration to the next: the old plan is settled up to a moment, the new one holds from there.

A start is the same as a reload: the revision that was in force while the daemon was down planned
what was missed. All in one transaction, in which no node can claim: no instant is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from scheduler_daemon.config import Binding, Planned, planned
from scheduler_daemon.errors import ConfigurationError
from scheduler_daemon.ledger.claims import Claims, Granted
from scheduler_daemon.ledger.plans import Marks, Plans
from scheduler_daemon.ledger.presence import Revision
from scheduler_daemon.model import Catalogue, JobSpec, Misfire, Settings
from scheduler_daemon.runner.book import Book, PlannedJob, timetable
from scheduler_daemon.runner.claiming import claims_of
from scheduler_daemon.runner.planning import Situation

FURTHEST = timedelta(hours=1)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """A configuration with what the job plane made of it."""

    settings: Settings
    catalogue: Catalogue
    bindings: Sequence[Binding]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turnover:
    """What a rollover came to: the book in force, and the runs that settling the old one granted."""

    book: Book
    old: Book
    granted: Granted | None


class Rollover:
    """Builds books. The node's name and `scope` (its id) decide which jobs are planned here."""

    def __init__(self, plans: Plans, claims: Claims, *, node: tuple[str, str]) -> None:
        self._plans = plans
        self._claims = claims
        self._node_name, self._scope = node

    async def apply(
        self,
        edition: Edition,
        clock: Callable[[], datetime],
        at: Callable[[datetime], Situation],
        capacity: int,
    ) -> Turnover:
        """Put `edition` in force.

        1. lock every schedule; 2. settle what the old revision planned until now; 3. enter the new jobs,
        move the watermarks to now, store the revision; 4. commit.
        """
        old, granted = Book(), None
        async with self._plans.transaction() as connection:
            marks = await self._plans.lock_all(connection)
            latest = await self._plans.latest_revision(connection)
            before = _read(latest)
            changed = latest is None or latest.hash != edition.settings.revision
            now = _moment(clock(), marks, latest)
            if changed and latest is not None and before is not None:
                old = self._old_book(before, edition, marks)
                due = claims_of(old, old.jobs, at(now))
                if due:
                    self._claims.revision = latest.hash
                    granted = await self._claims.claim_on(connection, due, capacity)
            known = {spec.name for spec in before.jobs} if before else set()
            specs = [b.job for b in edition.bindings if self.mine(b.job)]
            returning = [spec.name for spec in specs if changed and spec.name not in known]
            await self._plans.enter(connection, specs, returning, now)
            if changed:
                names = sorted({*old.jobs, *(spec.name for spec in specs)})
                revision = (edition.settings.revision, edition.settings.revision_text)
                await self._plans.put_in_force(connection, revision, names, now)
            marks = await self._plans.lock_all(connection)
        self._claims.revision = edition.settings.revision
        return Turnover(book=self._new_book(edition, marks), old=old, granted=granted)

    def mine(self, spec: JobSpec) -> bool:
        """Whether this node plans the job."""
        return spec.nodes in ("any", "every", self._node_name)

    def scope_of(self, spec: JobSpec) -> str:
        return self._scope if spec.nodes == "every" else ""

    def _old_book(self, before: Planned, edition: Edition, marks: Marks) -> Book:
        """A job that `edition` no longer has is only accounted for: nothing of it runs any more."""
        new = {binding.job.name: binding for binding in edition.bindings}
        book = Book(scheduler_enabled=before.enabled)
        for spec in before.jobs:
            mark = marks.get((spec.name, self.scope_of(spec)))
            if mark is not None and self.mine(spec):
                binding = new.get(spec.name)
                spec = _as_it_would_run(spec, binding)
                book.jobs[spec.name] = self._planned(spec, mark, binding, edition.catalogue)
        return book

    def _new_book(self, edition: Edition, marks: Marks) -> Book:
        book = Book(scheduler_enabled=edition.settings.scheduler_enabled)
        for binding in edition.bindings:
            spec = binding.job
            if self.mine(spec):
                mark = marks[spec.name, self.scope_of(spec)]
                book.jobs[spec.name] = self._planned(spec, mark, binding, edition.catalogue)
            else:
                book.elsewhere[spec.name] = spec
        _add_unscheduled(book, edition)
        return book

    def _planned(
        self, spec: JobSpec, mark: datetime, binding: Binding | None, catalogue: Catalogue
    ) -> PlannedJob:
        extension = next((e for e in catalogue.extensions if e.name == spec.extension), None)
        return PlannedJob(
            spec=spec,
            table=timetable(spec),
            scope=self.scope_of(spec),
            watermark=mark,
            info=binding.info if binding else None,
            unavailable=binding.reason if binding else None,
            isolate=extension is not None and extension.leaves_threads,
        )


def _moment(now: datetime, marks: Marks, latest: Revision | None) -> datetime:
    """When the new plan begins: now, or, after a clock was set back, where the old one had come to."""
    told = [*marks.values(), *([latest.in_force_from] if latest else [])]
    return max([now, *(moment for moment in told if moment <= now + FURTHEST)])


def _read(revision: Revision | None) -> Planned | None:
    if revision is None:
        return None
    try:
        return planned(revision.text)
    except ConfigurationError as error:
        log.error("the revision in force cannot be read by this version", why=str(error))
        return None


def _as_it_would_run(spec: JobSpec, binding: Binding | None) -> JobSpec:
    """The old schedule with the new rules; a job that is gone runs nothing."""
    if binding is None:
        return replace(spec, misfire=Misfire.SKIP)
    return replace(
        binding.job,
        schedule=spec.schedule,
        timezone=spec.timezone,
        dst=spec.dst,
        nodes=spec.nodes,
        enabled=spec.enabled and binding.job.enabled,
    )


def _add_unscheduled(book: Book, edition: Edition) -> None:
    """Registered jobs that no entry binds can be run by hand, under the name that their code gives them."""
    bound = {(spec.extension, spec.job) for spec in edition.settings.jobs}
    taken = {spec.name for spec in edition.settings.jobs}
    for extension in edition.catalogue.extensions:
        for info in extension.jobs:
            if (extension.name, info.name) in bound or info.name in taken:
                continue
            book.unscheduled[info.name] = JobSpec(
                name=info.name,
                extension=extension.name,
                job=info.name,
                schedule=info.schedule,
                enabled=False,
                concurrency=info.name,
            )
            book.unscheduled_info[info.name] = info
