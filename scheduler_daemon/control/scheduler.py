"""The scheduler as a whole, over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from fastapi import Query, Response

from scheduler_daemon.control import metrics, values
from scheduler_daemon.control.callers import Caller
from scheduler_daemon.control.values import Limit
from scheduler_daemon.operations import Operations
from scheduler_daemon.operations.reports import ReloadPlan, Timeline
from scheduler_daemon.operations.values import NotificationTest, Status


class SchedulerRoutes:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._house = operations.house

    async def status(self) -> Status:
        """The daemon's state, from memory: it answers while the database is away."""
        return self._operations.scheduler.status()

    async def healthz(self, response: Response) -> values.HealthView:
        """Whether the daemon does its work: 200 if so, 503 if not."""
        reasons = self._operations.scheduler.unhealthy()
        response.status_code = 503 if reasons else 200
        return values.HealthView(healthy=not reasons, reasons=reasons)

    async def metrics(self) -> Response:
        """Prometheus' text format."""
        return Response(metrics.text(self._operations), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def reload(self, actor: Caller) -> Status:
        """Put the configuration in force as it is written now; an invalid one changes nothing."""
        return await self._operations.scheduler.reload(actor)

    async def reload_plan(self, actor: Caller) -> ReloadPlan:
        """What a reload would change: nothing is changed."""
        del actor
        return await self._operations.answers.reload_plan()

    async def test_notifications(self, actor: Caller) -> NotificationTest:
        """Send a test message to every channel that notifications go to."""
        return await self._operations.scheduler.test_notifications(actor)

    async def audit(self, query: Annotated[values.AuditQuery, Query()]) -> values.AuditList:
        """Recompute the plan from the revisions that were in force, and compare it with the ledger."""
        found = await self._operations.scheduler.audit(query.job, query.since)
        jobs = [values.AuditView(**asdict(one)) for one in found]
        return values.AuditList(clean=all(one.clean for one in found), jobs=jobs)

    async def timeline(self, query: Annotated[values.TimelineQuery, Query()]) -> Timeline:
        """Past dispositions and coming fires of every job, in buckets of time."""
        reach = timedelta(hours=query.hours)
        return await self._operations.answers.timeline(reach=reach, buckets=query.buckets, job=query.job)

    async def revisions(self, limit: Limit = 20) -> values.RevisionList:
        """Which configuration was in force from when, newest first."""
        return values.RevisionList(revisions=await self._operations.scheduler.revisions(limit))

    async def actions(self, limit: Limit = 50) -> values.ActionList:
        """Who did what through this socket, newest first."""
        rows = await self._house.history.actions(limit)
        return values.ActionList(actions=[values.ActionView(**row) for row in rows])
