"""cleanup_anonymous_users: remove accounts that a visitor was given and never made their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from psycopg import sql

from scheduler_core.advice import missing_indexes
from scheduler_core.maintenance import MaintenanceRun, maintenance
from scheduler_core.parameters import AnonymousUserParameters
from scheduler_core.report import counted, message, nothing_done, result, swept_line
from scheduler_core.schema import Reference, Schema, inspect, references
from scheduler_core.target import Dependent, Evidence, Target, forbidding
from scheduler_daemon.extension import Job, JobContext, JobResult

NEEDED: Mapping[str, Sequence[str]] = {
    "users": ("id", "roles", "created_at"),
    "user_sessions": ("user_id", "ended_at"),
}
USED: Mapping[str, Sequence[str]] = {**NEEDED, "user_contexts": ("user_id",)}

NEVER_UPGRADED = sql.SQL("t.roles = '{anonymous}'::text[] AND t.created_at < %(now)s - %(retention)s")
OPEN = sql.SQL("e.ended_at IS NULL")


class CleanupAnonymousUsers(Job):
    name = "cleanup_anonymous_users"
    description = "Removes old anonymous user accounts that were never upgraded"
    schedule = "0 0 3 * * *"
    parameters = AnonymousUserParameters

    async def execute(self, ctx: JobContext) -> JobResult:
        async with maintenance(ctx) as run:
            return await clean(run)


async def clean(run: MaintenanceRun[AnonymousUserParameters]) -> JobResult:
    """Remove, as of `run.now`, old users that are anonymous and nothing else and have no open session."""
    schema = await inspect(run.connection, list(USED))
    absent = schema.absent(USED)
    if schema.lacks(NEEDED):
        return nothing_done(absent)
    reaching = await references(run.connection, schema.tables["users"])
    target = _old_anonymous_users(schema, reaching, run)
    swept = await run.sweep(target, "anonymous users removed")
    condition = f"older than {counted(run.parameters.retention_days, 'day')}"
    lines = [swept_line(swept, "removed", "anonymous user", condition, enforce=run.parameters.enforce)]
    if swept.removed:
        lines += [
            f"their {each.what}s went uncounted: {each.table.label} ({each.column}) has no index"
            for each in target.dependents
            if not each.quick
        ]
    return result([swept], message(lines, absent=absent, advice=missing_indexes(reaching, target.evidence)))


def _old_anonymous_users(
    schema: Schema, reaching: Sequence[Reference], run: MaintenanceRun[AnonymousUserParameters]
) -> Target:
    contexts = schema.find("user_contexts", "user_id")
    open_sessions = Evidence(table=schema.tables["user_sessions"], column="user_id", where=OPEN)
    return Target(
        table=schema.tables["users"],
        key="id",
        where=NEVER_UPGRADED,
        parameters={"now": run.now, "retention": timedelta(days=run.parameters.retention_days)},
        evidence=(open_sessions, *forbidding(reaching)),
        references=tuple(reaching),
        dependents=(Dependent(what="context", table=contexts, column="user_id"),) if contexts else (),
    )
