"""A run on its way to a worker, and those who want to hear of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from scheduler_daemon.jobplane.wire import fields
from scheduler_daemon.ledger.outcomes import Ending, Start
from scheduler_daemon.ledger.values import NewRun, SpanExtension
from scheduler_daemon.model import JobSpec, LogRecord, Outcome, RunKind


@dataclass(kw_only=True, slots=True)
class RunOrder:
    """Everything that a worker and its guard need to know of one run. `told`: see `told_of`."""

    id: str
    token: str
    spec: JobSpec
    kind: RunKind
    scope: str = ""
    attempt: int = 1
    first_run: UUID | None = None
    scheduled_for: datetime | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    isolate: str | None = None
    told: str | None = None

    def encoded(self) -> str:
        """The `run` message of the wire protocol."""
        planned = self.scheduled_for.timestamp() if self.scheduled_for else "null"
        told = self.told or told_of(self.spec, self.parameters)
        return (
            f'{{"t":"run","id":"{self.id}","kind":"{self.kind.value}","attempt":{self.attempt},'
            f'"scheduled_for":{planned},{told}}}'
        )


def told_of(spec: JobSpec, parameters: Mapping[str, Any]) -> str:
    """What a worker is told alike of every run of a job with these parameters; made once, not for each."""
    return fields(
        {
            "name": spec.name,
            "extension": spec.extension,
            "job": spec.job,
            "parameters": dict(parameters),
            "memory_limit": spec.memory_limit,
            "timeout_s": spec.timeout.total_seconds() if spec.timeout else None,
        }
    )


class RunEvents(Protocol):
    """What the pool tells, in the order in which it happened."""

    def started(self, order: RunOrder, start: Start) -> None: ...
    def ended(self, order: RunOrder, ending: Ending) -> None: ...
    def logged(self, order: RunOrder, record: LogRecord) -> None: ...
    def step(self, order: RunOrder, step: Mapping[str, Any]) -> None: ...
    def progress(self, order: RunOrder, progress: Mapping[str, Any]) -> None: ...
    def sql_must_end(self, order: RunOrder) -> None: ...
    def free(self) -> None: ...


@dataclass(kw_only=True, slots=True)
class EndedRun:
    """A run whose outcome is recorded (while the database is away: on disk). Not `final`: a retry follows."""

    job: str
    kind: RunKind
    outcome: Outcome
    final: bool


class RunWatcher:
    """Somebody besides the ledger who hears of runs, in memory, whether or not the database is there."""

    def run_started(self, order: RunOrder, start: Start) -> None:
        """A worker has begun."""

    def run_logged(self, record: LogRecord) -> None:
        """A line of a run, or one that says how it ended."""

    def run_ended(self, run: EndedRun) -> None:
        """A run of a worker's, or one that was found lost."""

    def not_run(self, spans: Sequence[NewRun | SpanExtension]) -> None:
        """Planned instants that were skipped or missed: new rows, and rows that cover `count` more."""
