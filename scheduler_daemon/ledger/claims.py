"""The claim: one transaction in which every due occurrence gets its row, or finds that it has one.

1. lock the schedules of all concurrency keys concerned, sorted;
2. in a new statement, which sees what the lock waited for, read what is live under these keys;
3. decide (rules.py), then write rows, spans and watermarks, and commit.
Steps 1 and 2 go as one pipeline, step 3 with its commit as another: two round trips for any number of claims.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple
from uuid import UUID, uuid4

from scheduler_daemon.database.gateway import Connection, Gateway
from scheduler_daemon.errors import OtherRevisionError
from scheduler_daemon.ledger.rules import Arbiter, admit, whose_turn
from scheduler_daemon.ledger.sql import as_plain_rows, as_rows, sql
from scheduler_daemon.ledger.values import (
    Claim,
    Decision,
    LiveRun,
    NewRun,
    NodeIdentity,
    ScheduleState,
    StoredRun,
)
from scheduler_daemon.model import RunKind, RunStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Granted:
    """What a claim wrote. `token` is on every row of it; outcomes must carry it."""

    decision: Decision
    token: UUID
    at: datetime


class _Locked(NamedTuple):
    states: list[ScheduleState]
    live: dict[str, list[LiveRun]]
    now: datetime
    in_force: str | None


class Claims:
    """Claims and everything else that needs their lock. `over()`: ids of runs that have ended here, and whose
    rows are about to say so: they are in nobody's way."""

    def __init__(self, gateway: Gateway, node: NodeIdentity, *, offset: Callable[[], timedelta]) -> None:
        self._gateway = gateway
        self._node = node
        self._offset = offset
        self.revision = ""
        self.over: Callable[[], Container[str]] = tuple

    async def claim(self, claims: Sequence[Claim], capacity: int) -> Granted:
        """Give every entry of every claim its row. Claims whose watermark moved come back as stale.

        Raises DatabaseUnavailableError; the outcome of the transaction is then unknown until the
        watermarks are read again.
        """
        async with self._gateway.connection() as connection:
            locked = await self._lock(connection, {c.concurrency for c in claims})
            return await self._decide(connection, claims, locked, (capacity, self.revision), committing=True)

    async def settle(
        self, connection: Connection, claims: Sequence[Claim], capacity: int, revision: str
    ) -> Granted:
        """The same for what an older `revision` (its hash) had planned; under a lock of all schedules."""
        locked = await self._read(connection, {c.concurrency for c in claims}, sql("all_schedules"))
        return await self._decide(connection, claims, locked, (capacity, revision))

    async def _decide(
        self,
        connection: Connection,
        claims: Sequence[Claim],
        locked: _Locked,
        terms: tuple[int, str],
        *,
        committing: bool = False,
    ) -> Granted:
        capacity, revision = terms
        arbiter = Arbiter(locked.states, locked.live, capacity)
        for claim in claims:
            arbiter.decide(claim)
        token = uuid4()
        await self._write(connection, arbiter.decision, token, (locked.now, revision), committing=committing)
        return Granted(decision=arbiter.decision, token=token, at=locked.now)

    async def add(
        self, run: NewRun, *, concurrent: bool = False, queue: bool = False, capacity: int
    ) -> tuple[UUID, UUID | None]:
        """A run outside the plan (manual, startup, retry) under its key's lock; completes `run`.

        Returns its token and the id of the live run that it collides with, if any; unless `queue`,
        nothing was written then.
        """
        async with self._gateway.connection() as connection:
            # A job that no entry schedules has no row that could be locked.
            await connection.execute(sql("lock_key"), {"key": run.concurrency})
            locked = await self._lock(connection, {run.concurrency})
            others = () if concurrent else locked.live.get(run.concurrency, ())
            blocker = admit(run, others, queue=queue, capacity=capacity)
            if not run.status.live:
                return UUID(int=0), blocker
            token = uuid4()
            await self._write(connection, Decision(inserts=[run]), token, (locked.now, self.revision))
        return token, blocker

    async def start_next(
        self,
        keys: Iterable[str],
        concurrent: Callable[[str], bool],
        eligible: Callable[[str, str], bool],
    ) -> list[tuple[StoredRun, UUID]]:
        """Start what waits under these keys and whose turn it is; at most one run a key and scope.

        `concurrent(job)`: the job's runs may overlap; `eligible(job, scope)`: this node may run it.
        """
        wanted = sorted(set(keys))
        if not wanted:
            return []
        async with self._gateway.connection() as connection:
            _, live, now, _ = await self._lock(connection, set(wanted))
            cursor = await connection.execute(
                sql("next_waiting"), {"keys": wanted, "now": now, "node": self._node.id}
            )
            waiting = [run for run in map(stored, await cursor.fetchall()) if eligible(run.job, run.scope)]
            chosen = whose_turn(waiting, live, concurrent)
            token = uuid4()
            started = await self._start(connection, [run.id for run in chosen], token)
        return [(run, token) for run in chosen if run.id in started]

    async def keys_waiting(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys under which something still waits, for its turn or for its time."""
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("keys_waiting"), {"keys": sorted(keys)})
            return {row[0] for row in await cursor.fetchall()}

    async def start_granted(self, ids: Sequence[UUID]) -> tuple[set[UUID], UUID]:
        """Compare-and-set for runs that only waited for a worker; the ids that are now running."""
        token = uuid4()
        async with self._gateway.connection() as connection:
            return await self._start(connection, list(ids), token), token

    async def end_queued(self, ids: Sequence[UUID], *, reason: str, message: str) -> dict[UUID, str]:
        """Those that were still queued, with their concurrency keys."""
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(
                sql("end_queued"),
                {"ids": list(ids), "reason": reason, "message": message, "now": await self.now(connection)},
            )
            return {row[0]: row[1] for row in await cursor.fetchall()}

    async def now(self, connection: Connection) -> datetime:
        """The time that nodes share: the database's."""
        cursor = await connection.execute(sql("database_time"))
        row = await cursor.fetchone()
        assert row is not None
        moment: datetime = row[0]
        return moment + self._offset()

    async def _start(self, connection: Connection, ids: list[UUID], token: UUID) -> set[UUID]:
        cursor = await connection.execute(
            sql("start_waiting"),
            {"ids": ids, "token": token, "node": self._node.id, "boot": self._node.boot_id},
        )
        return {row[0] for row in await cursor.fetchall()}

    async def _lock(self, connection: Connection, keys: set[str]) -> _Locked:
        """Raises OtherRevisionError if this node's revision is not the one in force."""
        locked = await self._read(connection, keys, sql("lock_schedules"))
        if locked.in_force is not None and locked.in_force != self.revision:
            raise OtherRevisionError(locked.in_force)
        return locked

    async def _read(self, connection: Connection, keys: set[str], schedules: LiteralString) -> _Locked:
        async with connection.pipeline():
            lock, read = connection.cursor(), connection.cursor()
            wanted = sorted(keys)
            await lock.execute(schedules, {"keys": wanted})
            await read.execute(sql("live_runs"), {"keys": wanted})
        states = [ScheduleState._make(row) for row in await lock.fetchall()]
        found = await read.fetchall()
        live: dict[str, list[LiveRun]] = {}
        over = self.over()
        for _, _, key, run_id, job, kind, status, waiting, scope in found:
            if run_id is not None and str(run_id) not in over:
                run = LiveRun(run_id, job, RunKind(kind), RunStatus(status), waiting=waiting, scope=scope)
                live.setdefault(key, []).append(run)
        now, in_force = found[0][:2]
        return _Locked(states, live, now + self._offset(), in_force)

    async def _write(
        self,
        connection: Connection,
        decision: Decision,
        token: UUID,
        at: tuple[datetime, str],
        *,
        committing: bool = False,
    ) -> None:
        """`at`: when, and under which revision. `committing`: in the same round trip."""
        now, revision = at
        async with connection.pipeline():
            inserted = connection.cursor()
            if decision.inserts:
                await inserted.execute(
                    sql("insert_runs"), self._inserts(decision.inserts, token, now, revision)
                )
            if decision.extensions:
                spans = [{"id": s.run, "last": s.last, "instants": s.count} for s in decision.extensions]
                await connection.execute(sql("extend_spans"), {"rows": as_rows(spans), "now": now})
            if decision.watermarks:
                marks = as_plain_rows(map(_mark, decision.watermarks))
                await connection.execute(sql("move_watermarks"), {"rows": marks})
            if committing:
                await connection.commit()
        if decision.inserts and inserted.rowcount < len(decision.inserts):
            there = {row[0] for row in await inserted.fetchall()}
            decision.inserts = [run for run in decision.inserts if run.id in there]

    def _inserts(self, runs: Sequence[NewRun], token: UUID, now: datetime, revision: str) -> dict[str, Any]:
        return {
            "now": now,
            "node": self._node.id,
            "boot": self._node.boot_id,
            "token": token,
            "revision": revision,
            "rows": _rows(runs),
        }


def _rows(runs: Sequence[NewRun]) -> str:
    careful = any(run.parameters is not None for run in runs)
    return (as_rows if careful else as_plain_rows)(map(_row, runs))


def _row(run: NewRun) -> dict[str, Any]:
    """What differs from the usual, which the statement knows: this is the widest row of the busiest one."""
    row: dict[str, Any] = {"id": run.id, "job": run.job}
    if run.first is not None:
        row["first"] = run.first
        if run.last is not run.first:
            row["last"] = run.last
        if not run.planned:
            row["planned"] = False
    if run.concurrency != run.job:
        row["concurrency"] = run.concurrency
    for name, usual in _USUAL:
        value = getattr(run, name)
        if value != usual:
            row[_COLUMNS.get(name, name)] = value
    return row


_USUAL = (
    ("scope", ""),
    ("kind", RunKind.CRON),
    ("status", RunStatus.RUNNING),
    ("count", 1),
    ("attempt", 1),
    ("reason", None),
    ("waiting", None),
    ("not_before", None),
    ("parameters", None),
    ("actor", None),
    ("first_run", None),
    ("blocked_by", None),
    ("message", None),
)
_COLUMNS = {"count": "instants"}


def _mark(mark: tuple[str, str, datetime, UUID | None, str | None]) -> dict[str, Any]:
    job, scope, watermark, span_run, span_key = mark
    row: dict[str, Any] = {"job": job, "watermark": watermark}
    if scope:
        row["scope"] = scope
    if span_run is not None:
        row["span_run"], row["span_key"] = span_run, span_key
    return row


def stored(row: Sequence[Any]) -> StoredRun:
    """A row of the column list that all the queries of live runs share."""
    return StoredRun(
        id=row[0],
        job=row[1],
        scope=row[2],
        kind=RunKind(row[3]),
        status=RunStatus(row[4]),
        concurrency=row[5],
        waiting=row[6],
        scheduled_for=row[7],
        not_before=row[8],
        parameters=row[9],
        attempt=row[10],
        first_run=row[11],
        node=row[12],
        boot_id=row[13],
        claim_token=row[14],
    )
