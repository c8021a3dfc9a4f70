"""cleanup_empty_contexts: remove conversations in which nothing was ever said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from psycopg import sql

from scheduler_core.advice import missing_indexes
from scheduler_core.maintenance import MaintenanceRun, maintenance
from scheduler_core.parameters import ContextParameters
from scheduler_core.report import counted, message, nothing_done, result, swept_line
from scheduler_core.schema import Schema, inspect, references
from scheduler_core.target import Evidence, Target, forbidding
from scheduler_daemon.extension import Job, JobContext, JobResult

NEEDED: Mapping[str, Sequence[str]] = {
    "user_contexts": ("context_id", "created_at"),
    "agent_tasks": ("context_id",),
    "task_messages": ("context_id",),
}
USED: Mapping[str, Sequence[str]] = {
    **NEEDED,
    "user_contexts": (*NEEDED["user_contexts"], "kind", "session_id"),
    "user_sessions": ("session_id", "ended_at"),
    "mcp_tool_executions": ("context_id",),
    "governance_decisions": ("context_id",),
}
EVIDENCE = ("agent_tasks", "task_messages", "mcp_tool_executions", "governance_decisions")

OLD = sql.SQL("t.created_at < %(now)s - %(retention)s")
NOT_CLI = sql.SQL(" AND t.kind IS DISTINCT FROM 'cli_session'")
NOT_LIVE_CLI = sql.SQL(
    " AND NOT (t.kind IS NOT DISTINCT FROM 'cli_session' AND EXISTS (SELECT FROM public.user_sessions s"
    " WHERE s.session_id = t.session_id AND s.ended_at IS NULL))"
)


class CleanupEmptyContexts(Job):
    name = "cleanup_empty_contexts"
    description = "Deletes conversation contexts that contain no messages"
    schedule = "0 0 * * * *"
    parameters = ContextParameters

    async def execute(self, ctx: JobContext) -> JobResult:
        async with maintenance(ctx) as run:
            return await clean(run)


async def clean(run: MaintenanceRun[ContextParameters]) -> JobResult:
    """Remove, as of `run.now`, old contexts without a message, task, tool execution or decision.

    The context of a command line session that is still open stays, whatever its age.
    """
    schema = await inspect(run.connection, list(USED))
    absent = schema.absent(USED)
    if schema.lacks(NEEDED):
        return nothing_done(absent)
    reaching = await references(run.connection, schema.tables["user_contexts"])
    target = Target(
        table=schema.tables["user_contexts"],
        key="context_id",
        where=OLD + _not_live(schema),
        parameters={"now": run.now, "retention": timedelta(hours=run.parameters.retention_hours)},
        evidence=(*_contents(schema), *forbidding(reaching)),
        references=tuple(reaching),
    )
    swept = await run.sweep(target, "empty contexts removed")
    condition = f"older than {counted(run.parameters.retention_hours, 'hour')}"
    line = swept_line(swept, "removed", "empty context", condition, enforce=run.parameters.enforce)
    return result([swept], message([line], absent=absent, advice=missing_indexes(reaching, target.evidence)))


def _contents(schema: Schema) -> list[Evidence]:
    tables = [schema.find(name, "context_id") for name in EVIDENCE]
    return [Evidence(table=table, column="context_id") for table in tables if table is not None]


def _not_live(schema: Schema) -> sql.Composable:
    """Where it cannot be told whether a command line session is open, its context stays."""
    if schema.find("user_contexts", "kind") is None:
        return sql.SQL("")
    if schema.find("user_contexts", "session_id") and schema.find("user_sessions", "session_id", "ended_at"):
        return NOT_LIVE_CLI
    return NOT_CLI
