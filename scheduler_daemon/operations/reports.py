"""The longer answers: why, the timeline, what a reload would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler_daemon.operations.values import RevisionView, RunView


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One fact from the ledger. `what` is stable, for programs: run, blocker, action, outage, rule, …"""

    what: str
    text: str
    at: datetime | None = None
    run: str | None = None


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A planned instant near the one asked about, and what became of it (None: nothing yet)."""

    instant: datetime
    status: str | None
    run: str | None


@dataclass(frozen=True, kw_only=True)
class Why:
    """What became of one planned instant of a job, and why.

    `verdict` is stable, for programs: a run's status, with its reason where it has one (as in
    "missed:daemon_down"), or not_planned, not_in_configuration,
    before_records, not_due_yet, pending, future, unaccounted.
    `instant` is the planned instant that the answer is about, None where there was none. Everything from
    `revision` to `dst` is as it was in force at that moment.
    """

    job: str
    asked: str
    moment: datetime
    instant: datetime | None
    verdict: str
    answer: str
    evidence: Sequence[Evidence]
    advice: Sequence[str]
    previous: Neighbour | None
    following: Neighbour | None
    run: RunView | None
    revision: RevisionView | None
    schedule: str | None
    schedule_text: str | None
    timezone: str
    enabled_in_file: bool | None
    dst: str | None
    now: datetime


@dataclass(frozen=True, kw_only=True)
class TimelineRow:
    """One job's day: for each bucket what became of its instants and runs, and how many are to come.

    `past`: status → how many, in that bucket. `coming`: fires after now of a job that will run.
    """

    job: str
    state: str
    past: Sequence[Mapping[str, int]]
    coming: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Buckets of `bucket_s` seconds from `start` on; `now` is inside.

    `together`: in each bucket, the most jobs whose schedules fire at the same second.
    """

    start: datetime
    end: datetime
    now: datetime
    bucket_s: float
    rows: Sequence[TimelineRow]
    together: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Moved:
    before: datetime
    after: datetime


@dataclass(frozen=True, kw_only=True)
class FireChange:
    """A job's fires in the days ahead: how many before and after, and the first few that differ.

    `exact` False: there are too many fires to compare one by one, and only `before` and `after` are told.
    """

    before: int
    after: int
    added: int = 0
    removed: int = 0
    moved: int = 0
    exact: bool = True
    first_added: Sequence[datetime] = ()
    first_removed: Sequence[datetime] = ()
    first_moved: Sequence[Moved] = ()


@dataclass(frozen=True, kw_only=True)
class Field:
    """A setting that a reload would change; values as the configuration writes them."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class JobChange:
    """`change`: added, removed or changed. `unavailable`: why it could not run after the reload."""

    job: str
    change: str
    fields: Sequence[Field]
    fires: FireChange
    unavailable: str | None


@dataclass(frozen=True, kw_only=True)
class CatchUp:
    """Instants that are due but not yet handled, and that a reload would start at once."""

    job: str
    instant: datetime


@dataclass(frozen=True, kw_only=True)
class ReloadPlan:
    """What a reload would change, computed without changing anything.

    `changes` False: nothing at all. `settings`: keys outside the jobs. `warnings`: doubts (daylight saving
    among them) that the new schedules bring. Fires are compared over `days` days ahead.
    """

    changes: bool
    revision_before: str
    revision_after: str
    tzdata_before: str | None
    tzdata_after: str | None
    jobs: Sequence[JobChange]
    settings: Sequence[Field]
    extensions: Sequence[Field]
    catch_up: Sequence[CatchUp]
    warnings: Sequence[str]
    days: int
