"""database_cleanup: old and expired rows, then the tables and indexes themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

from psycopg import sql

from scheduler_core import horizon, logs
from scheduler_core.budget import Budget
from scheduler_core.indexes import Indexes
from scheduler_core.maintenance import MaintenanceRun, maintenance
from scheduler_core.needless import needless_indexes
from scheduler_core.parameters import DatabaseParameters
from scheduler_core.report import counted, message
from scheduler_core.schema import Schema, Table, inspect
from scheduler_core.sweep import Swept
from scheduler_core.target import Target
from scheduler_core.vacuum import needy_tables, vacuum
from scheduler_daemon.extension import Job, JobContext, JobResult

EXPIRING: Mapping[str, str] = {
    "oauth_refresh_tokens": "expires_at",
    "oauth_auth_codes": "expires_at",
    "oauth_state_bindings": "expires_at",
    "oauth_jti_revocations": "exp",
    "mcp_sessions": "expires_at",
}
USED: Mapping[str, Sequence[str]] = {
    **logs.USED,
    **{table: (column,) for table, column in EXPIRING.items()},
}
UNIX_TIME = ("integer", "bigint")
INSTANT = ("timestamp with time zone", "timestamp without time zone")

Run = MaintenanceRun[DatabaseParameters]


class DatabaseCleanup(Job):
    name = "database_cleanup"
    description = "General database maintenance: old logs, expired rows, vacuuming, index cleanup"
    schedule = "0 0 4 * * *"
    parameters = DatabaseParameters

    async def execute(self, ctx: JobContext) -> JobResult:
        async with maintenance(ctx) as run:
            return await clean(run)


async def clean(run: Run) -> JobResult:
    """Remove old and expired rows as of `run.now`, vacuum, rebuild indexes; tell what else there is to do.

    The parts do not depend on each other: one that fails makes the run failed, and the others are done.
    """
    cleaning = Cleaning(run, await inspect(run.connection, list(USED)))
    failed: list[str] = []
    for name, part in cleaning.parts().items():
        async with run.ctx.step(name, continue_on_error=True) as step:
            await part()
        if step.failed:
            failed.append(f"{name} failed: {step.error}")
    return cleaning.result(failed)


class Cleaning:
    """One run: its parts, and what they have to tell."""

    def __init__(self, run: Run, schema: Schema) -> None:
        self._run = run
        self._schema = schema
        self._absent = schema.absent(USED)
        self._budget = Budget(run.parameters.budget_minutes * 60)
        self._swept: list[Swept] = []
        self._problems = 0
        self._lines: list[str] = []
        self._warnings: tuple[str, ...] = ()
        self._advice: tuple[str, ...] = ()

    def parts(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        return {
            "logs": self._prune_logs,
            "expired rows": self._remove_expired,
            "vacuum": self._vacuum,
            "indexes": self._treat_indexes,
            "advice": self._advise,
        }

    def result(self, failed: Sequence[str]) -> JobResult:
        """`failed`: a line for each part that ended with an error."""
        text = message(
            [*failed, *self._lines], warnings=self._warnings, absent=self._absent, advice=self._advice
        )
        removed, left = sum(s.removed for s in self._swept), sum(s.left for s in self._swept)
        outcome = JobResult.failure(text) if failed else JobResult.success().with_message(text)
        return outcome.with_stats(removed, left + self._problems + len(failed))

    async def _prune_logs(self) -> None:
        table = self._schema.find("logs", "timestamp")
        if table is None:
            return
        days, enforce = self._run.parameters.log_retention_days, self._run.parameters.enforce
        swept = await logs.prune(self._run, table, days)
        self._swept.append(swept)
        self._lines.append(logs.pruned_line(swept, days, enforce=enforce))

    async def _remove_expired(self) -> None:
        numbers: dict[str, int] = {}
        for name, column in EXPIRING.items():
            table = self._schema.find(name, column)
            target = None if table is None else self._expired(table, column)
            if target is None:
                continue
            swept = await self._run.sweep(target, f"expired rows of {name} removed")
            self._swept.append(swept)
            if swept.candidates:
                numbers[name] = swept.removed if self._run.parameters.enforce else swept.candidates
        detail = ", ".join(f"{number:,} of {name}" for name, number in numbers.items())
        total = counted(sum(numbers.values()), "expired row")
        self._tell("removed", f"{total} ({detail})" if detail else "no expired rows")

    def _expired(self, table: Table, column: str) -> Target | None:
        """None, and a note of it, where the column is of a kind that cannot be read as an instant."""
        kind = table.columns[column]
        instant = sql.Identifier("t", column).as_string()
        if kind in UNIX_TIME:
            instant = f"to_timestamp({instant})"
        elif kind not in INSTANT:
            self._absent += (f"column {table.name}.{column} as a point in time (it is {kind})",)
            return None
        where = sql.SQL("{} < %(now)s - %(grace)s").format(sql.SQL(instant))
        if table.name == "mcp_sessions" and "status" in table.columns:
            where = sql.SQL("(t.status = 'expired' OR {})").format(where)
        grace = timedelta(minutes=self._run.parameters.expired_grace_minutes)
        return Target(table=table, key=column, where=where, parameters={"now": self._run.now, "grace": grace})

    async def _vacuum(self) -> None:
        run = self._run
        self._budget = Budget(run.parameters.budget_minutes * 60)
        tables = await needy_tables(run.connection, run.parameters.dead_rows, run.parameters.dead_percent)
        if not run.parameters.enforce:
            names = ", ".join(f"{table.label} ({counted(table.dead, 'dead row')})" for table in tables)
            self._tell("vacuumed", names or "no table")
            return
        done = await vacuum(run.ctx, run.connection, tables, self._budget)
        whole = [table for table in done if not table.problem]
        self._problems += sum(1 for table in tables if table.permitted) - len(whole)
        names = ", ".join(map(str, done))
        of = f"{len(whole):,} of {counted(len(done), 'table')}"
        self._tell("vacuumed", f"{of}: {names}" if done else "no table: none needs it")

    async def _treat_indexes(self) -> None:
        run = self._run
        indexes = Indexes(run.ctx, run.connection, self._budget)
        ailing = await indexes.ailing(run.parameters.bloat_percent)
        if not run.parameters.enforce:
            leftovers = [index.label for index in ailing if index.leftover]
            others = [index.label for index in ailing if not index.leftover][: run.parameters.max_reindex]
            if leftovers:
                self._tell("removed", f"leftover of a rebuild: {', '.join(leftovers)}")
            self._tell("rebuilt", f"index: {', '.join(others)}" if others else "no index")
            return
        treated = await indexes.treat(ailing, run.parameters.max_reindex)
        self._problems += sum(1 for index in treated if index.problem)
        for action in ("removed", "rebuilt"):
            those = [index for index in treated if index.action == action]
            what = "leftover of a rebuild" if action == "removed" else "index"
            if those:
                self._tell(action, f"{what}: {', '.join(map(str, those))}")
        if len(treated) < len(ailing):
            self._lines.append(f"{len(ailing) - len(treated):,} more to rebuild: the next run carries on")

    async def _advise(self) -> None:
        self._warnings = await horizon.warnings(self._run.connection, self._run.now)
        self._advice = await needless_indexes(self._run.connection, self._run.now)
        for text in self._warnings:
            self._run.ctx.logger.warning(text)

    def _tell(self, verb: str, what: str) -> None:
        self._lines.append(f"{verb} {what}" if self._run.parameters.enforce else f"would have {verb} {what}")
