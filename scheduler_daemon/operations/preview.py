"""What a reload would change, before anything changes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from scheduler_daemon.config import Loaded, bindings, doubts, load, require_fitting
from scheduler_daemon.cron import CronExpression
from scheduler_daemon.model import Catalogue, JobSpec, RunStatus, Settings
from scheduler_daemon.operations.fires import compare, differs
from scheduler_daemon.operations.health import at_next_start
from scheduler_daemon.operations.house import House
from scheduler_daemon.operations.reports import CatchUp, Field, JobChange, ReloadPlan
from scheduler_daemon.runner.plane import Discovery, JobPlane
from scheduler_daemon.runner.planning import Timetable, plan

DAYS = 7
_PLACES = ("name", "position", "schedule_position")
DUE_FOR = timedelta(seconds=5)
log = structlog.get_logger(__name__)


class Preview:
    """One look ahead: the configuration is read as a reload would, with a job plane of its own."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._now = house.clock.now()
        self._until = self._now + timedelta(days=DAYS)

    async def plan(self) -> ReloadPlan:
        """Raises ConfigurationError where the reload would be refused."""
        old = self._house.edition.settings
        loaded = await asyncio.to_thread(load, old.file)
        catalogue = await _catalogue(loaded)
        return await asyncio.to_thread(self._compare, loaded, catalogue)

    def _compare(self, loaded: Loaded, catalogue: Catalogue) -> ReloadPlan:
        old, new = self._house.edition.settings, loaded.settings
        before, after = (json.loads(one.revision_text) for one in (old, new))
        fresh = before["tzdata"] != after["tzdata"]
        jobs = list(self._jobs(loaded, catalogue, fresh=fresh))
        settings = list(_settings(before["configuration"], after["configuration"]))
        extensions = list(_extensions(self._house.edition.catalogue, catalogue))
        return ReloadPlan(
            changes=bool(jobs or settings or extensions or fresh),
            revision_before=old.revision,
            revision_after=new.revision,
            tzdata_before=before["tzdata"],
            tzdata_after=after["tzdata"],
            jobs=jobs,
            settings=settings,
            extensions=extensions,
            catch_up=list(self._catch_up()),
            warnings=self._new_doubts(loaded),
            days=DAYS,
        )

    def _jobs(self, loaded: Loaded, catalogue: Catalogue, *, fresh: bool) -> Iterator[JobChange]:
        edition = self._house.edition
        old = {one.job.name: one for one in edition.bindings}
        new = {one.job.name: one for one in bindings(loaded.settings, catalogue)}
        for name in [*new, *(name for name in old if name not in new)]:
            before, after = old.get(name), new.get(name)
            changed = list(_fields(before.job if before else None, after.job if after else None))
            fires = compare(
                self._fires(before, edition.settings),
                self._fires(after, loaded.settings, fresh=fresh),
                self._now,
                self._until,
            )
            reason = after.reason if after else None
            if changed or before is None or after is None or differs(fires) or before.reason != reason:
                kind = "added" if before is None else "removed" if after is None else "changed"
                yield JobChange(job=name, change=kind, fields=changed, fires=fires, unavailable=reason)

    def _fires(self, binding: Any, settings: Settings, *, fresh: bool = False) -> Timetable | None:
        """The timetable by which it really runs; None: it does not."""
        if binding is None or binding.reason is not None:
            return None
        spec: JobSpec = binding.job
        override = self._house.book.overrides.get(spec.name)
        in_force = override is not None and (override.until is None or override.until > self._now)
        enabled = override.enabled if override and in_force else settings.scheduler_enabled and spec.enabled
        if not enabled:
            return None
        zone = ZoneInfo.no_cache(spec.timezone) if fresh else ZoneInfo(spec.timezone)
        return Timetable(expression=CronExpression.parse_schedule(spec.schedule), zone=zone, dst=spec.dst)

    def _catch_up(self) -> Iterator[CatchUp]:
        """A reload settles what is due; while claiming goes well that is nothing."""
        at = self._house.runner.dispatcher.readiness.situation(self._now)
        for job in self._house.book.jobs.values():
            for entry in plan(job.table, job.watermark, job.rule, at):
                if entry.status is RunStatus.RUNNING and entry.first < self._now - DUE_FOR:
                    yield CatchUp(job=job.spec.name, instant=entry.first)

    def _new_doubts(self, loaded: Loaded) -> Sequence[str]:
        known = {one.message for one in doubts(self._house.edition.settings, self._now)}
        found = [*loaded.warnings, *doubts(loaded.settings, self._now)]
        later = at_next_start(self._house.started_with, loaded.settings)
        return [*(str(one) for one in found if one.message not in known), *later]


async def _catalogue(loaded: Loaded) -> Catalogue:
    """What a new job plane finds, started for this only. Raises ConfigurationError as a reload would."""
    settings = loaded.settings
    plane = JobPlane(python=settings.jobplane_python or Path(sys.executable), log=log)
    try:
        catalogue = await plane.start(Discovery.of(settings, None))
    finally:
        await plane.stop(0)
    require_fitting(loaded, catalogue)
    return catalogue


def _fields(before: JobSpec | None, after: JobSpec | None) -> Iterator[Field]:
    """What differs; of a job that is new or gone, its schedule."""
    if before is None or after is None:
        one = before or after
        assert one is not None
        schedule = f"{one.schedule} ({one.timezone})"
        yield Field(key="schedule", before=schedule if before else None, after=schedule if after else None)
        return
    for field in fields(JobSpec):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name not in _PLACES and old != new:
            yield Field(key=field.name, before=_plain(old), after=_plain(new))


def _plain(value: Any) -> Any:
    """As the configuration would write it."""
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, Mapping):
        return dict.fromkeys(value, "…")
    if hasattr(value, "gap"):
        return {"gap": str(value.gap), "overlap": str(value.overlap)}
    return list(value) if isinstance(value, tuple) else value


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Field]:
    """Keys outside the jobs; secrets are references here."""
    yield from _differences("", _without_jobs(before), _without_jobs(after))


def _without_jobs(whole: Mapping[str, Any]) -> dict[str, Any]:
    scheduler = {key: value for key, value in (whole.get("scheduler") or {}).items() if key != "jobs"}
    return {key: value for key, value in whole.items() if key != "includes"} | {"scheduler": scheduler}


def _differences(key: str, before: Any, after: Any) -> Iterator[Field]:
    """Down to the single keys, as in extensions.web.site.name."""
    if before == after:
        return
    if all(side is None or isinstance(side, Mapping) for side in (before, after)):
        before, after = before or {}, after or {}
        for name in sorted({*before, *after}):
            below = f"{key}.{name}" if key else name
            yield from _differences(below, before.get(name), after.get(name))
    else:
        yield Field(key=key, before=before, after=after)


def _extensions(before: Catalogue, after: Catalogue) -> Iterator[Field]:
    old = {one.name: _version(one) for one in before.extensions}
    new = {one.name: _version(one) for one in after.extensions}
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield Field(key=name, before=old.get(name), after=new.get(name))


def _version(extension: Any) -> str:
    jobs = ", ".join(job.name for job in extension.jobs) or ("unavailable" if extension.error else "no jobs")
    return f"{extension.version} ({'faulty: ' if extension.error and extension.jobs else ''}{jobs})"
