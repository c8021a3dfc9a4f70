"""What goes into a simulation, and what comes out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from scheduler_daemon.model import RunKind, RunStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """From `start` to `end` (aware) nothing could be started.

    reason: "daemon_down": it was killed, and what ran is lost; "database_down": what ran went on, and was
    recorded afterwards; "suspended": the machine stood still, and what ran with it.
    """

    start: datetime
    end: datetime
    reason: Literal["daemon_down", "database_down", "suspended"] = "daemon_down"


@dataclass(frozen=True, kw_only=True, slots=True)
class Play:
    """How a simulated run goes: it takes this long, and then ends so. `lost`: its worker dies."""

    takes: timedelta = timedelta(0)
    ends: Literal["succeeded", "failed", "lost"] = "succeeded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cue:
    """The run whose play is asked for."""

    job: str
    kind: RunKind
    scheduled_for: datetime | None
    started_at: datetime
    attempt: int


Plays = Mapping[str, Play | Callable[[Cue], Play]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Disposition:
    """What became of a planned instant, of `count` of them from `scheduled_for` to `last`, or of a run
    outside the plan (`scheduled_for` is None then). Times are aware, UTC."""

    job: str
    kind: RunKind
    status: RunStatus
    reason: str | None
    scheduled_for: datetime | None
    last: datetime | None
    count: int
    attempt: int
    claimed_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def lateness(self) -> timedelta | None:
        """From the planned instant (else from the claim) to the start; None: it never started."""
        return None if self.started_at is None else self.started_at - (self.scheduled_for or self.claimed_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """All that happened, in the order in which it was decided."""

    dispositions: Sequence[Disposition]

    def of(
        self,
        job: str | None = None,
        *,
        status: str | None = None,
        reason: str | None = None,
        kind: str | None = None,
    ) -> list[Disposition]:
        """Those that are so; what is left out does not matter."""
        return [
            one
            for one in self.dispositions
            if (job is None or one.job == job)
            and (status is None or one.status == status)
            and (reason is None or one.reason == reason)
            and (kind is None or one.kind == kind)
        ]

    def count(self, job: str | None = None, **so: str) -> int:
        """How many instants and runs are so; `so` as for `of`. A span counts each of its instants."""
        return sum(one.count for one in self.of(job, **so))

    def tally(self, job: str | None = None) -> dict[str, int]:
        """How many of each status, with its reason if any: {"succeeded": 725, "missed daemon_down": 5}."""
        counts: Counter[str] = Counter()
        for one in self.of(job):
            counts[f"{one.status} {one.reason}" if one.reason else one.status.value] += one.count
        return dict(counts)
