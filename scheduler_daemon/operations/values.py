"""What operations return: frozen, plain, and the shapes of the control API's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class OverrideView:
    enabled: bool
    reason: str | None
    actor: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One row of the ledger. `instants` > 1: a span of skipped or missed instants, to `last_for`.

    `lateness_ms` is start after plan (or after the request), `duration_ms` from first line to end.
    """

    id: str
    job: str
    kind: str
    status: str
    reason: str | None
    scheduled_for: datetime | None
    last_for: datetime | None
    instants: int
    claimed_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    lateness_ms: float | None
    duration_ms: float | None
    items_processed: int | None
    items_failed: int | None
    message: str | None
    error: str | None
    actor: str | None
    attempt: int
    waiting: str | None
    blocked_by: str | None
    first_run: str | None


@dataclass(frozen=True, kw_only=True)
class RunDetail(RunView):
    traceback: str | None
    steps: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any] | None
    concurrency: str
    scope: str
    not_before: datetime | None
    node: str | None
    worker_pid: int | None
    revision: str | None
    logs_dropped: int | None
    late_outcome: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class JobView:
    """`state`: scheduled, disabled, unavailable, not scheduled, or elsewhere (planned by another node)."""

    name: str
    extension: str
    job: str
    description: str
    state: str
    schedule: str
    schedule_text: str
    timezone: str
    enabled: bool
    enabled_in_file: bool
    override: OverrideView | None
    unavailable: str | None
    degraded: str | None
    run_on_startup: bool
    next_fire: datetime | None
    last_run: RunView | None
    live_runs: Sequence[str]
    tags: Sequence[str]
    nodes: str


@dataclass(frozen=True, kw_only=True)
class JobDetail(JobView):
    """Durations in seconds, sizes in bytes; `parameters` with secrets as ***."""

    code_schedule: str
    concurrency: str
    overlap: str
    misfire: str
    misfire_window_s: float
    dst_gap: str
    dst_overlap: str
    timeout_s: float | None
    kill_after_s: float
    retries: int
    retry_delay_s: float
    on_lost: str
    memory_limit: int | None
    parameters: Mapping[str, Any]
    parameters_schema: Mapping[str, Any] | None
    position: str
    watermark: datetime | None
    next_fires: Sequence[datetime]
    recent_runs: Sequence[RunView]


@dataclass(frozen=True, kw_only=True)
class JobList:
    """`stale`: why last runs are not shown (the database is away), or None."""

    jobs: Sequence[JobView]
    now: datetime
    timezone: str
    stale: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run that was asked for: `status` is running or queued; `blocked_by` is what it waits for."""

    id: str
    job: str
    status: str
    blocked_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class NodeView:
    id: str
    name: str
    pid: int
    version: str
    revision: str | None
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    this: bool


@dataclass(frozen=True, kw_only=True)
class WorkerView:
    pid: int
    job: str | None
    run: str | None
    running_s: float | None
    handed: int
    runs_done: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """`degraded` lists every reason why something is not as it should be; empty is healthy."""

    version: str
    pid: int
    node: str
    node_id: str
    started_at: datetime
    uptime_s: float
    now: datetime
    ready: bool
    state_dir: str
    configuration: str
    revision: str
    scheduler_enabled: bool
    jobs: int
    database: str
    database_away_since: datetime | None
    oldest_unhandled: datetime | None
    oldest_unhandled_job: str | None
    clock_skew_s: float
    workers: Sequence[WorkerView]
    workers_max: int
    running: int
    queued: int
    spool_bytes: int
    disk_free_bytes: int
    degraded: Sequence[str]
    extensions: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    nodes: Sequence[NodeView] = field(default_factory=tuple)


@dataclass(frozen=True, kw_only=True)
class LogView:
    id: int
    at: datetime
    level: str
    module: str
    message: str
    run_id: str | None
    job: str | None
    fields: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class RevisionView:
    """A configuration that was in force from `in_force_from` until the next one.

    `jobs` None: this version cannot read it.
    """

    id: int
    hash: str
    in_force_from: datetime
    node: str
    jobs: int | None
    tzdata: str | None


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
    "missed:daemon_down"), or not_planned, not_in_configuration, before_records, pending, future, unaccounted.
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
