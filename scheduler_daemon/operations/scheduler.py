"""What an operator does with the scheduler as a whole: its state, its configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from scheduler_daemon import __version__
from scheduler_daemon.config import load, planned
from scheduler_daemon.errors import ConfigurationError, DatabaseUnavailableError, NoChannelError
from scheduler_daemon.ledger.audit import Audit, AuditedJob
from scheduler_daemon.ledger.history import Actor
from scheduler_daemon.ledger.presence import Node, Revision
from scheduler_daemon.operations import health
from scheduler_daemon.operations.house import House
from scheduler_daemon.operations.values import (
    ChannelTest,
    NodeView,
    NotificationTest,
    RevisionView,
    Status,
    WorkerView,
)
from scheduler_daemon.operations.views import find_spec
from scheduler_daemon.runner.planning import Outage
from scheduler_daemon.runner.readiness import BEGINNING


class SchedulerOperations:
    def __init__(self, house: House) -> None:
        self._house = house
        self._tasks: set[asyncio.Task[None]] = set()

    def status(self) -> Status:
        """From memory alone: it answers while the database is away."""
        house, now = self._house, self._house.clock.now()
        pool, dispatcher = house.runner.pool, house.runner.dispatcher
        settings = house.edition.settings
        oldest, oldest_job = health.oldest_unhandled(house, now)
        return Status(
            version=__version__,
            pid=house.node.pid,
            node=house.node.name,
            node_id=str(house.node.id),
            started_at=house.started_at,
            uptime_s=(now - house.started_at).total_seconds(),
            now=now,
            ready=house.ready,
            state_dir=str(settings.state_dir),
            configuration=str(settings.file),
            revision=settings.revision,
            scheduler_enabled=settings.scheduler_enabled,
            jobs=len(house.edition.bindings),
            database=house.database,
            database_away_since=house.gateway.away_since,
            oldest_unhandled=oldest,
            oldest_unhandled_job=oldest_job,
            clock_skew_s=dispatcher.readiness.skew.total_seconds(),
            workers=[_worker(slot) for slot in pool.workers],
            workers_max=pool.settings.max,
            running=len(pool.running),
            queued=len(dispatcher.waiting),
            spool_bytes=house.runner.recorder.spooled,
            disk_free_bytes=house.guardian.disk_free,
            degraded=self.degraded(),
            extensions=[_extension(e) for e in house.edition.catalogue.extensions],
            nodes=self._nodes(),
        )

    def degraded(self) -> list[str]:
        """Every reason why something is not as it should be."""
        return health.degraded(self._house)

    def unhealthy(self) -> list[str]:
        """Why the daemon cannot do its work at all."""
        return health.unhealthy(self._house)

    async def test_notifications(self, actor: Actor) -> NotificationTest:
        """Send a test message to every channel, now. Raises NoChannelError."""
        notifier = self._house.notifier
        if notifier is None or not notifier.enabled:
            raise NoChannelError(
                "no channel is configured: set notifications.discord, notifications.webhook or "
                "notifications.command"
            )
        errors = await notifier.test()
        await self._house.history.record_action(actor, "test notifications", None, (None, errors))
        return NotificationTest(channels=[ChannelTest(channel=c, error=e) for c, e in errors.items()])

    async def revisions(self, limit: int) -> list[RevisionView]:
        """Newest first."""
        return [revision_view(one) for one in await self._house.presence.revisions(limit)]

    async def audit(self, job: str | None = None, since: datetime | None = None) -> list[AuditedJob]:
        """Recompute the plan and compare it with the ledger. Everything due by now is settled first.

        Raises UnknownJobError for a job that the ledger never accounted for.
        """
        house = self._house
        await house.runner.dispatcher.settle()
        found = await Audit(house.gateway).run(job=job, since=since)
        if job is not None and not found:
            find_spec(house, job)
        return found

    async def reload(self, actor: Actor) -> Status:
        """Read the configuration anew, start a new job plane, and go over to both at once.

        Raises ConfigurationError, and then nothing has changed.
        """
        house = self._house
        async with house.turning:
            before = house.edition.settings.revision
            # A new tzdata may have been installed: its rules are read anew.
            ZoneInfo.clear_cache()
            try:
                loaded = await asyncio.to_thread(load, house.edition.settings.file)
                edition = await house.prepare(loaded)
            except Exception as error:
                await house.history.record_action(actor, "reload", None, (before, None), str(error))
                raise
            await self.put_in_force(loaded, edition)
            await house.history.record_action(actor, "reload", None, (before, edition.settings.revision))
        return self.status()

    async def note_start(self, before: Node | None) -> None:
        """For whoever asks why: since when this node's last daemon was gone. `before`: its row, or None."""
        house = self._house
        was = None
        if before is not None:
            last = before.stopped_at or before.heartbeat_at
            was = {"from": last.isoformat(), "stopped": before.stopped_at is not None}
        now = {"version": __version__, "revision": house.edition.settings.revision}
        await house.history.record_action(self._itself(), "start", house.node.name, (was, now))

    def note_outage(self, outage: Outage) -> None:
        """For whoever asks why: nothing could run from one time to another."""
        known = {"from": None if outage.start == BEGINNING else outage.start.isoformat()}
        until = {"to": outage.end.isoformat(), "reason": outage.reason}
        record = self._house.history.record_action(self._itself(), "outage", None, (known, until))
        task = asyncio.create_task(_quietly(record))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _itself(self) -> Actor:
        return Actor(uid=os.geteuid(), user_name="scheduler-daemon", pid=self._house.node.pid)

    async def put_in_force(self, loaded: Any, edition: Any) -> None:
        """Between two turns of the dispatcher, in one transaction of the ledger."""
        house = self._house
        overrides = await house.history.overrides()
        dispatcher = house.runner.dispatcher

        async def change() -> Any:
            capacity = house.runner.pool.capacity
            readiness = dispatcher.readiness
            turnover = await house.rollover.apply(edition, readiness.shared_now, readiness.account, capacity)
            turnover.book.overrides = overrides
            return turnover

        await dispatcher.turn_over(change)
        house.loaded, house.edition = loaded, edition
        house.guardian.revision = edition.settings.revision
        house.guardian.history = edition.settings.history
        house.runner.health.forget(b.job.name for b in edition.bindings)
        house.runner.pool.refresh(edition.settings.workers)
        house.engine.set_plan(house.book.tables())
        dispatcher.readiness.release("other_revision")
        await house.guardian.end_jobless()

    def _nodes(self) -> Sequence[NodeView]:
        return [
            NodeView(
                id=str(node.id),
                name=node.name,
                pid=node.pid,
                version=node.version,
                revision=node.revision,
                started_at=node.started_at,
                heartbeat_at=node.heartbeat_at,
                stopped_at=node.stopped_at,
                this=node.id == self._house.node.id,
            )
            for node in self._house.guardian.nodes
        ]


async def _quietly(work: Awaitable[None]) -> None:
    with contextlib.suppress(DatabaseUnavailableError):
        await work


def revision_view(revision: Revision) -> RevisionView:
    try:
        plan = planned(revision.text)
    except ConfigurationError:
        plan = None
    return RevisionView(
        id=revision.id,
        hash=revision.hash,
        in_force_from=revision.in_force_from,
        node=str(revision.node),
        jobs=len(plan.jobs) if plan else None,
        tzdata=plan.tzdata if plan else None,
    )


def _worker(slot: Any) -> WorkerView:
    current = slot.current
    return WorkerView(
        pid=slot.link.pid if slot.link else 0,
        job=current.spec.name if current else None,
        run=current.id if current else None,
        running_s=time.monotonic() - slot.current_since if current else None,
        handed=len(slot.handed),
        runs_done=slot.runs_done,
    )


def _extension(extension: Any) -> dict[str, Any]:
    return {
        "name": extension.name,
        "distribution": extension.distribution,
        "version": extension.version,
        "jobs": [job.name for job in extension.jobs],
        "error": extension.error,
        "traceback": extension.traceback,
        "leaves_threads": extension.leaves_threads,
    }
