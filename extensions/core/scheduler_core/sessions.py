"""cleanup_inactive_sessions: end sessions that fell idle, remove those that ended long ago."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from psycopg import sql

from scheduler_core.advice import missing_indexes
from scheduler_core.maintenance import MaintenanceRun, maintenance
from scheduler_core.parameters import SessionParameters
from scheduler_core.report import counted, message, nothing_done, result, swept_line
from scheduler_core.schema import Reference, Table, inspect, references
from scheduler_core.sweep import Swept
from scheduler_core.target import Target, forbidding
from scheduler_daemon.extension import Job, JobContext, JobResult

NEEDED: Mapping[str, Sequence[str]] = {"user_sessions": ("session_id", "last_activity_at", "ended_at")}
USED: Mapping[str, Sequence[str]] = {
    "user_sessions": (*NEEDED["user_sessions"], "started_at", "duration_seconds")
}

IDLE = sql.SQL("t.ended_at IS NULL AND t.last_activity_at < %(now)s - %(idle)s")
ENDED = sql.SQL("t.ended_at < %(now)s - %(retention)s")
WILL_HAVE_ENDED = sql.SQL(
    "coalesce(t.ended_at, CASE WHEN t.last_activity_at < %(now)s - %(idle)s"
    " THEN t.last_activity_at + %(idle)s END) < %(now)s - %(retention)s"
)
END = sql.SQL("ended_at = t.last_activity_at + %(idle)s")
DURATION = sql.SQL(
    "duration_seconds = coalesce(t.duration_seconds, least(greatest(extract(epoch FROM"
    " t.last_activity_at + %(idle)s - t.started_at), 0), 2147483647)::integer)"
)


class CleanupInactiveSessions(Job):
    name = "cleanup_inactive_sessions"
    description = "Ends sessions that have been idle too long, and removes those that ended long ago"
    schedule = "0 0 * * * *"
    parameters = SessionParameters

    async def execute(self, ctx: JobContext) -> JobResult:
        async with maintenance(ctx) as run:
            return await clean(run)


async def clean(run: MaintenanceRun[SessionParameters]) -> JobResult:
    """End and remove sessions as of `run.now`."""
    schema = await inspect(run.connection, list(USED))
    absent = schema.absent(USED)
    table = schema.find("user_sessions", *NEEDED["user_sessions"])
    if table is None:
        return nothing_done(absent)
    reaching = await references(run.connection, table)
    with run.ctx.step("expire"):
        ended = await run.sweep(_idle(table, run), "sessions ended")
    with run.ctx.step("remove"):
        removed = await run.sweep(_ended_long_ago(table, reaching, run), "sessions removed")
    lines = _told(run.parameters, ended, removed)
    return result([ended, removed], message(lines, absent=absent, advice=missing_indexes(reaching)))


def _idle(table: Table, run: MaintenanceRun[SessionParameters]) -> Target:
    change = sql.SQL(", ").join([END, DURATION] if table.has("started_at", "duration_seconds") else [END])
    return Target(table=table, key="session_id", where=IDLE, change=change, parameters=_ages(run))


def _ended_long_ago(
    table: Table, reaching: Sequence[Reference], run: MaintenanceRun[SessionParameters]
) -> Target:
    return Target(
        table=table,
        key="session_id",
        where=ENDED if run.parameters.enforce else WILL_HAVE_ENDED,
        parameters=_ages(run),
        evidence=forbidding(reaching),
        references=tuple(reaching),
    )


def _ages(run: MaintenanceRun[SessionParameters]) -> Mapping[str, Any]:
    return {
        "now": run.now,
        "idle": timedelta(hours=run.parameters.idle_hours),
        "retention": timedelta(days=run.parameters.retention_days),
    }


def _told(parameters: SessionParameters, ended: Swept, removed: Swept) -> list[str]:
    enforce = parameters.enforce
    idle = f"idle for over {counted(parameters.idle_hours, 'hour')}"
    gone = f"that ended over {counted(parameters.retention_days, 'day')} ago"
    return [
        swept_line(ended, "ended", "session", idle, enforce=enforce),
        swept_line(removed, "removed", "session", gone, enforce=enforce),
    ]
