"""Workers that only play: each run takes as long, and ends, as its play says."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scheduler_daemon.clock import Clock
from scheduler_daemon.model import Outcome, RunStatus
from scheduler_daemon.runner.orders import RunOrder
from scheduler_daemon.runner.pace import SHORTEST_LINE
from scheduler_daemon.testing.values import Cue, Play, Plays


@dataclass(slots=True)
class Performance:
    """A run on the stage. `ends_at` and `status` are how it will end, if nothing comes between."""

    order: RunOrder
    started_at: datetime | None
    ends_at: datetime
    status: RunStatus
    reason: str | None = None

    def outcome(self) -> Outcome:
        return Outcome(
            run_id=self.order.id,
            status=self.status,
            reason=self.reason,
            started_at=self.started_at.timestamp() if self.started_at else None,
            finished_at=self.ends_at.timestamp(),
        )


@dataclass
class Stage:
    """In place of runner.pool.Pool, with the same capacity: `workers` at once, others wait in line."""

    clock: Clock
    workers: int
    plays: Plays
    _pending: deque[RunOrder] = field(default_factory=deque)
    _running: dict[str, Performance] = field(default_factory=dict)
    _ends: list[tuple[datetime, int, str]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def capacity(self) -> int:
        limit = self.workers * SHORTEST_LINE
        return max(0, limit - len(self._pending) - len(self._running))

    @contextlib.contextmanager
    def expecting(self, runs: int) -> Iterator[int]:
        yield self.capacity

    def submit(self, orders: Iterable[RunOrder]) -> None:
        self._pending.extend(orders)
        self._fill()

    def next_end(self) -> datetime | None:
        """When the next run ends."""
        while self._ends and self._gone(self._ends[0]):
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def ended(self) -> list[Performance]:
        """The runs that have ended by now leave the stage, and others begin."""
        now, left = self.clock.now(), []
        while (at := self.next_end()) is not None and at <= now:
            left.append(self._running.pop(heapq.heappop(self._ends)[2]))
        self._fill()
        return left

    def cancel(self, run_id: str, reason: str) -> None:
        """It ends now, or never starts."""
        now = self.clock.now()
        for order in [order for order in self._pending if order.id == run_id]:
            self._pending.remove(order)
            self._running[run_id] = Performance(order, None, now, RunStatus.CANCELLED)
        if run := self._running.get(run_id):
            run.ends_at, run.status, run.reason = now, RunStatus.CANCELLED, reason
            self._push(run)

    def stand_still(self, duration: timedelta) -> None:
        """A suspended machine: whatever runs ends that much later."""
        for run in self._running.values():
            run.ends_at += duration
            self._push(run)

    def clear(self) -> dict[str, float]:
        """The daemon is gone, and its workers with it; when each run had started, in Unix seconds."""
        runs = self._running.items()
        started = {run_id: run.started_at.timestamp() for run_id, run in runs if run.started_at}
        self._pending.clear()
        self._running.clear()
        return started

    def _fill(self) -> None:
        while self._pending and len(self._running) < self.workers:
            order = self._pending.popleft()
            self._enter(order, self._play(order))

    def _play(self, order: RunOrder) -> Play:
        play = self.plays.get(order.spec.name, Play())
        if isinstance(play, Play):
            return play
        cue = Cue(
            job=order.spec.name,
            kind=order.kind,
            scheduled_for=order.scheduled_for,
            started_at=self.clock.now(),
            attempt=order.attempt,
        )
        return play(cue)

    def _enter(self, order: RunOrder, play: Play) -> None:
        now, timeout = self.clock.now(), order.spec.timeout
        reason = "worker_died" if play.ends == "lost" else None
        run = Performance(order, now, now + play.takes, RunStatus(play.ends), reason)
        if timeout is not None and play.takes > timeout:
            run.ends_at, run.status, run.reason = now + timeout, RunStatus.TIMED_OUT, "timeout"
        self._running[order.id] = run
        self._push(run)

    def _push(self, run: Performance) -> None:
        heapq.heappush(self._ends, (run.ends_at, next(self._numbers), run.order.id))

    def _gone(self, end: tuple[datetime, int, str]) -> bool:
        run = self._running.get(end[2])
        return run is None or run.ends_at != end[0]
