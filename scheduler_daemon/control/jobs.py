"""Jobs, over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Header, Query

from scheduler_daemon.control import values
from scheduler_daemon.control.callers import Caller
from scheduler_daemon.control.events import MEDIA_TYPE, EventStream
from scheduler_daemon.control.values import Moment, RunRequest, SwitchRequest, WhyQuery
from scheduler_daemon.control.watching import Watching
from scheduler_daemon.ledger.history import Actor
from scheduler_daemon.operations import Operations, Switch
from scheduler_daemon.operations.reports import Why
from scheduler_daemon.operations.values import JobDetail, JobList, JobView


class JobRoutes:
    def __init__(self, operations: Operations) -> None:
        self._jobs = operations.jobs
        self._answers = operations.answers
        self._watching = Watching(operations)

    async def list(self) -> JobList:
        """All jobs, in the configuration's order; without last runs while the database is away."""
        return await self._jobs.jobs()

    async def show(self, name: str) -> JobDetail:
        """One job: what it runs, when, under which rules, and its last runs."""
        return await self._jobs.job(name)

    async def next(
        self,
        name: str,
        count: Annotated[int, Query(ge=1, le=1000)] = 10,
        start: Annotated[Moment | None, Query(alias="from")] = None,
    ) -> values.NextFires:
        """The next instants of a job's schedule."""
        return values.NextFires(**self._jobs.coming(name, count=count, start=start))

    async def why(self, name: str, query: Annotated[WhyQuery, Query()]) -> Why:
        """Why the job ran, or did not, at a time: from the ledger, with evidence and advice."""
        return await self._answers.why(name, query.at)

    async def run(
        self, name: str, actor: Caller, wanted: RunRequest, accept: Annotated[str, Header()] = ""
    ) -> Any:
        """Start a run now. With `Accept: text/event-stream` the answer is its stream of events."""
        name_and_values = (name, wanted.parameters)
        if MEDIA_TYPE in accept:
            _, source = await self._watching.start(*name_and_values, queue=wanted.queue, actor=actor)
            return EventStream(source)
        return await self._jobs.run(*name_and_values, queue=wanted.queue, actor=actor)

    async def enable(self, name: str, actor: Caller, wanted: SwitchRequest | None = None) -> JobView:
        """Enable a job, over what the file says."""
        return await self._switch(name, wanted, actor, enabled=True)

    async def disable(self, name: str, actor: Caller, wanted: SwitchRequest | None = None) -> JobView:
        """Disable a job, over what the file says: its instants are skipped."""
        return await self._switch(name, wanted, actor, enabled=False)

    async def reset(self, name: str, actor: Caller) -> JobView:
        """Enabled or disabled as the file says."""
        return await self._jobs.reset(name, actor)

    async def rewind(self, name: str, actor: Caller) -> JobView:
        """Account for it anew from now on: a clock that ran ahead left its watermark in the future."""
        return await self._jobs.rewind(name, actor)

    async def _switch(
        self, name: str, wanted: SwitchRequest | None, actor: Actor, *, enabled: bool
    ) -> JobView:
        wanted = wanted or SwitchRequest()
        lasting = None if wanted.lasting_s is None else timedelta(seconds=wanted.lasting_s)
        return await self._jobs.switch(
            name, Switch(enabled=enabled, reason=wanted.reason, lasting=lasting), actor
        )
