"""What `why` asks the ledger: the revision in force, an instant's row, who acted, what was down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.ledger.history import Row
from scheduler_daemon.ledger.presence import Revision
from scheduler_daemon.ledger.sql import sql


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """The revision in force at a moment, and its neighbours in time; None where there is none."""

    before: Revision | None
    at: Revision | None
    after: Revision | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Accounted:
    """From when to when a job is accounted for: every instant in (`start`, `until`] has its row."""

    start: datetime
    until: datetime


class Inquiry:
    """Reads only."""

    def __init__(self, gateway: Gateway, scope: str) -> None:
        self._gateway = gateway
        self._scope = scope

    async def revisions_around(self, moment: datetime) -> Stretch:
        rows = await self._read("revisions_around", at=moment)
        found = {row.pop("place"): _revision(row) for row in rows}
        return Stretch(before=found.get("before"), at=found.get("at"), after=found.get("after"))

    async def revisions_with(self, job: str, moment: datetime) -> Stretch:
        """The last revision before the moment that had the job, and the first one after it that has."""
        rows = await self._read("revisions_with_job", job=job, at=moment)
        found = {row.pop("place"): _revision(row) for row in rows}
        return Stretch(before=found.get("before"), at=None, after=found.get("after"))

    async def dispositions(self, job: str, first: datetime, last: datetime) -> list[Row]:
        """The rows that account for the job's instants from `first` to `last`, oldest first."""
        return await self._read(
            "dispositions", job=job, scopes=["", self._scope], first=first, last=last, limit=1_000
        )

    async def others_between(self, job: str, start: datetime, until: datetime) -> list[Row]:
        """Runs outside the plan (by hand, at startup, retries) that were asked for in the span."""
        return await self._read("unplanned_runs", job=job, start=start, until=until, limit=20)

    async def next_run(self, job: str, moment: datetime) -> Row | None:
        """The first planned row after the moment that was really handed out."""
        return _first(await self._read("next_planned_run", job=job, at=moment, scopes=["", self._scope]))

    async def actions_on(self, target: str, names: Sequence[str], until: datetime) -> list[Row]:
        """What was done to a job or a run until the moment, newest first; refused attempts are left out."""
        return await self._read("actions_on", target=target, actions=list(names), until=until)

    async def outages(self, since: datetime) -> list[Row]:
        """Starts of daemons and ends of outages since the moment, oldest first."""
        return await self._read("outages_since", since=since)

    async def timeline(
        self, start: datetime, until: datetime, bucket_s: float, *, buckets: int, job: str | None
    ) -> list[Row]:
        """(job, status, first, last, number): so many instants or runs from one bucket to another."""
        return await self._read(
            "timeline", start=start, until=until, bucket_s=bucket_s, buckets=buckets, job=job
        )

    async def accounted(self, job: str) -> Accounted | None:
        """For this node's scope of the job, or the common one."""
        rows = await self._read("audited_schedules", job=job)
        mine = [row for row in rows if row["scope"] in ("", self._scope)]
        if not mine:
            return None
        return Accounted(start=mine[-1]["audited_from"], until=mine[-1]["watermark"])

    async def run(self, run_id: UUID) -> Row | None:
        return _first(await self._read("run", id=run_id))

    async def _read(self, query: str, /, **parameters: Any) -> list[Row]:
        async with (
            self._gateway.reading() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(sql(query), parameters)
            return await cursor.fetchall()


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None


def _revision(row: Row) -> Revision:
    return Revision(
        id=row["id"],
        hash=row["hash"],
        in_force_from=row["in_force_from"],
        node=row["node"],
        text=row["configuration"],
    )
