"""Which keys there are, and what each may hold. Only this room uses these models."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from scheduler_daemon.config import units, zones
from scheduler_daemon.config.report import did_you_mean, quoted
from scheduler_daemon.cron import CronExpression
from scheduler_daemon.errors import CronError
from scheduler_daemon.model import DstGap, DstOverlap, Misfire, OnLost, Overlap
from scheduler_daemon.reporting import Event

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LONGEST_SCHEDULE = 1000
_SMALLEST = 1024**2
_SECOND = timedelta(seconds=1)


def wrong(message: str, column: int = 1) -> PydanticCustomError:
    """A mistake of ours to report; `column` is its place inside the text."""
    return PydanticCustomError("ours", "{message}", {"message": message, "column": column})


def _text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    raise PydanticCustomError("kind", "{wanted}", {"wanted": what})


def _duration(value: Any) -> timedelta:
    if isinstance(value, int) and not isinstance(value, bool):
        raise wrong(f'{value} has no unit: write "{value}s", "{value}m" or the like')
    text = _text(value, 'a duration such as "10m"')
    try:
        return units.duration(text)
    except ValueError as error:
        raise wrong(str(error)) from None


def _size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise wrong(f'{value} has no unit: write "{value}M" or the like')
    text = _text(value, 'a size such as "256M"')
    try:
        size = units.size(text)
    except ValueError as error:
        raise wrong(str(error)) from None
    if size < _SMALLEST:
        raise wrong('must be at least "1M"')
    return size


def _zone(value: Any) -> str:
    text = _text(value, 'the name of a time zone such as "Europe/Berlin"')
    try:
        return zones.zone(text)
    except ValueError as error:
        raise wrong(str(error)) from None


def _schedule(value: Any) -> str:
    text = _text(value, 'a schedule such as "0 */15 * * * *"')
    if len(text) > _LONGEST_SCHEDULE:
        raise wrong(f"a schedule has at most {_LONGEST_SCHEDULE} characters, this one {len(text):,}")
    try:
        CronExpression.parse_schedule(text)
    except CronError as error:
        raise wrong(str(error), error.column) from None
    return text


def _name(value: Any) -> str:
    text = _text(value, "a name")
    if _NAME.fullmatch(text):
        return text
    raise wrong(f"{quoted(text)} is not a name: letters, digits, _ . - (at most 100, the first no sign)")


def _path(value: Any) -> str:
    text = _text(value, "a path")
    if not text:
        raise wrong("a path cannot be empty")
    if text.startswith("~"):
        raise wrong('"~" is not expanded here: write the whole path')
    return text


def _database_url(value: Any) -> str:
    text = _text(value, 'a URL such as "postgresql://host/name"')
    if not re.match(r"postgres(ql)?://", text):
        raise wrong('the URL of a database starts with "postgresql://"')
    return text


def _one_of(kind: type[StrEnum]) -> BeforeValidator:
    def choose(value: Any) -> StrEnum:
        choices = [str(one) for one in kind]
        text = _text(value, f"one of {', '.join(choices)}")
        if text in choices:
            return kind(text)
        raise wrong(f"{quoted(text)} is not one of {', '.join(choices)}{did_you_mean(text, choices)}")

    return BeforeValidator(choose)


def _at_least(minimum: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if value < minimum:
            raise wrong(f'must be at least "{minimum.total_seconds():.0f}s"')
        return value

    return AfterValidator(check)


def _or(default: Callable[[], Any]) -> BeforeValidator:
    """A key without a value (all below it commented out) is as good as absent."""
    return BeforeValidator(lambda value: default() if value is None else value)


def _web_url(value: Any) -> str:
    text = _text(value, 'a URL such as "https://example.org/hook"')
    if not re.match(r"https?://[^/\s]+", text):
        raise wrong('must be a URL that starts with "https://" or "http://"')
    return text


def _hours(value: Any) -> tuple[time, time]:
    text = _text(value, 'hours such as "22:00-07:00"')
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", text)
    if not found:
        raise wrong(f'{quoted(text)} are no hours: write "22:00-07:00"')
    hours = [int(part) for part in found.groups()]
    if hours[:2] == hours[2:]:
        raise wrong(f"{quoted(text)} start when they end")
    return time(hours[0], hours[1]), time(hours[2], hours[3])


def _address(value: Any) -> tuple[str, int]:
    text = _text(value, 'an address such as "127.0.0.1:9464"')
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", text)
    if not found or not 0 < int(found[2]) < 65536:
        raise wrong(f'{quoted(text)} is no address: write "127.0.0.1:9464", or "[::1]:9464"')
    return found[1].strip("[]"), int(found[2])


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Positive = Annotated[Duration, _at_least(_SECOND)]
Size = Annotated[int, BeforeValidator(_size)]
Zone = Annotated[str, BeforeValidator(_zone)]
Name = Annotated[str, BeforeValidator(_name)]
Path = Annotated[str | None, BeforeValidator(_path)]
Names = Annotated[tuple[Name, ...], Field(strict=False), _or(tuple)]
Free = Annotated[dict[str, Any], _or(dict)]
WebUrl = Annotated[str, BeforeValidator(_web_url)]
Hours = Annotated[tuple[time, time], BeforeValidator(_hours)]
Address = Annotated[tuple[str, int], BeforeValidator(_address)]
Events = Annotated[tuple[Annotated[Event, _one_of(Event)], ...], Field(strict=False)]


class Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Dst(Section):
    gap: Annotated[DstGap, _one_of(DstGap)] = DstGap.AFTER
    overlap: Annotated[DstOverlap, _one_of(DstOverlap)] = DstOverlap.FIRST


class JobOptions(Section):
    """What a job may set, and `scheduler.defaults` for all of them."""

    timezone: Zone | None = None
    dst: Annotated[Dst, _or(dict)] = Dst()
    overlap: Annotated[Overlap, _one_of(Overlap)] = Overlap.SKIP
    concurrency: Name | None = None
    misfire: Annotated[Misfire, _one_of(Misfire)] = Misfire.LATEST
    misfire_window: Positive = timedelta(hours=24)
    timeout: Positive | None = None
    kill_after: Duration = timedelta(seconds=10)
    retries: Annotated[int, Field(ge=0, le=100)] = 0
    retry_delay: Positive = timedelta(minutes=1)
    on_lost: Annotated[OnLost, _one_of(OnLost)] = OnLost.FAIL
    memory_limit: Size | None = None
    nodes: Name = "any"
    tags: Names = ()
    parameters: Free = Field(default_factory=dict)


class Job(JobOptions):
    name: Name
    extension: Name
    job: Name
    schedule: Annotated[str, BeforeValidator(_schedule)]
    enabled: bool


class Scheduler(Section):
    enabled: bool = True
    defaults: Annotated[JobOptions, _or(dict)] = JobOptions()
    jobs: Annotated[tuple[Job, ...], Field(strict=False), _or(tuple)] = ()


class Database(Section):
    url: Annotated[str | None, BeforeValidator(_database_url)] = None


class Control(Section):
    socket: Path = None
    group: Name | None = None
    readers: Names = ()


class Workers(Section):
    min: Annotated[int, Field(ge=0, le=1000)] = 1
    max: Annotated[int, Field(ge=1, le=1000)] = 8
    recycle_after: Annotated[int, Field(ge=1)] = 500

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise wrong(f"min ({self.min}) is larger than max ({self.max})")
        return self


class Jobplane(Section):
    python: Path = None
    import_timeout: Positive = timedelta(seconds=10)


class History(Section):
    keep: Positive = timedelta(days=90)
    max_per_job: Annotated[int, Field(ge=1)] = 10_000


class Logs(Section):
    keep: Positive = timedelta(days=30)


class Notifications(Section):
    discord: WebUrl | None = None
    webhook: WebUrl | None = None
    command: Annotated[tuple[str, ...], Field(strict=False), _or(tuple)] = ()
    events: Events | None = None
    urgent: Annotated[Events, _or(tuple)] = ()
    quiet_hours: Hours | None = None
    group_for: Duration = timedelta(seconds=10)
    remind_after: Positive = timedelta(hours=24)
    late_after: Positive = timedelta(minutes=5)
    database_away_after: Positive = timedelta(minutes=1)


class Heartbeat(Section):
    url: WebUrl | None = None
    every: Positive = timedelta(minutes=1)
    job_urls: Annotated[dict[str, WebUrl], _or(dict)] = Field(default_factory=dict)


class Health(Section):
    database_away_after: Positive = timedelta(minutes=5)
    degraded_jobs: bool = False


class Metrics(Section):
    listen: Address | None = None


class Root(Section):
    """The whole configuration, its includes merged."""

    state_dir: Path = None
    timezone: Zone = "UTC"
    database: Annotated[Database, _or(dict)] = Database()
    control: Annotated[Control, _or(dict)] = Control()
    workers: Annotated[Workers, _or(dict)] = Workers()
    jobplane: Annotated[Jobplane, _or(dict)] = Jobplane()
    extensions: Annotated[dict[str, Free], _or(dict)] = Field(default_factory=dict)
    shutdown_grace: Duration = timedelta(seconds=30)
    startup_timeout: Positive = timedelta(minutes=5)
    history: Annotated[History, _or(dict)] = History()
    logs: Annotated[Logs, _or(dict)] = Logs()
    notifications: Annotated[Notifications, _or(dict)] = Notifications()
    heartbeat: Annotated[Heartbeat, _or(dict)] = Heartbeat()
    health: Annotated[Health, _or(dict)] = Health()
    metrics: Annotated[Metrics, _or(dict)] = Metrics()
    scheduler: Annotated[Scheduler, _or(dict)] = Scheduler()
