"""Counts what becomes of runs, since the daemon's start, for whoever draws curves. In memory, per job."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from scheduler_daemon.ledger.outcomes import Start
from scheduler_daemon.ledger.values import NewRun, SpanExtension
from scheduler_daemon.model import RunKind, RunStatus
from scheduler_daemon.runner.orders import EndedRun, RunOrder, RunWatcher

DURATIONS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)
LATENESS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
"""Upper bounds: fine where runs are (5 ms is what an idle daemon needs), and open at the end."""


@dataclass(kw_only=True, slots=True)
class Histogram:
    """`counts[i]` observations are at most `bounds[i]` and above the bound before; the last has no bound."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Prometheus' buckets: (upper bound, how many are at most that)."""
        found, so_far = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            so_far += count
            found.append(("+Inf" if bound == float("inf") else f"{bound:g}", so_far))
        return found


@dataclass(kw_only=True, slots=True)
class JobTally:
    """`ends` counts runs by status, and instants that were skipped or missed. Times are Unix seconds."""

    ends: dict[RunStatus, int] = field(default_factory=dict)
    durations: Histogram = field(default_factory=lambda: Histogram(bounds=DURATIONS_S))
    lateness: Histogram = field(default_factory=lambda: Histogram(bounds=LATENESS_S))
    last_success_at: float | None = None

    def ended(self, status: RunStatus, count: int = 1) -> None:
        self.ends[status] = self.ends.get(status, 0) + count


class Tally(RunWatcher):
    """By job. Lateness is of planned runs that nothing held up: no catch-ups, retries, runs by hand."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobTally] = {}

    def of(self, job: str) -> JobTally:
        tally = self.jobs.get(job)
        if tally is None:
            tally = self.jobs[job] = JobTally()
        return tally

    def run_started(self, order: RunOrder, start: Start) -> None:
        if order.scheduled_for is not None and order.kind is RunKind.CRON:
            self.of(order.spec.name).lateness.observe(max(0.0, start.at - order.scheduled_for.timestamp()))

    def run_ended(self, run: EndedRun) -> None:
        job, outcome = self.of(run.job), run.outcome
        job.ended(outcome.status)
        if outcome.started_at is not None:
            job.durations.observe(max(0.0, outcome.finished_at - outcome.started_at))
        if outcome.status is RunStatus.SUCCEEDED:
            job.last_success_at = outcome.finished_at

    def not_run(self, spans: Sequence[NewRun | SpanExtension]) -> None:
        for span in spans:
            self.of(span.job).ended(span.status, span.count)
