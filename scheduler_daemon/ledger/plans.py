"""Where each job stands: its row in scheduler.schedules; and the revision that plans from now on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from uuid import UUID

from scheduler_daemon.database.gateway import Connection, Gateway
from scheduler_daemon.ledger.presence import Revision, revision_of
from scheduler_daemon.ledger.sql import as_rows, sql
from scheduler_daemon.model import JobSpec

Marks = Mapping[tuple[str, str], datetime]


class Plans:
    """`scope_of` tells a job's scope: empty, or the node's id for jobs that run on every node."""

    def __init__(self, gateway: Gateway, node_id: UUID, scope_of: Callable[[JobSpec], str]) -> None:
        self._gateway = gateway
        self._node_id = node_id
        self._scope_of = scope_of

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        return self._gateway.connection()

    async def lock_all(self, connection: Connection) -> Marks:
        """Every schedule's watermark, under lock: nobody claims until this transaction ends, and no other
        node puts a revision in force.
        """
        await connection.execute(sql("lock_revisions"))
        cursor = await connection.execute(sql("lock_all_schedules"))
        return {(row[0], row[1]): row[2] for row in await cursor.fetchall()}

    async def latest_revision(self, connection: Connection) -> Revision | None:
        """What is in force; under the lock of `lock_all`, it stays so."""
        cursor = await connection.execute(sql("latest_revision"))
        row = await cursor.fetchone()
        return revision_of(row) if row else None

    async def revisions_since(self, connection: Connection, moment: datetime) -> list[Revision]:
        """Oldest first, from the one that was in force at that moment."""
        cursor = await connection.execute(sql("revisions_since"), {"since": moment})
        return [revision_of(row) for row in await cursor.fetchall()]

    async def enter(self, connection: Connection, specs: Sequence[JobSpec], now: datetime) -> None:
        """Every job has its row; those that were in no plan before are accounted for from `now` on."""
        rows = (
            {"job": spec.name, "scope": self._scope_of(spec), "concurrency": spec.concurrency_key}
            for spec in specs
        )
        await connection.execute(sql("register_schedules"), {"rows": as_rows(rows), "now": now})

    async def advance(self, connection: Connection, marks: Marks, *, anew: bool) -> None:
        """What was planned until then is settled; with `anew`, nothing was planned until then."""
        if marks:
            rows = ({"job": job, "scope": scope, "watermark": at} for (job, scope), at in marks.items())
            await connection.execute(sql("advance_watermarks"), {"rows": as_rows(rows), "anew": anew})

    async def put_in_force(self, connection: Connection, revision: tuple[str, str], now: datetime) -> None:
        """`revision` is (hash, text)."""
        await connection.execute(
            sql("insert_revision"),
            {"hash": revision[0], "configuration": revision[1], "now": now, "node": self._node_id},
        )

    async def clear_watermark(self, job: str, now: datetime) -> datetime | None:
        """An operator's remedy for a watermark in the future; what it was, or None if it was not."""
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("clear_watermark"), {"job": job, "now": now})
            row = await cursor.fetchone()
            if row is None:
                return None
            await connection.execute(sql("unplan"), {"job": job, "now": now})
            before: datetime = row[0]
            return before
