"""Frozen values that travel between the rooms. No behaviour beyond what a value knows of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from scheduler_daemon.reporting import (
    HealthSettings,
    HeartbeatSettings,
    MetricsSettings,
    NotificationSettings,
)


class RunKind(StrEnum):
    CRON = "cron"
    STARTUP = "startup"
    MANUAL = "manual"
    CATCH_UP = "catch_up"
    RETRY = "retry"


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"
    MISSED = "missed"

    @property
    def live(self) -> bool:
        return self in (RunStatus.QUEUED, RunStatus.RUNNING)


class Overlap(StrEnum):
    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    CANCEL_PREVIOUS = "cancel_previous"


class Misfire(StrEnum):
    LATEST = "latest"
    SKIP = "skip"
    ALL = "all"


class OnLost(StrEnum):
    FAIL = "fail"
    RERUN = "rerun"


class DstGap(StrEnum):
    AFTER = "after"
    SKIP = "skip"


class DstOverlap(StrEnum):
    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


@dataclass(frozen=True, kw_only=True, slots=True)
class DstPolicy:
    """What a fixed-time schedule does when its zone's clock jumps (design: Debian cron's rules)."""

    gap: DstGap = DstGap.AFTER
    overlap: DstOverlap = DstOverlap.FIRST


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """One entry of `scheduler.jobs`: what an operator asked for.

    `name` is the unique id, (`extension`, `job`) binds the implementation. `schedule` is the text as
    written (six or seven fields, or a nickname), already checked. `position` and `schedule_position` are
    "file:line:column" of the entry and of its schedule; they do not make two entries differ.
    """

    name: str
    extension: str
    job: str
    schedule: str
    enabled: bool = True
    timezone: str = "UTC"
    dst: DstPolicy = field(default_factory=DstPolicy)
    overlap: Overlap = Overlap.SKIP
    concurrency: str = ""
    misfire: Misfire = Misfire.LATEST
    misfire_window: timedelta = timedelta(hours=24)
    timeout: timedelta | None = None
    kill_after: timedelta = timedelta(seconds=10)
    retries: int = 0
    retry_delay: timedelta = timedelta(minutes=1)
    on_lost: OnLost = OnLost.FAIL
    memory_limit: int | None = None
    nodes: str = "any"
    tags: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    position: str = field(default="", compare=False)
    schedule_position: str = field(default="", compare=False)

    @property
    def concurrency_key(self) -> str:
        return self.concurrency or self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    min: int = 1
    max: int = 8
    recycle_after: int = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlSettings:
    socket: Path
    group: str | None = None
    readers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class HistorySettings:
    keep: timedelta = timedelta(days=90)
    max_per_job: int = 10_000
    keep_logs: timedelta = timedelta(days=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """A whole, valid configuration. Paths are absolute; secrets are expanded (never store or log this).

    `base_dir` is what relative paths in the configuration start from. `extensions` holds each
    extension's own section, unchecked: only the job plane knows their models.
    `revision` is the hash of `revision_text`, the configuration with secrets still as references.
    """

    file: Path
    base_dir: Path
    state_dir: Path
    timezone: str = "UTC"
    database_url: str | None = None
    control: ControlSettings
    workers: WorkerSettings = field(default_factory=WorkerSettings)
    jobplane_python: Path | None = None
    import_timeout: timedelta = timedelta(seconds=10)
    shutdown_grace: timedelta = timedelta(seconds=30)
    startup_timeout: timedelta = timedelta(minutes=5)
    history: HistorySettings = field(default_factory=HistorySettings)
    notifications: NotificationSettings = field(default_factory=NotificationSettings)
    heartbeat: HeartbeatSettings = field(default_factory=HeartbeatSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    scheduler_enabled: bool = True
    jobs: tuple[JobSpec, ...] = ()
    extensions: Mapping[str, Any] = field(default_factory=dict)
    revision: str = ""
    revision_text: str = ""

    def job(self, name: str) -> JobSpec | None:
        return next((job for job in self.jobs if job.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobInfo:
    """What an extension registered: the code's side of a job."""

    extension: str
    name: str
    description: str = ""
    schedule: str = ""
    run_on_startup: bool = False
    concurrency: str = ""
    parameters_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtensionInfo:
    """One discovered extension; `error` (one line) and `traceback` say why it is unavailable, if it is."""

    name: str
    distribution: str = ""
    version: str = ""
    jobs: tuple[JobInfo, ...] = ()
    config_schema: Mapping[str, Any] | None = None
    migrations: str | None = None
    error: str | None = None
    traceback: str | None = None
    leaves_threads: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SectionProblem:
    """A mistake in an extension's section or a job's parameters; `path` leads to it inside `where`.

    `where` is ("extensions", NAME) or ("scheduler", "jobs", JOB NAME, "parameters").
    """

    where: tuple[str, ...]
    path: tuple[str | int, ...]
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """Everything the job plane found: one answer of one zygote."""

    extensions: tuple[ExtensionInfo, ...] = ()
    problems: tuple[SectionProblem, ...] = ()

    def find(self, extension: str, job: str) -> JobInfo | None:
        return next(
            (j for e in self.extensions if e.name == extension for j in e.jobs if j.name == job), None
        )


@dataclass(kw_only=True, slots=True)
class StepRecord:
    name: str
    status: Literal["succeeded", "failed", "running"]
    duration_s: float = 0.0
    error: str | None = None


@dataclass(kw_only=True, slots=True)
class LogRecord:
    """One line that a job or the daemon logged.

    `level` is DEBUG, INFO, WARN or ERROR; `timestamp` is Unix time in seconds.
    """

    timestamp: float
    level: str
    module: str
    message: str
    run_id: str | None = None
    job: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class Outcome:
    """How a run ended. Times are Unix seconds on the node's clock; `started_at` None: it never started."""

    run_id: str
    status: RunStatus
    finished_at: float
    started_at: float | None = None
    items_processed: int | None = None
    items_failed: int | None = None
    message: str | None = None
    error: str | None = None
    traceback: str | None = None
    steps: tuple[StepRecord, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """A planned instant (aware UTC) of a job, as the engine hands it out."""

    job: str
    scheduled_for: datetime
