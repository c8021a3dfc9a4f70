"""What a watcher of runs and of logs gets to see, in order."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from scheduler_daemon.control.events import Event, Events, Source
from scheduler_daemon.errors import DatabaseUnavailableError
from scheduler_daemon.ledger.history import Actor, LogFilter
from scheduler_daemon.operations import Operations
from scheduler_daemon.operations.values import RunDetail, RunStarted
from scheduler_daemon.runner.streams import Reader

POLL_S = 0.3
LINES_AT_ONCE = 500
ENDED = "ended"
_TIMES = ("at", "started_at", "finished_at")
_OUTCOME = (
    "status", "reason", "started_at", "finished_at", "duration_ms", "items_processed", "items_failed",
    "message", "error", "traceback", "steps", "logs_dropped",
)  # fmt: skip


class Watching:
    """Sources of events."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._house = operations.house

    async def start(
        self, name: str, parameters: dict[str, Any], *, queue: bool, actor: Actor
    ) -> tuple[RunStarted, Source]:
        """Start a run and watch it from its very first moment; the first event is `accepted`."""
        reader = self._house.runner.streams.open()
        try:
            started = await self._operations.jobs.run(name, parameters, queue=queue, actor=actor)
        except BaseException:
            reader.close()
            raise
        return started, Source(events=self._from_start(started, reader), close=reader.close)

    async def run(self, run_id: str) -> Source:
        """What a run does from now on; one that has ended is told again. Raises UnknownRunError."""
        full = str(await self._operations.jobs.run_id(run_id))
        reader = self._house.runner.streams.open(full)
        try:
            row = await self._operations.jobs.run_detail(full)
        except BaseException:
            reader.close()
            raise
        if row.finished_at is not None:
            reader.close()
            return Source(events=self._retold(row))
        return Source(events=self._joined(row, reader), close=reader.close)

    def logs(self, wanted: LogFilter) -> Source:
        """Log lines as they are recorded, by this node and by others, after the newest `limit` there are."""
        return Source(events=self._followed(wanted))

    async def _from_start(self, started: RunStarted, reader: Reader) -> Events:
        yield {"event": "accepted", **asdict(started)}
        reader.run_id = started.id
        async for event in reader.events():
            if event.get("run", started.id) != started.id:
                continue
            yield _timed(event)
            if event["event"] == ENDED:
                return

    async def _joined(self, row: RunDetail, reader: Reader) -> Events:
        yield {"event": "joined", "run": row.id, "job": row.job, "status": row.status}
        if row.node != str(self._house.node.id):
            yield await self._end_elsewhere(row)
            return
        for event in self._house.runner.so_far(row.id):
            yield _timed({"run": row.id, "job": row.job, **event})
        async for event in reader.events():
            yield _timed(event)
            if event["event"] == ENDED:
                return

    async def _end_elsewhere(self, row: RunDetail) -> Event:
        """Another node says nothing here: its row does."""
        while row.finished_at is None:
            await asyncio.sleep(POLL_S)
            row = await self._operations.jobs.run_detail(row.id)
        return _end(row)

    async def _retold(self, row: RunDetail) -> Events:
        yield {"event": "joined", "run": row.id, "job": row.job, "status": row.status}
        wanted = LogFilter(run_id=await self._operations.jobs.run_id(row.id), limit=LINES_AT_ONCE)
        for line in await self._operations.jobs.logs(wanted):
            yield {"event": "log", **asdict(line)}
        for step in row.steps:
            yield {"event": "step", "run": row.id, "job": row.job, **step}
        yield _end(row)

    async def _followed(self, wanted: LogFilter) -> Events:
        for line in await self._operations.jobs.logs(wanted) if wanted.limit else ():
            wanted = replace(wanted, after=line.id)
            yield {"event": "log", **asdict(line)}
        if wanted.after is None:
            wanted = replace(wanted, after=await self._house.history.last_log())
        wanted, away = replace(wanted, since=None, limit=LINES_AT_ONCE), False
        while True:
            try:
                lines = await self._operations.jobs.logs_after(wanted)
            except DatabaseUnavailableError as error:
                if not away:
                    yield {"event": "away", "message": str(error)}
                lines, away = [], True
            else:
                away = False
            for line in lines:
                wanted = replace(wanted, after=line.id)
                yield {"event": "log", **asdict(line)}
            if len(lines) < LINES_AT_ONCE:
                await asyncio.sleep(POLL_S)


def _end(row: RunDetail) -> Event:
    values = asdict(row)
    return {"event": ENDED, "run": row.id, "job": row.job, **{name: values[name] for name in _OUTCOME}}


def _timed(event: Event) -> Event:
    """Unix seconds as RFC 3339, as everywhere else in this API."""
    times = {name: event[name] for name in _TIMES if isinstance(event.get(name), float | int)}
    return {**event, **{name: datetime.fromtimestamp(at, UTC).isoformat() for name, at in times.items()}}
