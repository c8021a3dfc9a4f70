"""What an operator does with jobs: look, run, cancel, switch on and off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from scheduler_daemon.errors import (
    CollisionError,
    DatabaseUnavailableError,
    JobUnavailableError,
    RequestError,
    UnknownRunError,
)
from scheduler_daemon.ledger.history import Actor, LogFilter, Override, Row, RunFilter
from scheduler_daemon.model import JobSpec
from scheduler_daemon.operations.house import House
from scheduler_daemon.operations.parameters import checked, hidden, masked
from scheduler_daemon.operations.values import (
    JobDetail,
    JobList,
    JobView,
    LogView,
    RunDetail,
    RunStarted,
    RunView,
)
from scheduler_daemon.operations.views import (
    describe,
    find_spec,
    job_values,
    job_view,
    override_view,
    recent_run,
    run_detail,
    run_view,
)
from scheduler_daemon.runner.book import timetable
from scheduler_daemon.runner.dispatcher import Request


@dataclass(frozen=True, kw_only=True)
class Switch:
    """An enable or a disable. `lasting` None: until the next one."""

    enabled: bool
    reason: str | None = None
    lasting: timedelta | None = None


class JobOperations:
    def __init__(self, house: House) -> None:
        self._house = house

    async def jobs(self) -> JobList:
        """All jobs, in the configuration's order; from memory alone while the database is away."""
        house, stale = self._house, None
        book = house.book
        specs = [b.job for b in house.edition.bindings] + list(book.unscheduled.values())
        try:
            last = await house.history.last_runs([spec.name for spec in specs])
            live = await self._live()
        except DatabaseUnavailableError as error:
            last, live, stale = {}, {}, str(error)
        views = tuple(job_view(house, spec, last, live) for spec in specs)
        return JobList(
            jobs=views, now=house.clock.now(), timezone=house.edition.settings.timezone, stale=stale
        )

    async def job(self, name: str) -> JobDetail:
        """Raises UnknownJobError."""
        house, spec = self._house, find_spec(self._house, name)
        last = await house.history.last_runs([name])
        recent = await house.history.runs(RunFilter(job=name, limit=10))
        values = job_values(house, spec, last, await self._live())
        return JobDetail(**values, **self._details(spec), recent_runs=[recent_run(row) for row in recent])

    def _details(self, spec: JobSpec) -> dict[str, Any]:
        house = self._house
        info = house.edition.catalogue.find(spec.extension, spec.job)
        planned = house.book.jobs.get(spec.name)
        schema = info.parameters_schema if info else None
        return {
            "code_schedule": info.schedule if info else "",
            "concurrency": spec.concurrency_key,
            "overlap": spec.overlap.value,
            "misfire": spec.misfire.value,
            "misfire_window_s": spec.misfire_window.total_seconds(),
            "dst_gap": spec.dst.gap.value,
            "dst_overlap": spec.dst.overlap.value,
            "timeout_s": spec.timeout.total_seconds() if spec.timeout else None,
            "kill_after_s": spec.kill_after.total_seconds(),
            "retries": spec.retries,
            "retry_delay_s": spec.retry_delay.total_seconds(),
            "on_lost": spec.on_lost.value,
            "memory_limit": spec.memory_limit,
            "parameters": masked(spec.parameters, schema),
            "parameters_schema": schema,
            "position": spec.position,
            "watermark": planned.watermark if planned else None,
            "next_fires": self.next_fires(spec.name, count=5),
        }

    def next_fires(self, name: str, *, count: int, start: datetime | None = None) -> tuple[datetime, ...]:
        """The next instants of the schedule after `start` (now), whether or not it is enabled, and here."""
        spec = find_spec(self._house, name)
        table = None if name in self._house.book.unscheduled else timetable(spec)
        fires: list[datetime] = []
        moment: datetime | None = start or self._house.clock.now()
        while table is not None and moment is not None and len(fires) < count:
            moment = table.next_after(moment)
            if moment is not None:
                fires.append(moment)
        return tuple(fires)

    def coming(self, name: str, *, count: int, start: datetime | None = None) -> dict[str, Any]:
        """The next instants, with what they follow from. Raises UnknownJobError."""
        spec = find_spec(self._house, name)
        return {
            "job": spec.name,
            "schedule": spec.schedule,
            "schedule_text": describe(spec.schedule),
            "timezone": spec.timezone,
            "scheduled": spec.name not in self._house.book.unscheduled,
            "enabled": self._house.book.effectively_enabled(spec.name, self._house.clock.now()),
            "fires": self.next_fires(name, count=count, start=start),
        }

    async def run(self, name: str, parameters: Mapping[str, Any], *, queue: bool, actor: Actor) -> RunStarted:
        """Start a run now, whatever the schedule and the switches say.

        Raises UnknownJobError, JobUnavailableError, CollisionError (unless `queue`), InvalidParametersError.
        """
        house, spec = self._house, find_spec(self._house, name)
        planned = house.book.jobs.get(name)
        if planned is not None and planned.unavailable is not None:
            raise JobUnavailableError(f'"{name}" cannot run: {planned.unavailable}')
        if name in house.book.elsewhere:
            raise JobUnavailableError(f'"{name}" runs on node "{spec.nodes}" only; ask the daemon there')
        parameters = checked(name, parameters, self._schema(spec))
        wanted = Request(spec=spec, parameters=parameters, actor=str(actor), queue=queue)
        run, blocker = await house.runner.dispatcher.request(wanted)
        after = {"run": str(run.id), "parameters": masked(parameters, self._schema(spec))}
        if not run.status.live:
            error = (
                f'"{name}" is busy: run {await self._told(blocker, name)} is under way (--queue waits for it)'
            )
            await house.history.record_action(actor, "run", name, (None, after), error)
            raise CollisionError(error, blocking=str(blocker))
        await house.history.record_action(actor, "run", name, (None, after))
        waits_for = str(blocker) if blocker else None
        return RunStarted(id=str(run.id), job=name, status=run.status.value, blocked_by=waits_for)

    async def _told(self, blocker: UUID | None, name: str) -> str:
        """The run in the way, and whose it is where that is not plain: jobs may share a key."""
        row = await self._house.history.run(blocker) if blocker else None
        return f'{blocker} of "{row["job"]}"' if row and row["job"] != name else str(blocker)

    async def cancel(self, run_id: str, actor: Actor) -> RunView:
        """Raises UnknownRunError, or RequestError if it has already ended."""
        row = await self._row(run_id)
        if row["status"] not in ("queued", "running"):
            raise RequestError(f"run {row['id']} has already ended: {row['status']}")
        await self._house.history.record_action(
            actor, "cancel", str(row["id"]), ({"status": row["status"]}, {"status": "cancelled"})
        )
        await self._house.runner.cancel(row["id"])
        return run_view(row)

    async def switch(self, name: str, wanted: Switch, actor: Actor) -> JobView:
        """The operator's word wins over the file, at once and across restarts.

        Raises JobUnavailableError for enabling a job whose code is missing.
        """
        house, spec = self._house, find_spec(self._house, name)
        planned = house.book.jobs.get(name)
        if name in house.book.unscheduled:
            raise RequestError(f'"{name}" is not scheduled: no entry of the configuration names it')
        if wanted.enabled and planned is not None and planned.unavailable is not None:
            raise JobUnavailableError(f'"{name}" cannot be enabled: {planned.unavailable}')
        await house.runner.dispatcher.settle()
        now = house.clock.now()
        override = Override(
            job=name,
            enabled=wanted.enabled,
            reason=wanted.reason,
            actor=str(actor),
            since=now,
            until=now + wanted.lasting if wanted.lasting else None,
        )
        before = override_view(house.book.overrides.get(name))
        await house.history.set_override(override)
        house.book.overrides[name] = override
        action = "enable" if wanted.enabled else "disable"
        await house.history.record_action(
            actor, action, name, (_plain(before), _plain(override_view(override)))
        )
        return job_view(house, spec, await house.history.last_runs([name]), await self._live())

    async def reset(self, name: str, actor: Actor) -> JobView:
        """Back to what the file says."""
        house, spec = self._house, find_spec(self._house, name)
        await house.runner.dispatcher.settle()
        before = override_view(house.book.overrides.pop(name, None))
        await house.history.clear_override(name)
        await house.history.record_action(actor, "reset", name, (_plain(before), None))
        return job_view(house, spec, await house.history.last_runs([name]), await self._live())

    async def rewind(self, name: str, actor: Actor) -> JobView:
        """Account for a job anew from now on: a clock that ran ahead left its watermark in the future.

        Raises RequestError for a job that stands where it should.
        """
        house, spec = self._house, find_spec(self._house, name)
        dispatcher, planned = house.runner.dispatcher, house.book.jobs.get(name)
        async with dispatcher.between_turns():
            now = dispatcher.readiness.shared_now()
            before = await house.plans.clear_watermark(name, now)
            if before is None:
                raise RequestError(f'"{name}" is accounted for until now, and not beyond: nothing to do')
            if planned is not None:
                planned.watermark = now
        change = ({"watermark": before.isoformat()}, {"watermark": now.isoformat()})
        await house.history.record_action(actor, "rewind", name, change)
        return job_view(house, spec, await house.history.last_runs([name]), await self._live())

    async def runs(self, wanted: RunFilter) -> list[RunView]:
        if wanted.job is not None and self._house.book.spec(wanted.job) is None:
            await self._known_by_history(wanted.job)
        await self._house.runner.recorder.flushed()
        return [run_view(row) for row in await self._house.history.runs(wanted)]

    async def run_detail(self, run_id: str) -> RunDetail:
        row = await self._row(run_id)
        if row["parameters"]:
            spec = self._house.book.spec(row["job"])
            known = masked(row["parameters"], self._schema(spec)) if spec else hidden(row["parameters"])
            row = {**row, "parameters": known}
        return run_detail(row)

    async def logs(self, wanted: LogFilter) -> list[LogView]:
        """Oldest first, as people read them; the newest `limit` of them."""
        await self._house.runner.recorder.flushed()
        rows = await self._house.history.logs(wanted)
        return [_log_view(row) for row in reversed(rows)]

    async def logs_after(self, wanted: LogFilter) -> list[LogView]:
        """Oldest first, those after the line `wanted.after`."""
        return [_log_view(row) for row in await self._house.history.logs_after(wanted)]

    async def run_id(self, text: str) -> UUID:
        """A run's id, or the beginning of one. Raises UnknownRunError."""
        row = await self._row(text)
        run_id: UUID = row["id"]
        return run_id

    async def _row(self, text: str) -> Row:
        await self._house.runner.recorder.flushed()
        found = await self._house.history.run_ids_like(text.strip().lower()) if len(text.strip()) >= 4 else []
        if len(found) > 1:
            raise UnknownRunError(f'more than one run\'s id starts with "{text}"; give more of it')
        row = await self._house.history.run(found[0]) if found else None
        if row is None:
            raise UnknownRunError(f'no run has the id "{text}"')
        return row

    async def _known_by_history(self, name: str) -> None:
        """A job that has left the configuration still has its history."""
        if not await self._house.history.runs(RunFilter(job=name, limit=1)):
            find_spec(self._house, name)

    async def _live(self) -> dict[str, list[str]]:
        live: dict[str, list[str]] = {}
        for row in await self._house.history.live():
            live.setdefault(row["job"], []).append(str(row["id"]))
        return live

    def _schema(self, spec: JobSpec) -> Mapping[str, Any] | None:
        info = self._house.edition.catalogue.find(spec.extension, spec.job)
        return info.parameters_schema if info else None


def _plain(view: Any) -> Any:
    return None if view is None else dict(view.__dict__)


def _log_view(row: Row) -> LogView:
    return LogView(**{**row, "run_id": str(row["run_id"]) if row["run_id"] else None})
