"""From one configuration to the next: the old plan is settled up to a moment, the new one holds from there.

A start is the same as a reload: the revision that was in force while the daemon was down planned
what was missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from scheduler_daemon.config import Binding, planned
from scheduler_daemon.errors import ConfigurationError
from scheduler_daemon.ledger.plans import Plans
from scheduler_daemon.ledger.presence import Presence, Revision
from scheduler_daemon.model import Catalogue, ExtensionInfo, JobInfo, JobSpec, Misfire, Settings
from scheduler_daemon.runner.book import Book, PlannedJob, timetable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """A configuration with what the job plane made of it."""

    settings: Settings
    catalogue: Catalogue
    bindings: Sequence[Binding]


class Rollover:
    """Builds books. `node_name` and `scope` (the node's id) decide which jobs are planned here."""

    def __init__(self, presence: Presence, plans: Plans, *, node_name: str, scope: str) -> None:
        self._presence = presence
        self._plans = plans
        self._node_name = node_name
        self._scope = scope

    async def old_book(self, edition: Edition) -> tuple[Book, Revision | None]:
        """What the revision in force planned, to be settled before `edition` replaces it.

        Empty if `edition` is the revision in force. A job that `edition` no longer has is only
        accounted for: nothing of it runs any more.
        """
        latest = await self._presence.latest_revision()
        if latest is None or latest.hash == edition.settings.revision:
            return Book(), latest
        try:
            old = planned(latest.text)
        except ConfigurationError as error:
            log.error("the revision in force cannot be read by this version", why=str(error))
            return Book(), latest
        new = {binding.job.name: binding for binding in edition.bindings}
        specs = [_as_it_would_run(spec, new.get(spec.name)) for spec in old.jobs if self._mine(spec)]
        marks = await self._plans.watermarks([s.name for s in specs], self._scopes())
        book = Book(scheduler_enabled=old.enabled)
        for spec in specs:
            mark = marks.get((spec.name, self._scope_of(spec)))
            if mark is not None:
                book.jobs[spec.name] = self._planned(spec, mark, new.get(spec.name), edition.catalogue)
        return book, latest

    async def new_book(self, edition: Edition, now: datetime, old: Revision | None) -> Book:
        """Put `edition` in force from `now` on, and say where each of its jobs stands."""
        settings = edition.settings
        mine = [b for b in edition.bindings if self._mine(b.job)]
        specs = [binding.job for binding in mine]
        if old is None or old.hash != settings.revision:
            before = _names(old)
            returning = [s.name for s in specs if s.name not in before]
            await self._plans.enter(specs, returning, now, self._scope_of)
            await self._presence.put_in_force(settings.revision, settings.revision_text, now)
        else:
            await self._plans.enter(specs, (), now, self._scope_of)
        marks = await self._plans.watermarks([s.name for s in specs], self._scopes())
        book = Book(scheduler_enabled=settings.scheduler_enabled)
        for binding in mine:
            spec = binding.job
            mark = marks[spec.name, self._scope_of(spec)]
            book.jobs[spec.name] = self._planned(spec, mark, binding, edition.catalogue)
        book.elsewhere = {b.job.name: b.job for b in edition.bindings if not self._mine(b.job)}
        _add_unscheduled(book, edition)
        return book

    def _planned(
        self, spec: JobSpec, mark: datetime, binding: Binding | None, catalogue: Catalogue
    ) -> PlannedJob:
        extension = next((e for e in catalogue.extensions if e.name == spec.extension), None)
        return PlannedJob(
            spec=spec,
            table=timetable(spec),
            scope=self._scope_of(spec),
            watermark=mark,
            info=binding.info if binding else None,
            unavailable=binding.reason if binding else None,
            isolate=extension is not None and extension.leaves_threads,
        )

    def _mine(self, spec: JobSpec) -> bool:
        return spec.nodes in ("any", "every", self._node_name)

    def _scope_of(self, spec: JobSpec) -> str:
        return self._scope if spec.nodes == "every" else ""

    def _scopes(self) -> list[str]:
        return ["", self._scope]


def _as_it_would_run(spec: JobSpec, binding: Binding | None) -> JobSpec:
    """The old schedule with the new rules; a job that is gone runs nothing."""
    if binding is None:
        return replace(spec, misfire=Misfire.SKIP)
    new = binding.job
    return replace(
        new,
        schedule=spec.schedule,
        timezone=spec.timezone,
        dst=spec.dst,
        nodes=spec.nodes,
        enabled=spec.enabled and new.enabled,
    )


def _names(revision: Revision | None) -> set[str]:
    if revision is None:
        return set()
    try:
        return {spec.name for spec in planned(revision.text).jobs}
    except ConfigurationError:
        return set()


def _add_unscheduled(book: Book, edition: Edition) -> None:
    """Registered jobs that no entry binds can be run by hand, under the name that their code gives them."""
    bound = {(spec.extension, spec.job) for spec in edition.settings.jobs}
    taken = {spec.name for spec in edition.settings.jobs}
    for extension, info in _registered(edition.catalogue.extensions):
        if (extension.name, info.name) in bound or info.name in taken:
            continue
        book.unscheduled[info.name] = JobSpec(
            name=info.name, extension=extension.name, job=info.name, schedule=info.schedule, enabled=False
        )
        book.unscheduled_info[info.name] = info


def _registered(extensions: Iterable[ExtensionInfo]) -> Iterable[tuple[ExtensionInfo, JobInfo]]:
    return ((extension, info) for extension in extensions for info in extension.jobs)
