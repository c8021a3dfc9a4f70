"""What goes into a claim and what comes out of it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from scheduler_daemon.model import Overlap, RunKind, RunStatus

_BACK = 10_000 << 12


class _Stamps:
    """Unix milliseconds and 12 bits of their fraction; each greater than the one before."""

    last = 0

    @classmethod
    def next(cls) -> int:
        milliseconds, rest = divmod(time.time_ns(), 1_000_000)
        now = milliseconds << 12 | (rest << 12) // 1_000_000
        stepped_back = cls.last - now > _BACK
        cls.last = now if stepped_back else max(now, cls.last + 1)
        return cls.last


def new_run_id() -> UUID:
    """A UUIDv7 (RFC 9562, 5.7 and 6.2, method 3): they sort in the order in which this process made them.

    Only a clock that is stepped back by more than 10 s breaks it.
    """
    stamp = _Stamps.next()
    noise = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0x2 << 62 | noise)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeIdentity:
    """Who claims: the state directory's id, and this process's own."""

    id: UUID
    boot_id: UUID
    name: str
    machine_id: str
    pid: int
    version: str


@dataclass(kw_only=True, slots=True)
class Entry:
    """A planned instant to run, or a span of instants that will not be run.

    `status` is RUNNING for one to run, else MISSED or SKIPPED with `reason`; `first` and `last` are the
    span's ends (equal for one to run), `count` how many instants it holds.
    """

    first: datetime
    last: datetime
    count: int = 1
    status: RunStatus = RunStatus.RUNNING
    reason: str | None = None
    kind: RunKind = RunKind.CRON
    note: str | None = None
    planned: bool = True


@dataclass(kw_only=True, slots=True)
class Claim:
    """Everything one job has due: it holds only while the watermark is still `watermark`."""

    job: str
    scope: str = ""
    concurrency: str
    overlap: Overlap
    watermark: datetime
    until: datetime
    entries: tuple[Entry, ...]
    enabled: bool = True
    unavailable: str | None = None


class LiveRun(NamedTuple):
    """A queued or running row, as the overlap rule sees it."""

    id: UUID
    job: str
    kind: RunKind
    status: RunStatus
    waiting: str | None = None
    scope: str = ""

    def meets(self, scope: str) -> bool:
        """Whether it counts for a run in this scope: those of other nodes' own copies of a job do not."""
        return "" in (scope, self.scope) or scope == self.scope


class ScheduleState(NamedTuple):
    """A row of scheduler.schedules under lock, with the operator's override where one is in force."""

    job: str
    scope: str
    watermark: datetime
    span_run: UUID | None
    span_key: str | None
    override: bool | None


@dataclass(kw_only=True, slots=True)
class NewRun:
    """A row to insert into scheduler.runs."""

    id: UUID
    job: str
    scope: str
    kind: RunKind
    status: RunStatus
    concurrency: str
    reason: str | None = None
    first: datetime | None = None
    last: datetime | None = None
    count: int = 1
    planned: bool = True
    waiting: str | None = None
    blocked_by: UUID | None = None
    not_before: datetime | None = None
    parameters: Mapping[str, Any] | None = None
    actor: str | None = None
    attempt: int = 1
    first_run: UUID | None = None
    message: str | None = None

    @property
    def scheduled_for(self) -> datetime | None:
        return self.first if self.planned else None


@dataclass(kw_only=True, slots=True)
class SpanExtension:
    """`count` more instants, up to `last`, for the row `run`, which is of that job and status."""

    run: UUID
    last: datetime
    count: int
    job: str = ""
    status: RunStatus = RunStatus.MISSED
    reason: str | None = None


@dataclass(kw_only=True, slots=True)
class Decision:
    """What a batch of claims comes to: rows to write, and what the dispatcher does next."""

    inserts: list[NewRun] = field(default_factory=list)
    extensions: list[SpanExtension] = field(default_factory=list)
    watermarks: list[tuple[str, str, datetime, UUID | None, str | None]] = field(default_factory=list)
    stale: list[tuple[str, str, datetime]] = field(default_factory=list)
    to_cancel: list[UUID] = field(default_factory=list)

    def runs(self) -> list[NewRun]:
        return [run for run in self.inserts if run.status.live]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """A run that follows the run `of`. `not_before` is Unix seconds."""

    id: str
    of: str
    job: str
    scope: str
    concurrency: str
    attempt: int
    first_run: str
    not_before: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """A live row as it is found again: after a crash, or while waiting for its turn."""

    id: UUID
    job: str
    scope: str
    kind: RunKind
    status: RunStatus
    concurrency: str
    waiting: str | None
    scheduled_for: datetime | None
    not_before: datetime | None
    parameters: Mapping[str, Any] | None
    attempt: int
    first_run: UUID | None
    node: UUID | None
    boot_id: UUID | None
    claim_token: UUID | None
