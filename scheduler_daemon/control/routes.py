"""All routes in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scheduler_daemon.control import metrics, values
from scheduler_daemon.control.events import MEDIA_TYPE
from scheduler_daemon.control.jobs import JobRoutes
from scheduler_daemon.control.runs import LogRoutes, RunRoutes
from scheduler_daemon.control.scheduler import SchedulerRoutes
from scheduler_daemon.operations import Operations
from scheduler_daemon.operations.reports import ReloadPlan, Timeline, Why
from scheduler_daemon.operations.values import (
    JobDetail,
    JobList,
    JobView,
    NotificationTest,
    PrunedLogs,
    RunDetail,
    RunStarted,
    RunView,
    Status,
)

JSON = "application/json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """`answer` is the shape of a success; None: a stream, or plain text, of `media_type`.

    `streams`: those who accept server-sent events get them instead.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    answer: Any = None
    status: int = 200
    media_type: str = JSON
    refusals: Sequence[int] = ()
    streams: bool = False


def routes(operations: Operations) -> tuple[Route, ...]:
    """The whole API: each handler returns a value, or raises."""
    scheduler, jobs = SchedulerRoutes(operations), JobRoutes(operations)
    runs, logs = RunRoutes(operations), LogRoutes(operations)
    return (
        _get("/healthz", scheduler.healthz, values.HealthView),
        _text("/metrics", scheduler.metrics, metrics.MEDIA_TYPE),
        _get("/v1/status", scheduler.status, Status),
        _post("/v1/reload", scheduler.reload, Status, refusals=(422,)),
        _post("/v1/reload/plan", scheduler.reload_plan, ReloadPlan),
        _post("/v1/notifications/test", scheduler.test_notifications, NotificationTest, refusals=(409,)),
        _get("/v1/timeline", scheduler.timeline, Timeline, 404),
        _get("/v1/audit", scheduler.audit, values.AuditList, 404),
        _get("/v1/revisions", scheduler.revisions, values.RevisionList),
        _get("/v1/actions", scheduler.actions, values.ActionList),
        _get("/v1/jobs", jobs.list, JobList),
        _get("/v1/jobs/{name}", jobs.show, JobDetail, 404),
        _get("/v1/jobs/{name}/next", jobs.next, values.NextFires, 404),
        _get("/v1/jobs/{name}/why", jobs.why, Why, 404),
        replace(
            _post("/v1/jobs/{name}/runs", jobs.run, RunStarted, status=202, refusals=(404, 409)), streams=True
        ),
        _post("/v1/jobs/{name}/enable", jobs.enable, JobView, refusals=(404, 409)),
        _post("/v1/jobs/{name}/disable", jobs.disable, JobView, refusals=(404, 409)),
        _post("/v1/jobs/{name}/reset", jobs.reset, JobView, refusals=(404,)),
        _post("/v1/jobs/{name}/rewind", jobs.rewind, JobView, refusals=(404,)),
        _get("/v1/runs", runs.list, values.RunList, 404),
        _get("/v1/runs/{run_id}", runs.show, RunDetail, 404),
        _text("/v1/runs/{run_id}/events", runs.events, MEDIA_TYPE, 404),
        _post("/v1/runs/{run_id}/cancel", runs.cancel, RunView, status=202, refusals=(404,)),
        _get("/v1/logs", logs.list, values.LogList, 404),
        _text("/v1/logs/follow", logs.follow, MEDIA_TYPE, 404),
        _get("/v1/logs/app", logs.application, values.AppLogList, 404),
        _post("/v1/logs/prune", logs.prune, PrunedLogs),
    )


def _get(path: str, handler: Callable[..., Any], answer: Any, *refusals: int) -> Route:
    return Route(method="GET", path=path, handler=handler, answer=answer, refusals=refusals)


def _text(path: str, handler: Callable[..., Any], media_type: str, *refusals: int) -> Route:
    return Route(method="GET", path=path, handler=handler, media_type=media_type, refusals=refusals)


def _post(
    path: str, handler: Callable[..., Any], answer: Any, *, status: int = 200, refusals: Sequence[int] = ()
) -> Route:
    return Route(method="POST", path=path, handler=handler, answer=answer, status=status, refusals=refusals)
