"""From one configuration to the next: the old plan is settled up to a moment, the new one holds from there.

A start is the same as a reload: the revision that was in force while the daemon was down planned
what was missed. All in one transaction, in which no node can claim: no instant is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler_daemon.ledger.claims import Claims, Granted
from scheduler_daemon.ledger.plans import Marks, Plans
from scheduler_daemon.ledger.presence import Revision
from scheduler_daemon.model import JobSpec
from scheduler_daemon.runner.book import Book
from scheduler_daemon.runner.planning import Situation
from scheduler_daemon.runner.settling import Edition, Here, Settling

__all__ = ["Edition", "Rollover", "Turnover"]

FURTHEST = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Turnover:
    """What a rollover came to: the book in force; and the runs that settling older ones granted, each with
    the book by which it is to be run.
    """

    book: Book
    settled: Sequence[tuple[Book, Granted]] = ()


class Rollover:
    """Builds books. The node's name and `scope` (its id) decide which jobs are planned here."""

    def __init__(self, plans: Plans, claims: Claims, *, node: tuple[str, str]) -> None:
        self._plans = plans
        self._claims = claims
        self._here = Here(name=node[0], scope=node[1])
        self._settling = Settling(plans, claims, self._here)

    async def apply(
        self,
        edition: Edition,
        clock: Callable[[], datetime],
        at: Callable[[datetime], Situation],
        capacity: int,
    ) -> Turnover:
        """Put `edition` in force. `clock` tells the time that nodes share.

        1. lock every schedule; 2. settle what older revisions planned until now; 3. enter the new jobs,
        move the watermarks to now, store the revision; 4. commit.
        """
        async with self._plans.transaction() as connection:
            marks = await self._plans.lock_all(connection)
            latest = await self._plans.latest_revision(connection)
            changed = latest is None or latest.hash != edition.settings.revision
            now = _moment(clock(), marks, latest)
            stretches = await self._settling.stretches(connection, edition, marks, now if changed else None)
            settled = await self._settling.settle(connection, stretches, edition, marks, at, capacity)
            specs = [b.job for b in edition.bindings if self._here.plans(b.job)]
            await self._plans.enter(connection, specs, now)
            start = now if changed or latest is None else latest.in_force_from
            rows = map(self._here.row_of, specs)
            behind = {row: start for row in rows if settled.marks.get(row, now) < start}
            await self._plans.advance(connection, behind, anew=True)
            if changed:
                revision = (edition.settings.revision, edition.settings.revision_text)
                await self._plans.put_in_force(connection, revision, now)
            marks = await self._plans.lock_all(connection)
        self._claims.revision = edition.settings.revision
        return Turnover(book=self._new_book(edition, marks), settled=settled.granted)

    def _new_book(self, edition: Edition, marks: Marks) -> Book:
        book = Book(scheduler_enabled=edition.settings.scheduler_enabled)
        for binding in edition.bindings:
            spec = binding.job
            if self._here.plans(spec):
                row = self._here.row_of(spec)
                book.jobs[spec.name] = edition.planned_job(spec, binding, row[1], marks[row])
            else:
                book.elsewhere[spec.name] = spec
        _add_unscheduled(book, edition)
        return book


def _moment(now: datetime, marks: Marks, latest: Revision | None) -> datetime:
    """When the new plan begins: now, or, after a clock was set back, where the old one had come to."""
    told = [*marks.values(), *([latest.in_force_from] if latest else [])]
    return max([now, *(moment for moment in told if moment <= now + FURTHEST)])


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
                concurrency=info.concurrency,
            )
            book.unscheduled_info[info.name] = info
