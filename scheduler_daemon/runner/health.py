"""How each job does, in memory: failing, or running far longer than it ever did. Judged as runs end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median

from scheduler_daemon.model import Outcome, RunStatus
from scheduler_daemon.runner.orders import RunOrder

HANG_FACTOR = 10
HANG_AT_LEAST_S = 600.0
BAD = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.LOST)


class Health:
    """`durations` of the last 50 good runs of each job, and its last bad outcome."""

    def __init__(self) -> None:
        self._durations: dict[str, deque[float]] = {}
        self._bad: dict[str, str] = {}
        self._hanging: dict[str, str] = {}

    def ended(self, job: str, outcome: Outcome) -> None:
        self._hanging.pop(job, None)
        if outcome.status is RunStatus.SUCCEEDED:
            self._bad.pop(job, None)
            if outcome.started_at is not None:
                self.took(job, outcome.finished_at - outcome.started_at)
        elif outcome.status in BAD:
            why = outcome.error or outcome.message or "no reason given"
            self._bad[job] = f"last run {outcome.status.value.replace('_', ' ')}: {why.splitlines()[0][:200]}"

    def took(self, job: str, seconds: float) -> None:
        past = self._durations.get(job)
        if past is None:
            past = self._durations[job] = deque(maxlen=50)
        past.append(seconds)

    def look_at(self, running: Iterable[tuple[RunOrder, float]]) -> list[RunOrder]:
        """Runs, each with the monotonic time of its start; those newly found to hang come back."""
        found: list[RunOrder] = []
        for order, since in running:
            past = self._durations.get(order.spec.name)
            if not past:
                continue
            limit = max(HANG_AT_LEAST_S, HANG_FACTOR * median(past))
            ran = time.monotonic() - since
            if ran > limit and order.spec.name not in self._hanging:
                self._hanging[order.spec.name] = (
                    f"runs for {ran:.0f} s, {HANG_FACTOR} times its median of {median(past):.1f} s"
                )
                found.append(order)
        return found

    @property
    def hanging(self) -> Mapping[str, str]:
        """Jobs, and since when a run of theirs goes on beyond all measure."""
        return self._hanging

    def degraded(self, job: str) -> str | None:
        return self._hanging.get(job) or self._bad.get(job)

    def forget(self, known: Iterable[str]) -> None:
        """A reload: jobs that are gone are not unwell."""
        keep = set(known)
        for table in (self._durations, self._bad, self._hanging):
            for name in [name for name in table if name not in keep]:
                del table[name]
