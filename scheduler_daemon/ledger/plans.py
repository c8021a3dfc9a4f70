"""Where each job stands: its row in scheduler.schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.ledger.sql import sql
from scheduler_daemon.model import JobSpec


class Plans:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def enter(
        self,
        specs: Sequence[JobSpec],
        returning: Sequence[str],
        now: datetime,
        scope_of: Callable[[JobSpec], str],
    ) -> None:
        """Every job has its row; those that were in no plan before are accounted for from `now` on."""
        async with self._gateway.connection() as connection:
            await connection.execute(
                sql("register_schedules"),
                {
                    "job": [s.name for s in specs],
                    "scope": [scope_of(s) for s in specs],
                    "concurrency": [s.concurrency_key for s in specs],
                    "watermark": [now] * len(specs),
                },
            )
            if returning:
                await connection.execute(
                    sql("reenter_schedules"),
                    {"jobs": list(returning), "scopes": sorted({scope_of(s) for s in specs}), "now": now},
                )

    async def watermarks(self, jobs: Sequence[str], scopes: Sequence[str]) -> dict[tuple[str, str], datetime]:
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("watermarks"), {"jobs": list(jobs), "scopes": list(scopes)})
            return {(row[0], row[1]): row[2] for row in await cursor.fetchall()}

    async def clear_watermark(self, job: str, now: datetime) -> datetime | None:
        """An operator's remedy for a watermark in the future; what it was, or None if it was not."""
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("clear_watermark"), {"job": job, "now": now})
            row = await cursor.fetchone()
            return row[0] if row else None
