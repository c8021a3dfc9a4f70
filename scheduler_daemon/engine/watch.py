"""Notices time in which this process did not run: a suspended machine, SIGSTOP, a stepped clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from scheduler_daemon.clock import Clock

TICK_S = 1.0
STALL_S = 5.0
STEP_S = 2.0


class ClockWatch:
    """`on_gap(start)` is told the wall time since which nothing could run, at most once per gap.

    `check` may be called at any time, and must be before anything is decided by the clock.
    """

    def __init__(self, clock: Clock, on_gap: Callable[[datetime], None]) -> None:
        self._clock = clock
        self._on_gap = on_gap
        self._wall = clock.now()
        self._monotonic = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._wall, self._monotonic = self._clock.now(), time.monotonic()
        self._task = asyncio.create_task(self._tick(), name="clock-watch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def check(self) -> None:
        wall, monotonic = self._clock.now(), time.monotonic()
        before, passed = self._wall, monotonic - self._monotonic
        jumped = (wall - before).total_seconds() - passed
        self._wall, self._monotonic = wall, monotonic
        if self._task is not None and (passed > STALL_S or jumped > STEP_S):
            self._on_gap(before)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.check()
