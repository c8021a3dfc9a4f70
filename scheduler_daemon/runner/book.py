"""The jobs as the daemon holds them in memory: what is planned, where each stands, who is switched off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.ledger.history import Override
from scheduler_daemon.model import DstPolicy, JobInfo, JobSpec, Misfire
from scheduler_daemon.runner.orders import told_of
from scheduler_daemon.runner.planning import MisfireRule, Timetable


@dataclass(kw_only=True, slots=True)
class PlannedJob:
    """An entry of the configuration with its timetable, its watermark and what the job plane says of it.

    `unavailable` is the one-line reason why it cannot run, or None.
    """

    spec: JobSpec
    table: Timetable
    scope: str = ""
    watermark: datetime
    info: JobInfo | None = None
    unavailable: str | None = None
    isolate: bool = False
    rule: MisfireRule = field(init=False)

    def __post_init__(self) -> None:
        self.rule = _rule(self.spec.misfire, self.spec.misfire_window)


@dataclass(kw_only=True)
class Book:
    """All jobs of the configuration in force. `unscheduled` are registered, but in no entry of it;
    `elsewhere` are planned by other nodes only."""

    jobs: dict[str, PlannedJob] = field(default_factory=dict)
    elsewhere: dict[str, JobSpec] = field(default_factory=dict)
    unscheduled: dict[str, JobSpec] = field(default_factory=dict)
    unscheduled_info: dict[str, JobInfo] = field(default_factory=dict)
    overrides: dict[str, Override] = field(default_factory=dict)
    scheduler_enabled: bool = True
    _told: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def enabled(self, job: PlannedJob) -> bool:
        """What the file says; the override is applied under the claim's lock, from the database."""
        return self.scheduler_enabled and job.spec.enabled

    def effectively_enabled(self, name: str, now: datetime) -> bool:
        override = self.overrides.get(name)
        if override is not None and (override.until is None or override.until > now):
            return override.enabled
        job = self.jobs.get(name)
        return job is not None and self.enabled(job)

    def spec(self, name: str) -> JobSpec | None:
        job = self.jobs.get(name)
        return job.spec if job is not None else self.unscheduled.get(name)

    def told(self, spec: JobSpec) -> str:
        """What a worker is told of a run of this book's job that brings no parameters of its own."""
        known = self._told.get(spec.name)
        if known is None:
            known = self._told[spec.name] = told_of(spec, spec.parameters)
        return known

    def tables(self) -> Mapping[Timetable, list[str]]:
        """Jobs by timetable: those that fire together need one timer."""
        tables: dict[Timetable, list[str]] = {}
        for name, job in self.jobs.items():
            tables.setdefault(job.table, []).append(name)
        return tables

    def planned_here(self, names: Iterable[str]) -> Iterator[PlannedJob]:
        for name in names:
            job = self.jobs.get(name)
            if job is not None:
                yield job


def timetable(spec: JobSpec) -> Timetable:
    """The timetable of a checked spec; the same one for specs that agree."""
    return _timetable(spec.schedule, spec.timezone, spec.dst)


@lru_cache(maxsize=20_000)
def _timetable(schedule: str, zone: str, dst: DstPolicy) -> Timetable:
    """They never change; a reload meets most of them again."""
    return Timetable(expression=CronExpression.parse_schedule(schedule), zone=ZoneInfo(zone), dst=dst)


@lru_cache(maxsize=1_000)
def _rule(policy: Misfire, window: timedelta) -> MisfireRule:
    return MisfireRule(policy=policy, window=window)
