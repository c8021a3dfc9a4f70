"""Remove (or change) many rows of a live table, in small steps that nobody has to wait for.

1. Find: one query writes down the candidates' places (ctid) in a held cursor. It locks no row and, once done,
   keeps no snapshot.
2. Batch: one short transaction locks those that nobody else has locked and that still fulfil the condition;
   looks again for evidence against removal, with a new snapshot (whoever refers to a locked row now has to
   wait, and whoever did before is seen); removes what hangs on them, then them.
3. A batch that meets a lock or takes too long is undone and cut in two; a single row that stays locked is
   left for the next run. After each batch the job rests for a share of the time that it took.

An interrupted run has removed whole batches only, and the next one finds the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection, errors, sql

from scheduler_core.parameters import Pace
from scheduler_core.settings import configure, current
from scheduler_core.target import Evidence, Target
from scheduler_daemon.extension import JobContext

HOLD_S = 0.025
"""What a batch should take at most: after a longer one the next is smaller."""
LIMIT_S = 0.05
"""What one statement of a batch may take before the batch is undone and cut in two."""
LIMIT = f"{LIMIT_S * 1000:.0f}ms"
CHUNK = 20
"""Batches whose candidates are fetched, and checked against evidence without an index, together."""
FIND: Mapping[str, str] = {"work_mem": "64MB", "lock_timeout": "5s"}


@dataclass(slots=True)
class Swept:
    """What became of the candidates: `removed`, or left, since locked or no longer as the condition wants.

    `dependents`: what → how many went with them. `braked`: there may be more than `max_rows`.
    Without `enforce` nothing is removed and the counts are what would have been.
    """

    candidates: int = 0
    removed: int = 0
    batches: int = 0
    braked: bool = False
    enforced: bool = True
    dependents: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.candidates - self.removed if self.enforced else 0

    def __iadd__(self, other: Swept) -> Swept:
        self.candidates += other.candidates
        self.removed += other.removed
        self.batches += other.batches
        self.braked |= other.braked
        self.enforced &= other.enforced
        for what, number in other.dependents.items():
            self.dependents[what] = self.dependents.get(what, 0) + number
        return self


class Sweep:
    """One sweep over one target. `note` is what progress is reported as: "anonymous users"."""

    def __init__(
        self, ctx: JobContext, connection: AsyncConnection[Any], target: Target, pace: Pace, *, note: str
    ) -> None:
        self._ctx = ctx
        self._connection = connection
        self._target = target
        self._pace = pace
        self._note = note
        self._size = pace.batch_size
        self._swept = Swept()

    async def run(self) -> Swept:
        """Remove them; without `enforce`, count them."""
        if not self._pace.enforce:
            return await self._count()
        patience = (await current(self._connection, ["statement_timeout"]))["statement_timeout"]
        try:
            await self._find()
            await self._limit(LIMIT)
            async for chunk in self._chunks():
                await self._work_off(chunk)
        finally:
            if not self._connection.closed:
                await self._limit(patience)
                await self._connection.execute("CLOSE ALL")
        return self._swept

    async def _count(self) -> Swept:
        async with self._connection.transaction():
            await configure(self._connection, FIND, local=True)
            query = self._target.count(self._pace.max_rows)
            cursor = await self._connection.execute(query, self._target.parameters, prepare=False)
            row = await cursor.fetchone()
        assert row is not None
        hanging = {d.what: number for d, number in zip(self._target.dependents, row[1:], strict=True)}
        braked = row[0] == self._pace.max_rows
        return Swept(candidates=row[0], braked=braked, enforced=False, dependents=hanging)

    async def _find(self) -> None:
        query = sql.SQL("DECLARE candidates SCROLL CURSOR WITH HOLD FOR {}").format(
            self._target.candidates(self._pace.max_rows)
        )
        async with self._connection.transaction():
            await configure(self._connection, FIND, local=True)
            await self._connection.execute(query, self._target.parameters)
        cursor = await self._connection.execute("MOVE FORWARD ALL IN candidates")
        self._swept.candidates = cursor.rowcount
        self._swept.braked = cursor.rowcount == self._pace.max_rows
        await self._connection.execute("MOVE ABSOLUTE 0 IN candidates")

    async def _chunks(self) -> AsyncIterator[list[str]]:
        """The candidates' places, some batches at a time, without those that slow evidence speaks for."""
        fetch = sql.SQL("FETCH FORWARD {} FROM candidates").format(self._pace.batch_size * CHUNK)
        slow = [evidence for evidence in self._target.evidence if not evidence.quick]
        while rows := await (await self._connection.execute(fetch)).fetchall():
            kept = await self._kept(slow, [key for _, key in rows])
            yield [place for place, key in rows if key not in kept]

    async def _work_off(self, places: Sequence[str]) -> None:
        todo = [list(places)]
        while todo:
            rest = todo.pop()
            batch, rest = rest[: self._size], rest[self._size :]
            if rest:
                todo.append(rest)
            if batch and not await self._attempt(batch):
                middle = len(batch) // 2
                todo += [batch[middle:], batch[:middle]]
            if self._ctx.cancelled:
                raise asyncio.CancelledError

    async def _attempt(self, batch: list[str]) -> bool:
        """One batch; False: it was undone, cut it."""
        began = time.monotonic()
        try:
            await self._batch(batch)
        except (errors.LockNotAvailable, errors.DeadlockDetected, errors.ForeignKeyViolation):
            return len(batch) == 1
        except errors.QueryCanceled:
            if time.monotonic() - began < LIMIT_S:
                raise
            self._size = max(1, len(batch) // 2)
            if len(batch) > 1:
                return False
            await self._take_apart(batch)
        await self._rest(time.monotonic() - began)
        return True

    async def _batch(self, places: list[str]) -> None:
        if self._target.alone:
            self._account(await self._execute(self._target.removal(), places=places), {})
            return
        async with self._connection.transaction():
            doomed = await self._lock(places)
            hanging = {
                dependent.what: await self._execute(dependent.removal(), keys=list(doomed))
                for dependent in self._target.dependents
            }
            removed = await self._execute(self._target.removal(), places=list(doomed.values()))
        self._account(removed, hanging)

    async def _take_apart(self, places: list[str]) -> None:
        """One row that so much hangs on that it takes longer than we may: that goes first, in batches."""
        await self._limit("0")
        for dependent in self._target.dependents:
            wanted = hanging = 0
            while hanging == wanted:
                began, wanted = time.monotonic(), self._size
                async with self._connection.transaction():
                    doomed = await self._lock(places)
                    hanging = await self._execute(dependent.removal(wanted), keys=list(doomed))
                self._account(0, {dependent.what: hanging})
                await self._rest(time.monotonic() - began)
        await self._batch(places)
        await self._limit(LIMIT)

    async def _lock(self, places: list[str]) -> dict[Any, str]:
        """Lock those that are still to go: key → place."""
        parameters = {**self._target.parameters, "places": places}
        cursor = await self._connection.execute(self._target.lock(), parameters)
        locked = {key: place for place, key in await cursor.fetchall()}
        kept = await self._kept([e for e in self._target.evidence if e.quick], list(locked))
        return {key: place for key, place in locked.items() if key not in kept}

    async def _kept(self, evidence: Sequence[Evidence], keys: list[Any]) -> set[Any]:
        """Those of the keys that the evidence speaks for."""
        if not evidence or not keys:
            return set()
        query = sql.SQL(" UNION ALL ").join([e.of() for e in evidence])
        cursor = await self._connection.execute(query, {**self._target.parameters, "keys": keys})
        return {key for (key,) in await cursor.fetchall()}

    async def _execute(self, query: sql.Composed, **parameters: Any) -> int:
        cursor = await self._connection.execute(query, {**self._target.parameters, **parameters})
        return cursor.rowcount

    async def _limit(self, patience: str) -> None:
        await configure(self._connection, {"statement_timeout": patience})

    def _account(self, removed: int, hanging: Mapping[str, int]) -> None:
        swept = self._swept
        swept.removed += removed
        swept.batches += 1
        for what, number in hanging.items():
            swept.dependents[what] = swept.dependents.get(what, 0) + number
        self._ctx.progress(swept.removed, swept.candidates, self._note)

    async def _rest(self, took_s: float) -> None:
        if took_s > HOLD_S:
            self._size = max(1, int(self._size * HOLD_S / took_s))
        elif took_s < HOLD_S / 2:
            self._size = min(self._pace.batch_size, self._size * 2)
        await asyncio.sleep(took_s * self._pace.pause_percent / 100)
