"""Why a job ran or did not run at a moment: from the ledger and the configuration that was in force then.

1. which revision was in force; 2. which instant of its schedule is meant; 3. which row accounts for it;
4. what else the ledger knows of the row's reason; 5. the instants before and after; 6. in words (`explain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler_daemon.config import Planned, planned
from scheduler_daemon.errors import ConfigurationError, RequestError, UnknownJobError
from scheduler_daemon.ledger.history import Row
from scheduler_daemon.ledger.inquiry import Accounted, Inquiry, Stretch
from scheduler_daemon.ledger.presence import Revision
from scheduler_daemon.model import JobSpec
from scheduler_daemon.operations.asked import Asked, asked, exactly
from scheduler_daemon.operations.house import House
from scheduler_daemon.operations.views import all_names, nearest
from scheduler_daemon.runner.book import timetable
from scheduler_daemon.runner.planning import Timetable

SWITCHES = ("enable", "disable", "reset")
BAD = ("failed", "timed_out", "lost", "missed", "skipped", "cancelled")
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A job as a revision planned it."""

    revision: Revision
    spec: JobSpec
    scheduler_enabled: bool
    table: Timetable


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything that is known of the moment. `rows` account for what is meant, `row` is the one told of.

    `by_default`: nobody named a moment, so that when it was last due is meant.
    """

    job: str
    now: datetime
    asked: Asked
    zone: ZoneInfo
    stretch: Stretch
    known: Stretch
    plan: Plan | None
    today: Plan | None
    unavailable_today: str | None
    accounted: Accounted | None
    instant: datetime | None = None
    instants: int = 0
    row: Row | None = None
    rows: Sequence[Row] = ()
    others: Sequence[Row] = ()
    blocker: Row | None = None
    switch: Row | None = None
    cancel: Row | None = None
    outage: Row | None = None
    resumed: Row | None = None
    before: tuple[datetime, Row | None] | None = None
    after: tuple[datetime, Row | None] | None = None
    held: Sequence[str] = ()
    by_default: bool = False
    enabled_today: bool = True


class Detective:
    def __init__(self, house: House) -> None:
        self._house = house
        self._inquiry = Inquiry(house.gateway, str(house.node.id))

    async def case(self, job: str, text: str | None) -> Case:
        """`text` None: the last instant that was due. Raises UnknownJobError, RequestError."""
        now = self._house.clock.now()
        today = self._today(job)
        zone = today.table.zone if today else ZoneInfo(self._house.edition.settings.timezone)
        wanted = self._last_due(today, now) if text is None else asked(text, zone, now)
        stretch = await self._inquiry.revisions_around(wanted.start)
        plan = plan_of(stretch.at, job)
        if text is not None and plan is not None and plan.table.zone.key != zone.key:
            zone = plan.table.zone
            wanted = asked(text, zone, now)
            stretch = await self._inquiry.revisions_around(wanted.start)
            plan = plan_of(stretch.at, job)
        if plan is None and stretch.after is not None and stretch.after.in_force_from < wanted.end:
            stretch = await self._inquiry.revisions_around(stretch.after.in_force_from)
            plan = plan_of(stretch.at, job)
        known = await self._inquiry.revisions_with(job, wanted.start)
        if today is None and plan is None and known.before is None and known.after is None:
            if job in self._house.book.unscheduled:
                raise RequestError(f'nothing ever scheduled "{job}": it runs by hand only')
            raise UnknownJobError(job, nearest(job, all_names(self._house)))
        planned_today = self._house.book.jobs.get(job)
        case = Case(
            job=job,
            now=now,
            asked=wanted,
            zone=zone,
            stretch=stretch,
            known=known,
            plan=plan,
            today=today,
            unavailable_today=planned_today.unavailable if planned_today else None,
            accounted=await self._inquiry.accounted(job),
            held=tuple(self._house.runner.dispatcher.readiness.hold.values()),
            enabled_today=self._house.book.effectively_enabled(job, now),
            by_default=text is None,
        )
        return await (self._unplanned(case) if plan is None else self._with_row(case, plan))

    async def _unplanned(self, case: Case) -> Case:
        """No entry named the job then: the nearest instants are those of the entries before and after."""
        earlier, later = plan_of(case.known.before, case.job), plan_of(case.known.after, case.job)
        before = after = None
        others: Sequence[Row] = ()
        if earlier is not None:
            start = earlier.revision.in_force_from
            end = _start((await self._inquiry.revisions_around(start)).after) or case.now
            last = earlier.table.last_until(min(end, case.asked.start))
            before = await self._found(case.job, last if last is not None and last > start else None)
        if later is not None:
            start = later.revision.in_force_from
            after = await self._found(case.job, later.table.next_after(start))
            if case.by_default:
                others = await self._inquiry.others_between(case.job, start, case.now)
        return replace(case, before=before, after=after, others=tuple(others))

    async def _with_row(self, case: Case, plan: Plan) -> Case:
        """The instant that is meant, its row, and what its row points to."""
        await self._house.runner.recorder.flushed()
        first, last = case.asked.start, case.asked.end - SECOND
        since = max(first - SECOND, plan.revision.in_force_from)
        instants = plan.table.count(since, last)
        instant = plan.table.next_after(since) if instants else None
        rows = await self._inquiry.dispositions(case.job, first, last)
        row = _most_telling(rows) if instants > 1 else (rows[0] if rows else None)
        if row is not None and instants > 1:
            instant = plan.table.next_after(max(row["scheduled_for"], first) - SECOND)
        found = {"instant": instant, "instants": instants, "row": row, "rows": tuple(rows)}
        others = await self._inquiry.others_between(case.job, first, max(last, first + timedelta(minutes=1)))
        middle = instant or first
        more = {} if row is None else await self._evidence(row, middle)
        return _changed(
            case,
            **found,
            **more,
            others=tuple(others),
            before=await self._neighbour(case, plan, middle, -1),
            after=await self._neighbour(case, plan, instant or last, 1),
        )

    async def _evidence(self, row: Row, instant: datetime) -> dict[str, Row | None]:
        inquiry = self._inquiry
        found: dict[str, Row | None] = {}
        if row["blocked_by"] is not None:
            found["blocker"] = await inquiry.run(row["blocked_by"])
        if row["reason"] == "disabled":
            switches = await inquiry.actions_on(row["job"], SWITCHES, instant)
            found["switch"] = switches[0] if switches else None
        if row["status"] == "cancelled":
            cancels = await inquiry.actions_on(str(row["id"]), ("cancel",), self._house.clock.now())
            found["cancel"] = cancels[-1] if cancels else None
        if row["status"] == "missed" or row["kind"] == "catch_up":
            found["outage"] = _ending(await inquiry.outages(instant), row["reason"])
        if row["status"] == "missed":
            found["resumed"] = await inquiry.next_run(row["job"], row["last_for"])
        return found

    async def _neighbour(
        self, case: Case, plan: Plan, moment: datetime, direction: int
    ) -> tuple[datetime, Row | None] | None:
        """The nearest instant before or after, by the revision that was in force there."""
        found = _step(plan.table, moment, direction)
        edge = plan.revision.in_force_from if direction < 0 else _start(case.stretch.after)
        crossed = edge is not None and (found is None or (found < edge if direction < 0 else found > edge))
        if crossed and edge is not None:
            other = plan_of(case.stretch.before if direction < 0 else case.stretch.after, case.job)
            found = _step(other.table, edge, direction) if other is not None else None
            if found is not None and other is not None and found <= other.revision.in_force_from:
                return None
        return await self._found(case.job, found)

    async def _found(self, job: str, instant: datetime | None) -> tuple[datetime, Row | None] | None:
        """An instant with what became of it."""
        if instant is None:
            return None
        rows = await self._inquiry.dispositions(job, instant, instant)
        return instant, (rows[0] if rows else None)

    def _today(self, job: str) -> Plan | None:
        book, settings = self._house.book, self._house.edition.settings
        spec = book.jobs[job].spec if job in book.jobs else book.elsewhere.get(job)
        if spec is None:
            return None
        revision = Revision(
            id=0,
            hash=settings.revision,
            in_force_from=self._house.started_at,
            node=self._house.node.id,
            text=settings.revision_text,
        )
        return Plan(
            revision=revision,
            spec=spec,
            scheduler_enabled=settings.scheduler_enabled,
            table=timetable(spec),
        )

    def _last_due(self, today: Plan | None, now: datetime) -> Asked:
        last = today.table.last_until(now) if today else None
        return exactly(last or now.replace(microsecond=0))


def plan_of(revision: Revision | None, job: str) -> Plan | None:
    """What a stored revision planned for the job; None where it did not, or cannot be read any more."""
    plan = read(revision)
    if plan is None or revision is None:
        return None
    spec = next((spec for spec in plan.jobs if spec.name == job), None)
    if spec is None:
        return None
    return Plan(revision=revision, spec=spec, scheduler_enabled=plan.enabled, table=timetable(spec))


def read(revision: Revision | None) -> Planned | None:
    if revision is None:
        return None
    try:
        return planned(revision.text)
    except ConfigurationError:
        return None


def _most_telling(rows: Sequence[Row]) -> Row | None:
    """Of many instants people ask about the one that did not go well."""
    return next((row for row in rows if row["status"] in BAD), rows[0] if rows else None)


def _ending(outages: Sequence[Row], reason: str | None) -> Row | None:
    """The first end of an outage of this kind: a daemon's start, or the outage's own row."""
    for outage in outages:
        kind = "daemon_down" if outage["action"] == "start" else (outage["after"] or {}).get("reason")
        if reason in (None, kind):
            return outage
    return None


def _step(table: Timetable, moment: datetime, direction: int) -> datetime | None:
    return table.next_after(moment) if direction > 0 else table.last_until(moment - SECOND)


def _start(revision: Revision | None) -> datetime | None:
    return None if revision is None else revision.in_force_from


def _changed(case: Case, **found: object) -> Case:
    return replace(case, **found)  # type: ignore[arg-type]  # names of Case's own fields
