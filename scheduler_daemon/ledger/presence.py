"""Who is there: nodes and their heartbeats, revisions in force, live runs that somebody left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.ledger.claims import stored
from scheduler_daemon.ledger.outcomes import insert_retries
from scheduler_daemon.ledger.sql import as_rows, sql
from scheduler_daemon.ledger.values import NodeIdentity, Retry, StoredRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    id: UUID
    name: str
    machine_id: str
    boot_id: UUID
    pid: int
    version: str
    revision: str | None
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    id: int
    hash: str
    in_force_from: datetime
    node: UUID
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Why runs are lost, and what follows them. It does not hold for a daemon heard of since `silent_since`:
    a judge that was stopped between looking and judging must not judge by what it saw then.
    """

    reason: str
    message: str
    retries: Sequence[Retry] = ()
    silent_since: datetime | None = None


class Presence:
    """This daemon's own rows, and what it may say of others'. Times are the database's."""

    def __init__(self, gateway: Gateway, node: NodeIdentity, *, offset: Callable[[], timedelta]) -> None:
        self._gateway = gateway
        self._node = node
        self._offset = offset

    async def now(self) -> datetime:
        row = (await self._rows("database_time"))[0]
        moment: datetime = row[0]
        return moment + self._offset()

    async def register(self, revision: str) -> None:
        await self._execute(
            "register_node",
            id=self._node.id,
            name=self._node.name,
            machine_id=self._node.machine_id,
            boot=self._node.boot_id,
            pid=self._node.pid,
            version=self._node.version,
            revision=revision,
            now=await self.now(),
        )

    async def heartbeat(self, revision: str) -> datetime | None:
        """The database's time of this sign of life; None if another daemon has taken this node's row."""
        rows = await self._rows(
            "heartbeat", id=self._node.id, boot=self._node.boot_id, revision=revision, now=await self.now()
        )
        return rows[0][0] if rows else None

    async def stop(self) -> None:
        await self._execute("stop_node", id=self._node.id, boot=self._node.boot_id, now=await self.now())

    async def nodes(self) -> list[Node]:
        names = Node.__dataclass_fields__
        return [Node(**dict(zip(names, row, strict=True))) for row in await self._rows("nodes")]

    async def own_live(self) -> list[StoredRun]:
        return [stored(row) for row in await self._rows("own_live", boot=self._node.boot_id)]

    async def left_behind(self) -> list[StoredRun]:
        """Live runs of earlier daemons of this state directory."""
        rows = await self._rows("orphans_of_node", node=self._node.id, boot=self._node.boot_id)
        return [stored(row) for row in rows]

    async def orphans_of_others(self, silent_since: datetime) -> list[StoredRun]:
        rows = await self._rows("orphans_of_others", node=self._node.id, silent_since=silent_since)
        return [stored(row) for row in rows]

    async def declare_lost(self, runs: Sequence[StoredRun], verdict: Verdict) -> set[UUID]:
        """Compare-and-set on status and claim token; the ids that are `lost` now. Their retries wait."""
        now = await self.now()
        wanted = {
            "rows": as_rows({"id": run.id, "token": run.claim_token} for run in runs),
            "reason": verdict.reason,
            "message": verdict.message,
            "silent_since": verdict.silent_since or now,
            "now": now,
        }
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("declare_lost"), wanted)
            lost = {row[0] for row in await cursor.fetchall()}
            retries = [retry for retry in verdict.retries if UUID(retry.of) in lost]
            await insert_retries(connection, retries, self._node)
        return lost

    async def adopt(self, runs: Sequence[StoredRun]) -> tuple[set[UUID], UUID]:
        """Queued runs become this daemon's; they still wait for what they waited for, or for a worker."""
        token = uuid4()
        rows = await self._rows(
            "adopt_queued",
            ids=[r.id for r in runs],
            node=self._node.id,
            boot=self._node.boot_id,
            token=token,
        )
        return {row[0] for row in rows}, token

    async def request_cancel(self, ids: Iterable[UUID], reason: str) -> None:
        await self._execute("request_cancel", ids=list(ids), reason=reason)

    async def cancels_requested(self) -> list[tuple[UUID, str]]:
        return [(row[0], row[1]) for row in await self._rows("cancels_requested", boot=self._node.boot_id)]

    async def latest_revision(self) -> Revision | None:
        rows = await self._rows("latest_revision")
        return revision_of(rows[0]) if rows else None

    async def revisions(self, limit: int) -> list[Revision]:
        return [revision_of(row) for row in await self._rows("revisions", limit=limit)]

    async def revisions_until(self, until: datetime) -> list[Revision]:
        return [revision_of(row) for row in await self._rows("revisions_until", until=until)]

    async def restored(self) -> bool:
        """Whether this ledger was written on another server or database: restored, or copied.

        A ledger that is new is accepted at once.
        """
        row = (await self._rows("installation"))[0]
        if row[0] is None:
            await self.accept()
            return False
        if (row[0], row[1]) != (row[3], row[4]):
            await self._execute("mark_restored", now=await self.now())
            return True
        return row[2] is not None

    async def accept(self) -> None:
        await self._execute("accept_installation")

    async def _rows(self, query: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql(query), parameters)
            return await cursor.fetchall()

    async def _execute(self, query: str, /, **parameters: Any) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(sql(query), parameters)


def revision_of(row: Sequence[Any]) -> Revision:
    return Revision(id=row[0], hash=row[1], in_force_from=row[2], node=row[3], text=row[4])
