"""Startup jobs: both the code says `run_on_startup` and the configuration enables them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from scheduler_daemon.config import Binding
from scheduler_daemon.errors import SchedulerError
from scheduler_daemon.model import RunKind
from scheduler_daemon.runner.dispatcher import Dispatcher, Request
from scheduler_daemon.runner.runner import Runner

log = structlog.get_logger(__name__)


class StartupRuns:
    """Handed out in the configuration's order, before cron begins; they run in parallel."""

    def __init__(self, bindings: Sequence[Binding], dispatcher: Dispatcher, runner: Runner) -> None:
        self._wanted = [b for b in bindings if b.info is not None and b.info.run_on_startup]
        self._dispatcher = dispatcher
        self._runner = runner
        self._under_way: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        return len(self._under_way)

    async def hand_out(self, now: datetime) -> None:
        if self._dispatcher.readiness.hold:
            return
        for binding in self._wanted:
            name = binding.job.name
            if name not in self._dispatcher.book.jobs:
                continue
            if not self._dispatcher.book.effectively_enabled(name, now):
                continue
            wanted = Request(spec=binding.job, kind=RunKind.STARTUP, actor="startup", queue=True)
            try:
                run, _ = await self._dispatcher.request(wanted)
            except SchedulerError as error:
                log.error("a startup job could not be started", job=name, why=str(error))
                continue
            self._under_way.append(asyncio.create_task(self._runner.finished(str(run.id))))

    async def ended(self, limit: timedelta, stop: asyncio.Event) -> None:
        """Returns when all have ended, the limit has passed, or the daemon shall stop."""
        if not self._under_way:
            return
        stopping = asyncio.create_task(stop.wait())
        everything = asyncio.create_task(_all(self._under_way))
        await asyncio.wait(
            [everything, stopping], timeout=limit.total_seconds(), return_when=asyncio.FIRST_COMPLETED
        )
        if not everything.done() and not stopping.done():
            log.warning("startup jobs still run; the daemon goes on", limit_s=limit.total_seconds())
        for task in (stopping, everything, *self._under_way):
            task.cancel()
        await asyncio.gather(stopping, everything, *self._under_way, return_exceptions=True)


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)
