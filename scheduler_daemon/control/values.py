"""What requests carry, and the answers that only this API has. All other shapes are operations.values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from scheduler_daemon.operations.values import AppLogView, LogView, RevisionView, RunView

DEPTH = 32
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)


def _storable(value: Any, depth: int = 0) -> Any:
    """PostgreSQL's text and jsonb hold no NUL, no half of a surrogate pair, no NaN."""
    if depth > DEPTH:
        raise ValueError(f"nested deeper than {DEPTH} levels")
    if isinstance(value, str):
        _storable_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinities are no JSON")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            _storable(name)
            _storable(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            _storable(one, depth + 1)
    return value


def _storable_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("no value holds a NUL")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("half of a surrogate pair is no text")
    return value


def _rfc3339(value: Any) -> Any:
    """pydantic alone takes a bare number, too: as Unix time."""
    if isinstance(value, str) and not _DATE_TIME.fullmatch(value):
        raise ValueError("not a time as RFC 3339 has it, such as 2026-03-29T02:30:00+02:00")
    return value


def _in_reach(value: datetime) -> datetime:
    if not EARLIEST <= value <= LATEST:
        raise ValueError("schedules are evaluated from 1970 to 2199")
    return value.astimezone(UTC)


Text = Annotated[str, AfterValidator(_storable_text)]
Parameters = Annotated[dict[str, Any], AfterValidator(_storable)]
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_in_reach)]
Word = Annotated[Text, Field(max_length=200)]
Limit = Annotated[int, Field(ge=1, le=10_000)]
Status = Literal[
    "queued", "running", "succeeded", "failed", "timed_out", "cancelled", "lost", "skipped", "missed"
]
Level = Literal["debug", "info", "warn", "error"]
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunQuery(Strict):
    """`since`: ended, or claimed and not yet ended, at that moment or later."""

    job: Word | None = None
    status: list[Status] | None = None
    since: Moment | None = None
    limit: Limit = 20


class FollowQuery(Strict):
    """`level`: this one and above; `module`: a prefix; `pattern`: a part of the message."""

    level: Level | None = None
    job: Word | None = None
    run: Word | None = None
    module: Word | None = None
    pattern: Word | None = None
    limit: Annotated[int, Field(ge=0, le=10_000)] = 20

    @property
    def levels(self) -> tuple[str, ...] | None:
        return None if self.level is None else LEVELS[LEVELS.index(self.level.upper()) :]


class LogQuery(FollowQuery):
    since: Moment | None = None
    limit: Limit = 20


class AppLogQuery(Strict):
    """`level`: this one and above, debug: all, with trace; the rest as for the daemon's own log."""

    level: Level | None = None
    module: Word | None = None
    pattern: Word | None = None
    since: Moment | None = None
    limit: Limit = 20

    @property
    def levels(self) -> tuple[str, ...] | None:
        return None if self.level in (None, "debug") else LEVELS[LEVELS.index(self.level.upper()) :]


class WhyQuery(Strict):
    """`at`: a time or a date, without an offset in the job's zone; without it, when it was last due."""

    at: Annotated[Text | None, Field(max_length=64)] = None


class TimelineQuery(Strict):
    """So many hours back and ahead, in so many buckets."""

    hours: Annotated[float, Field(gt=0, le=24 * 31, allow_inf_nan=False)] = 24
    buckets: Annotated[int, Field(ge=2, le=1000)] = 96
    job: Word | None = None


class AuditQuery(Strict):
    job: Word | None = None
    since: Moment | None = None


class RunRequest(Strict):
    """`queue`: wait for a run that is in the way, instead of being refused."""

    parameters: Parameters = {}
    queue: bool = False


class PruneRequest(Strict):
    """`days`: lines older than that [logs.keep]; `dry_run`: only count them."""

    days: Annotated[int | None, Field(ge=1, le=36_500)] = None
    dry_run: bool = False


class SwitchRequest(Strict):
    """`lasting_s`: for how long, in seconds; without it, until the next enable, disable or reset."""

    reason: Annotated[Text | None, Field(max_length=500)] = None
    lasting_s: Annotated[float | None, Field(gt=0, le=10 * 366 * 86400, allow_inf_nan=False)] = None


class Problem(BaseModel):
    """RFC 9457. `code` is stable, for programs; some codes bring more members."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class RunList:
    """Newest first."""

    runs: Sequence[RunView]


@dataclass(frozen=True, kw_only=True)
class LogList:
    """Oldest first."""

    logs: Sequence[LogView]


@dataclass(frozen=True, kw_only=True)
class AppLogList:
    """Oldest first."""

    logs: Sequence[AppLogView]


@dataclass(frozen=True, kw_only=True)
class NextFires:
    """The next instants of a job's schedule, whether or not it is enabled; none where none is `scheduled`."""

    job: str
    schedule: str
    schedule_text: str
    timezone: str
    scheduled: bool
    enabled: bool
    fires: Sequence[datetime]


@dataclass(frozen=True, kw_only=True)
class ActionView:
    """One control action. `error`: why it was refused, or None."""

    id: int
    at: datetime
    uid: int | None
    user_name: str | None
    pid: int | None
    action: str
    target: str | None
    before: Any
    after: Any
    error: str | None


@dataclass(frozen=True, kw_only=True)
class ActionList:
    """Newest first."""

    actions: Sequence[ActionView]


@dataclass(frozen=True, kw_only=True)
class RevisionList:
    """Newest first."""

    revisions: Sequence[RevisionView]


@dataclass(frozen=True, kw_only=True)
class AuditView:
    """Of one job: every instant from `start` to `end` (UTC), and how many rows account for them."""

    job: str
    scope: str
    start: datetime
    end: datetime
    planned: int
    accounted: int
    unaccounted: int
    doubled: int
    unplanned: int
    findings: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class AuditList:
    """`clean`: every planned instant has exactly one disposition."""

    clean: bool
    jobs: Sequence[AuditView]


@dataclass(frozen=True, kw_only=True)
class HealthView:
    """`healthy` is false where the daemon cannot do its work: the reasons say why."""

    healthy: bool
    reasons: Sequence[str]
