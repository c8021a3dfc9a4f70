"""Runs and log lines, over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from scheduler_daemon.control.callers import Caller
from scheduler_daemon.control.events import EventStream
from scheduler_daemon.control.values import (
    AppLogList,
    AppLogQuery,
    FollowQuery,
    LogList,
    LogQuery,
    PruneRequest,
    RunList,
    RunQuery,
)
from scheduler_daemon.control.watching import Watching
from scheduler_daemon.ledger.history import LogFilter, RunFilter
from scheduler_daemon.operations import Operations
from scheduler_daemon.operations.values import PrunedLogs, RunDetail, RunView


class RunRoutes:
    def __init__(self, operations: Operations) -> None:
        self._jobs = operations.jobs
        self._watching = Watching(operations)

    async def list(self, query: Annotated[RunQuery, Query()]) -> RunList:
        """History, newest first."""
        wanted = RunFilter(
            job=query.job,
            statuses=tuple(query.status) if query.status else None,
            since=query.since,
            limit=query.limit,
        )
        return RunList(runs=await self._jobs.runs(wanted))

    async def show(self, run_id: str) -> RunDetail:
        """One run, by its id or the beginning of it."""
        return await self._jobs.run_detail(run_id)

    async def cancel(self, run_id: str, actor: Caller) -> RunView:
        """End a live run. The answer is the run as it was; it ends soon after."""
        return await self._jobs.cancel(run_id, actor)

    async def events(self, run_id: str) -> Response:
        """What a run does, live: joined, started, step, progress, log, dropped, ended."""
        return EventStream(await self._watching.run(run_id))


class LogRoutes:
    def __init__(self, operations: Operations) -> None:
        self._jobs = operations.jobs
        self._logs = operations.logs
        self._watching = Watching(operations)

    async def list(self, query: Annotated[LogQuery, Query()]) -> LogList:
        """The newest log lines, oldest of them first."""
        return LogList(logs=await self._jobs.logs(await self._filter(query)))

    async def follow(self, query: Annotated[FollowQuery, Query()]) -> Response:
        """The newest log lines, then new ones as they come."""
        return EventStream(self._watching.logs(await self._filter(query)))

    async def application(self, query: Annotated[AppLogQuery, Query()]) -> AppLogList:
        """The newest lines of the application's own log (public.logs), oldest of them first."""
        wanted = LogFilter(
            levels=query.levels,
            module=query.module,
            pattern=query.pattern,
            since=query.since,
            limit=query.limit,
        )
        return AppLogList(logs=await self._logs.of_the_application(wanted))

    async def prune(self, actor: Caller, request: PruneRequest | None = None) -> PrunedLogs:
        """Remove old lines of the daemon's own log now; it does so by itself, by logs.keep."""
        request = request or PruneRequest()
        return await self._logs.prune(request.days, actor, dry_run=request.dry_run)

    async def _filter(self, query: LogQuery | FollowQuery) -> LogFilter:
        return LogFilter(
            levels=query.levels,
            job=query.job,
            run_id=None if query.run is None else await self._jobs.run_id(query.run),
            module=query.module,
            pattern=query.pattern,
            since=query.since if isinstance(query, LogQuery) else None,
            limit=query.limit,
        )
