"""From rows and books to views."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.errors import UnknownJobError
from scheduler_daemon.ledger.history import Override, Row
from scheduler_daemon.model import JobInfo, JobSpec
from scheduler_daemon.operations.health import ahead
from scheduler_daemon.operations.house import House
from scheduler_daemon.operations.values import JobView, OverrideView, RecentRun, RunDetail, RunView
from scheduler_daemon.runner.book import PlannedJob

_RUN = tuple(RunView.__dataclass_fields__)
_RECENT = tuple(RecentRun.__dataclass_fields__)
_DETAIL = tuple(RunDetail.__dataclass_fields__)
_IDS = ("id", "blocked_by", "first_run", "node")


def run_view(row: Row) -> RunView:
    return RunView(**_texts(row, _RUN))


def recent_run(row: Row) -> RecentRun:
    return RecentRun(**_with_steps(row, _RECENT))


def run_detail(row: Row) -> RunDetail:
    return RunDetail(**_with_steps(row, _DETAIL))


def _with_steps(row: Row, names: Sequence[str]) -> dict[str, Any]:
    values = _texts(row, names)
    values["steps"] = row["steps"] or []
    return values


def _texts(row: Row, names: Sequence[str]) -> dict[str, Any]:
    """Ids as text."""
    values = {name: row[name] for name in names}
    for name in _IDS:
        if values.get(name) is not None:
            values[name] = str(values[name])
    return values


def override_view(override: Override | None) -> OverrideView | None:
    if override is None:
        return None
    return OverrideView(
        enabled=override.enabled,
        reason=override.reason,
        actor=override.actor,
        since=override.since,
        until=override.until,
    )


def find_spec(house: House, name: str) -> JobSpec:
    """Raises UnknownJobError with the nearest names."""
    spec = house.book.spec(name) or house.book.elsewhere.get(name)
    if spec is None:
        raise UnknownJobError(name, nearest(name, all_names(house)))
    return spec


def nearest(name: str, names: Sequence[str]) -> list[str]:
    """Names that a person may have meant, best first."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    inside = [other for other in names if name and name in other and other not in close]
    return (close + inside)[:3]


def all_names(house: House) -> list[str]:
    book = house.book
    return [*book.jobs, *book.elsewhere, *book.unscheduled]


def job_view(house: House, spec: JobSpec, last: Mapping[str, Row], live: Mapping[str, list[str]]) -> JobView:
    return JobView(**job_values(house, spec, last, live))


def job_values(
    house: House, spec: JobSpec, last: Mapping[str, Row], live: Mapping[str, list[str]]
) -> dict[str, Any]:
    book, now = house.book, house.clock.now()
    planned = book.jobs.get(spec.name)
    info = _info(house, spec)
    enabled = book.effectively_enabled(spec.name, now)
    unavailable = planned.unavailable if planned is not None else None
    row = last.get(spec.name)
    override = book.overrides.get(spec.name)
    return {
        "name": spec.name,
        "extension": spec.extension,
        "job": spec.job,
        "description": info.description if info else "",
        "state": _state(house, spec, enabled, unavailable),
        "schedule": spec.schedule,
        "schedule_text": describe(spec.schedule),
        "timezone": spec.timezone,
        "enabled": enabled,
        "enabled_in_file": spec.enabled and book.scheduler_enabled,
        "override": override_view(override if override and _in_force(override, now) else None),
        "unavailable": unavailable,
        "degraded": ahead(planned, now) or house.runner.health.degraded(spec.name),
        "run_on_startup": bool(info and info.run_on_startup),
        "next_fire": next_fire(planned, now) if planned and enabled and not unavailable else None,
        "last_run": run_view(row) if row else None,
        "live_runs": tuple(live.get(spec.name, ())),
        "tags": spec.tags,
        "nodes": spec.nodes,
    }


def next_fire(planned: PlannedJob, now: datetime) -> datetime | None:
    """Nothing fires that is accounted for."""
    return planned.table.next_after(max(now, planned.watermark))


@lru_cache(maxsize=4096)
def describe(schedule: str) -> str:
    return CronExpression.parse(schedule).describe() if schedule else ""


def _in_force(override: Override, now: datetime) -> bool:
    return override.until is None or override.until > now


def _info(house: House, spec: JobSpec) -> JobInfo | None:
    return house.edition.catalogue.find(spec.extension, spec.job)


def state_of(house: House, name: str, now: datetime) -> str:
    """Of a job that the configuration names."""
    planned = house.book.jobs.get(name)
    if planned is None:
        return "elsewhere"
    enabled = house.book.effectively_enabled(name, now)
    return _state(house, planned.spec, enabled, planned.unavailable)


def _state(house: House, spec: JobSpec, enabled: bool, unavailable: str | None) -> str:
    if spec.name in house.book.unscheduled:
        return "not scheduled"
    if spec.name in house.book.elsewhere:
        return "elsewhere"
    if unavailable is not None:
        return "unavailable"
    return "scheduled" if enabled else "disabled"
