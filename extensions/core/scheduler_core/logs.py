"""log_cleanup: remove old lines of the application's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from psycopg import sql

from scheduler_core.maintenance import MaintenanceRun, maintenance
from scheduler_core.parameters import LogParameters, Pace
from scheduler_core.report import counted, message, nothing_done, result, swept_line
from scheduler_core.schema import Table, inspect
from scheduler_core.sweep import Swept
from scheduler_core.target import Target
from scheduler_daemon.extension import Job, JobContext, JobResult

P = TypeVar("P", bound=Pace)

USED: Mapping[str, Sequence[str]] = {"logs": ("timestamp",)}
OLD = sql.SQL("t.timestamp < %(now)s - %(retention)s")


class LogCleanup(Job):
    name = "log_cleanup"
    description = "Removes old lines of the application's log (public.logs); the daemon prunes its own"
    schedule = "0 30 4 * * *"
    parameters = LogParameters

    async def execute(self, ctx: JobContext) -> JobResult:
        async with maintenance(ctx) as run:
            return await clean(run)


async def clean(run: MaintenanceRun[LogParameters]) -> JobResult:
    """Remove, as of `run.now`, lines of public.logs that are older than the retention."""
    schema = await inspect(run.connection, list(USED))
    absent = schema.absent(USED)
    if schema.lacks(USED):
        return nothing_done(absent)
    swept = await prune(run, schema.tables["logs"], run.parameters.retention_days)
    line = pruned_line(swept, run.parameters.retention_days, enforce=run.parameters.enforce)
    return result([swept], message([line]))


async def prune(run: MaintenanceRun[P], logs: Table, retention_days: int) -> Swept:
    """Remove what is older from `logs`."""
    parameters = {"now": run.now, "retention": timedelta(days=retention_days)}
    target = Target(table=logs, key="timestamp", where=OLD, parameters=parameters)
    return await run.sweep(target, "log lines removed")


def pruned_line(swept: Swept, retention_days: int, *, enforce: bool) -> str:
    condition = f"older than {counted(retention_days, 'day')} from public.logs"
    return swept_line(swept, "removed", "log line", condition, enforce=enforce)
