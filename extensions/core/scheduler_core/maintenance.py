"""What every job here starts from: a connection, impatient and given back as it was, and one clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from psycopg import AsyncConnection

from scheduler_core.parameters import Pace
from scheduler_core.schema import leaves
from scheduler_core.settings import configured
from scheduler_core.sweep import Sweep, Swept
from scheduler_core.target import Target
from scheduler_daemon.extension import JobContext

P = TypeVar("P", bound=Pace)

SETTINGS: Mapping[str, str] = {
    "lock_timeout": "10s",  # no part of a job waits for ever; batches are more impatient still
    "synchronous_commit": "off",  # what a crash takes back, the next run removes again
    "timezone": "UTC",  # what a timestamp without a zone means when it is compared with an instant
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceRun(Generic[P]):
    """One run of a job: its connection is in autocommit mode, `now` is the server's time at the start."""

    ctx: JobContext
    connection: AsyncConnection[Any]
    now: datetime
    parameters: P

    async def sweep(self, target: Target, note: str) -> Swept:
        """Sweep over one target, partition by partition if its table has any."""
        total = Swept()
        for table in await leaves(self.connection, target.table):
            pace: Pace = self.parameters
            if pace.max_rows is not None:
                pace = pace.model_copy(update={"max_rows": max(0, pace.max_rows - total.candidates)})
            part = replace(target, table=table)
            total += await Sweep(self.ctx, self.connection, part, pace, note=note).run()
        return total


@asynccontextmanager
async def maintenance(ctx: JobContext) -> AsyncIterator[MaintenanceRun[Any]]:
    """An autocommit connection from the run's pool with our settings, which are undone at the end."""
    async with ctx.db_pool().connection() as connection:
        before = connection.autocommit
        await connection.set_autocommit(True)
        try:
            async with configured(connection, SETTINGS):
                now = await _clock(connection)
                yield MaintenanceRun(ctx=ctx, connection=connection, now=now, parameters=ctx.parameters)
        finally:
            if not connection.closed:
                await connection.set_autocommit(before)


async def _clock(connection: AsyncConnection[Any]) -> datetime:
    """Every age is measured by the clock that wrote the rows, whatever this process's says."""
    cursor = await connection.execute("SELECT clock_timestamp()")
    row = await cursor.fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment
