"""APScheduler with our trigger and our executor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from scheduler_daemon.clock import Clock

LONGEST_SLEEP_S = 5.0
LEAD = timedelta(milliseconds=8)
"""The wheel turns that much early: a process that slept is slow at first, and is awake when it counts."""
LAST_WAIT_S = 0.0015
"""The loop's own timers are late by up to a millisecond: for the last bit it waits in place."""


class Instants(Protocol):
    """What the engine needs of a timetable."""

    def next_after(self, moment: datetime) -> datetime | None: ...


class Engine:
    """Calls `due(job names)` at each instant. Jobs with equal timetables share one timer."""

    def __init__(self, clock: Clock, due: Callable[[Sequence[str]], None]) -> None:
        self._clock = clock
        self._scheduler = _Wheel(timezone=UTC, jobstores={"default": MemoryJobStore()})
        self._scheduler.add_executor(_HandOver(due), alias="default")
        self._waker: asyncio.Task[None] | None = None

    def set_plan(self, tables: Mapping[Any, Sequence[str]]) -> None:
        """Replace all timers. Nothing is lost: instants in between are found from the watermarks."""
        self._scheduler.remove_all_jobs()
        for table, names in tables.items():
            self._scheduler.add_job(
                _never_called,
                _Trigger(table, self._clock),
                args=[tuple(names)],
                misfire_grace_time=None,
                coalesce=True,
                max_instances=1_000_000,
            )

    @property
    def turned_at(self) -> float:
        """When the wheel last came round (monotonic): every 5 s at least, while it is well."""
        turned_at: float = self._scheduler.turned_at
        return turned_at

    async def start(self) -> None:
        self._scheduler.turned_at = time.monotonic()
        self._scheduler.start()
        self._waker = asyncio.create_task(self._keep_awake(), name="engine-waker")

    async def stop(self) -> None:
        if self._waker is None:
            return
        self._waker.cancel()
        await asyncio.gather(self._waker, return_exceptions=True)
        self._waker = None
        self._scheduler.shutdown(wait=False)

    async def _keep_awake(self) -> None:
        """APScheduler sleeps on a monotonic clock, as long as it takes: a stepped wall clock goes unseen."""
        while True:
            await asyncio.sleep(LONGEST_SLEEP_S)
            self._scheduler.wakeup()


class _Wheel(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler has no types
    turned_at = 0.0

    def _process_jobs(self) -> Any:
        wait_s = super()._process_jobs()
        self.turned_at = time.monotonic()
        return wait_s


class _Trigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """LEAD before the next instant after now, never one of the past, told on APScheduler's own clock."""

    def __init__(self, table: Instants, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        offset = self._clock.offset()
        if previous_fire_time is not None and now < previous_fire_time + LEAD <= now + LEAD:
            now = previous_fire_time + LEAD  # handed over already, and yet to come
        instant = self._table.next_after(now + offset)
        return None if instant is None else instant - offset - LEAD


class _HandOver(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """Says what is due when the instant has come, in the event loop; runs nothing."""

    def __init__(self, due: Callable[[Sequence[str]], None]) -> None:
        super().__init__()
        self._due = due

    def submit_job(self, job: Any, run_times: Sequence[datetime]) -> None:
        self._wait(job.args[0], run_times[-1] + LEAD)

    def _wait(self, names: Sequence[str], instant: datetime) -> None:
        left_s = (instant - datetime.now(UTC)).total_seconds()
        if left_s > LAST_WAIT_S:
            asyncio.get_running_loop().call_later(left_s - LAST_WAIT_S, self._wait, names, instant)
            return
        if left_s > 0:
            time.sleep(left_s)
        self._due(names)

    def _do_submit_job(self, job: Any, run_times: Sequence[datetime]) -> None:
        raise NotImplementedError("submit_job does everything")


def _never_called(names: Sequence[str]) -> None:
    raise AssertionError(f"APScheduler must not call jobs: {names}")
