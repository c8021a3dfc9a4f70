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
class RecentRun(RunView):
    """With what each of its steps took."""

    steps: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class RunDetail(RecentRun):
    traceback: str | None
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
    recent_runs: Sequence[RecentRun]


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
class ChannelTest:
    """`error`: why the test message did not arrive, or None."""

    channel: str
    error: str | None


@dataclass(frozen=True, kw_only=True)
class NotificationTest:
    channels: Sequence[ChannelTest]


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
class AppLogView:
    """A line of the application's own log; `fields` are its other columns."""

    id: str | None
    at: datetime
    level: str
    module: str
    message: str
    fields: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class PrunedLogs:
    """Of the daemon's own log: lines removed, or under `dry_run` to be removed, from before `before`."""

    before: datetime
    lines: int
    dry_run: bool


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
