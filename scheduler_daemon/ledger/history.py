"""What people look at: runs, logs, actions, overrides; and what is pruned when it is old."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.ledger.sql import as_rows, sql

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    job: str
    enabled: bool
    reason: str | None
    actor: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who acts, as the kernel tells it of the socket's other end."""

    uid: int | None
    user_name: str
    pid: int | None = None

    def __str__(self) -> str:
        return self.user_name


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFilter:
    job: str | None = None
    statuses: tuple[str, ...] | None = None
    since: datetime | None = None
    limit: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFilter:
    """`levels` are names, `pattern` and `module` plain text (substring, prefix); `after` a log id."""

    levels: tuple[str, ...] | None = None
    job: str | None = None
    run_id: UUID | None = None
    module: str | None = None
    pattern: str | None = None
    since: datetime | None = None
    after: int | None = None
    limit: int = 20


class History:
    def __init__(self, gateway: Gateway, node_id: UUID) -> None:
        self._gateway = gateway
        self._node_id = node_id

    async def runs(self, wanted: RunFilter) -> list[Row]:
        statuses = list(wanted.statuses) if wanted.statuses else None
        return await self._read(
            "runs", job=wanted.job, status=statuses, since=wanted.since, limit=wanted.limit
        )

    async def run(self, run_id: UUID) -> Row | None:
        rows = await self._read("run", id=run_id)
        return rows[0] if rows else None

    async def run_ids_like(self, prefix: str) -> list[UUID]:
        """At most two ids that start so: one is an answer, two are too many."""
        digits = prefix.replace("-", "")
        if not re.fullmatch("[0-9a-f]{1,32}", digits):
            return []
        first, last = UUID(hex=digits.ljust(32, "0")), UUID(hex=digits.ljust(32, "f"))
        return [row["id"] for row in await self._read("runs_like", first=first, last=last)]

    async def last_runs(self, jobs: Sequence[str]) -> dict[str, Row]:
        return {row["job"]: row for row in await self._read("last_runs", jobs=list(jobs))}

    async def live(self) -> list[Row]:
        return await self._read("live")

    async def recent_outcomes(self, job: str) -> list[Row]:
        return await self._read("recent_outcomes", job=job)

    async def between(self, job: str | None, start: datetime, until: datetime, limit: int) -> list[Row]:
        return await self._read("runs_between", job=job, start=start, until=until, limit=limit)

    async def logs(self, wanted: LogFilter) -> list[Row]:
        """Newest first."""
        return await self._read("logs", since=wanted.since, **log_conditions(wanted))

    async def logs_after(self, wanted: LogFilter) -> list[Row]:
        """Oldest first, those after the line `wanted.after`."""
        return await self._read("logs_after", **log_conditions(wanted))

    async def count_logs(self, before: datetime) -> int:
        number: int = (await self._read("count_old_logs", before=before))[0]["number"]
        return number

    async def last_log(self) -> int:
        """The id of the newest line, 0 if there is none."""
        newest: int = (await self._read("last_log"))[0]["id"]
        return newest

    async def actions(self, limit: int) -> list[Row]:
        return await self._read("actions", limit=limit)

    async def record_action(
        self, actor: Actor, action: str, target: str | None, change: tuple[Any, Any], error: str | None = None
    ) -> None:
        """`change` is (before, after), each fit for JSON."""
        before, after = (None if side is None else json.dumps(side, default=str) for side in change)
        await self._write(
            "record_action",
            node=self._node_id,
            uid=actor.uid,
            user_name=actor.user_name,
            pid=actor.pid,
            action=action,
            target=target,
            before=before,
            after=after,
            error=error,
        )

    async def overrides(self) -> dict[str, Override]:
        return {row["job"]: Override(**row) for row in await self._read("overrides")}

    async def set_override(self, override: Override) -> None:
        await self._write(
            "set_override",
            job=override.job,
            enabled=override.enabled,
            reason=override.reason,
            actor=override.actor,
            now=override.since,
            until=override.until,
        )

    async def clear_override(self, job: str) -> None:
        await self._write("clear_override", job=job)

    async def expire_overrides(self, now: datetime) -> list[Override]:
        return [Override(**row) for row in await self._read("expired_overrides", now=now)]

    async def prune(self, job: str, *, before: datetime, max_per_job: int, batch: int) -> int:
        """Delete one small batch of a job's ended runs, past their age or count.

        `audited_from` moves past them in the same transaction. Returns how many went.
        """
        wanted = {"job": job, "before": before, "max_per_job": max_per_job, "batch": batch}
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("prunable_runs"), wanted)
            rows = await cursor.fetchall()
            if not rows:
                return 0
            last: dict[tuple[str, str], datetime] = {}
            for _, name, scope, planned, last_for in rows:
                if planned:
                    last[name, scope] = max(last_for, last.get((name, scope), last_for))
            moved = ({"job": j, "scope": s, "last": moment} for (j, s), moment in last.items())
            await connection.execute(sql("advance_audit"), {"rows": as_rows(moved)})
            await connection.execute(sql("delete_runs"), {"ids": [row[0] for row in rows]})
        return len(rows)

    async def jobs_with_history(self) -> list[str]:
        return [row["job"] for row in await self._read("jobs_with_history")]

    async def _read(self, query: str, /, **parameters: Any) -> list[Row]:
        async with (
            self._gateway.reading() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(sql(query), parameters)
            return await cursor.fetchall()

    async def _write(self, query: str, /, **parameters: Any) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(sql(query), parameters)


def log_conditions(wanted: LogFilter) -> dict[str, Any]:
    return {
        "levels": list(wanted.levels) if wanted.levels else None,
        "job": wanted.job,
        "run_id": wanted.run_id,
        "module": None if wanted.module is None else _literal(wanted.module) + "%",
        "pattern": None if wanted.pattern is None else f"%{_literal(wanted.pattern)}%",
        "after": wanted.after,
        "limit": wanted.limit,
    }


def _literal(text: str) -> str:
    """Text for LIKE in which nothing is special."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
