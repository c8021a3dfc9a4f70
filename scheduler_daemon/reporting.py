"""Frozen values, too: what the configuration says about telling others how the daemon does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time, timedelta
from enum import StrEnum


class Event(StrEnum):
    """What a notification can be about."""

    FAILED = "failed"
    RECOVERED = "recovered"
    LATE = "late"
    MISSED = "missed"
    EMPTY = "empty"
    HANGING = "hanging"
    DEGRADED = "degraded"
    DATABASE = "database"
    DISK = "disk"


@dataclass(frozen=True, kw_only=True, slots=True)
class QuietHours:
    """From `start` to `end`, local time of `zone` (IANA); over midnight where `end` is before `start`."""

    start: time
    end: time
    zone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NotificationSettings:
    """Where to send what. `discord` and `webhook` are URLs, `command` is a program with its arguments."""

    discord: str | None = None
    webhook: str | None = None
    command: tuple[str, ...] = ()
    events: frozenset[Event] = frozenset(Event)
    urgent: frozenset[Event] = frozenset()
    quiet: QuietHours | None = None
    group_for: timedelta = timedelta(seconds=10)
    remind_after: timedelta = timedelta(hours=24)
    late_after: timedelta = timedelta(minutes=5)
    database_away_after: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatSettings:
    """URLs that expect a ping: the daemon's own every `every`, a job's (by name) at each of its runs."""

    url: str | None = None
    every: timedelta = timedelta(minutes=1)
    job_urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthSettings:
    """What makes /healthz fail, besides instants that go unhandled."""

    database_away_after: timedelta = timedelta(minutes=5)
    degraded_jobs: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricsSettings:
    """`listen`: (host, port) for /metrics and /healthz over TCP; the control socket has them, too."""

    listen: tuple[str, int] | None = None
