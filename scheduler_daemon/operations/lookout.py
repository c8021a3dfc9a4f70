"""Looks at the whole house every few seconds, listens to its runs, and tells those outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from scheduler_daemon.journal import Journal
from scheduler_daemon.ledger.outcomes import Start
from scheduler_daemon.ledger.values import NewRun, SpanExtension
from scheduler_daemon.logs import LedgerTap
from scheduler_daemon.model import LogRecord, RunKind, RunStatus
from scheduler_daemon.notify.heartbeat import Heartbeat
from scheduler_daemon.notify.notifier import Notifier
from scheduler_daemon.notify.store import Store
from scheduler_daemon.operations.health import conditions, unhealthy
from scheduler_daemon.operations.house import House
from scheduler_daemon.runner.orders import EndedRun, RunOrder, RunWatcher
from scheduler_daemon.tasks import end

EVERY_S = 5.0
HISTORY = "notify.json"
log = structlog.get_logger(__name__)


class Lookout(RunWatcher):
    """Feeds notifier and heartbeat; they work while the database is away.

    A copy of a database says nothing until it is accepted: it would speak in the original's name.
    """

    def __init__(self, house: House, tap: LedgerTap) -> None:
        settings = house.edition.settings
        self.notifier = Notifier(
            settings.notifications,
            node=house.node.name,
            store=Store(settings.state_dir / HISTORY),
            redactor=tap.redactor,
        )
        self._house = house
        self._edition = house.edition
        self._heartbeat = Heartbeat(settings.heartbeat, self._troubles)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.notifier.start()
        self._house.runner.watchers.append(self)

    async def watch(self) -> None:
        """From here on the house is complete: look at it, and ping."""
        await self._heartbeat.start()
        self._task = asyncio.create_task(self._look_for_ever(), name="lookout")

    async def stop(self) -> None:
        if self._task is not None:
            await end([self._task])
            self._task = None
        await self._heartbeat.stop()
        await self.notifier.stop()

    def run_started(self, order: RunOrder, start: Start) -> None:
        self._heartbeat.run_started(order.spec.name)
        if order.scheduled_for is not None and order.kind is RunKind.CRON and self._speaks:
            late_s = start.at - order.scheduled_for.timestamp()
            self.notifier.sentinel.run_started(order.spec.name, late_s, time.time(), order.id)

    def run_ended(self, run: EndedRun) -> None:
        if run.outcome.status is RunStatus.CANCELLED or not run.final:
            return
        said = run.outcome.error or run.outcome.message or ""
        self._heartbeat.run_ended(run.job, well=run.outcome.status is RunStatus.SUCCEEDED, said=said)
        if self._speaks:
            self.notifier.sentinel.run_ended(run.job, run.outcome, time.time())

    def not_run(self, spans: Sequence[NewRun | SpanExtension]) -> None:
        if self._speaks:
            for span in spans:
                if span.status is RunStatus.MISSED:
                    self.notifier.sentinel.missed(span.job, span.count, span.reason, time.time())

    @property
    def _speaks(self) -> bool:
        return self.notifier.enabled and not self._copied

    @property
    def _copied(self) -> bool:
        return "restored" in self._house.runner.dispatcher.readiness.hold

    def _troubles(self) -> Sequence[str] | None:
        return None if self._copied else unhealthy(self._house)

    async def _look_for_ever(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("a look around failed")
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """One round."""
        house = self._house
        if house.edition is not self._edition:
            self._edition = house.edition
            await self.notifier.apply(house.edition.settings.notifications)
            await self._heartbeat.apply(house.edition.settings.heartbeat)
            self.notifier.sentinel.forget(frozenset(b.job.name for b in house.edition.bindings))
        pool = house.runner.pool
        running = ((s.current, s.current_since) for s in pool.workers if s.current is not None)
        for order in house.runner.health.look_at(running):
            log.warning("a run seems to hang", job=order.spec.name, run_id=order.id)
        if self._speaks:
            self.notifier.sentinel.conditions(conditions(house), time.time())


class JournalLines(RunWatcher):
    """What jobs say, and how runs begin and end, in the journal."""

    def __init__(self, journald: Journal) -> None:
        self._journald = journald

    def run_started(self, order: RunOrder, start: Start) -> None:
        self._journald.send(
            LogRecord(
                timestamp=start.at,
                level="INFO",
                module=__name__,
                message="run started",
                run_id=order.id,
                job=order.spec.name,
                fields={"kind": order.kind.value, "attempt": order.attempt},
            )
        )

    def run_logged(self, record: LogRecord) -> None:
        self._journald.send(record)
