"""Remove (or change) many rows of a live table, in small steps that nobody has to wait for.

Few candidates are looked up at once, by whatever index serves, and worked off by their places. Many are met
in one walk over the table's pages, front to back: each row is read once, whatever was removed before it.
Where evidence has no index, the walk is made in long strides, each of which reads that table once. Where a
foreign key has none, each removed row reads a table from end to end, in whatever order: batches start small.

An interrupted sweep has removed whole batches only, and the next one finds the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString

from psycopg import AsyncConnection

from scheduler_core.batch import Batches, Tally, adapted
from scheduler_core.parameters import Pace
from scheduler_core.settings import configured
from scheduler_core.target import Pages, Places, Target
from scheduler_daemon.extension import JobContext

FEW = 10_000
"""Candidates that are looked up at once; from so many on it takes a walk."""
STRIDES = 16
"""In how many strides a table is walked over where evidence is read whole."""
MOST_STRIDE = 65_536
"""Pages (512 MB)."""
FIRST_PAGES, MOST_PAGES = 8, 512
"""Of a batch, in a walk."""
REPORT_S = 0.1
"""Progress is told no more often."""
FIND: Mapping[str, str] = {
    "default_transaction_isolation": "read committed",
    "enable_hashjoin": "on",
    "enable_mergejoin": "on",
    "lock_timeout": "5s",
    "statement_timeout": "0",
    "work_mem": "64MB",
}
SIZE: LiteralString = "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::integer"


@dataclass(slots=True)
class Swept:
    """What became of the candidates: `removed`, or `left` to the next run, since others held on to them.

    `dependents`: what → how many went with them, where an index counts them.
    `braked`: there may be more than `max_rows`.
    Without `enforce` nothing is removed: `candidates` and `dependents` are what would have been.
    """

    candidates: int = 0
    removed: int = 0
    left: int = 0
    batches: int = 0
    braked: bool = False
    dependents: dict[str, int] = field(default_factory=dict)

    def __iadd__(self, other: Swept) -> Swept:
        self.candidates += other.candidates
        self.removed += other.removed
        self.left += other.left
        self.batches += other.batches
        self.braked |= other.braked
        for what, number in other.dependents.items():
            self.dependents[what] = self.dependents.get(what, 0) + number
        return self


class Sweep:
    """One sweep over one target. `note` is what progress is reported as: "anonymous users removed"."""

    def __init__(
        self, ctx: JobContext, connection: AsyncConnection[Any], target: Target, pace: Pace, *, note: str
    ) -> None:
        self._ctx = ctx
        self._connection = connection
        if pace.enforce:
            target = replace(target, dependents=tuple(d for d in target.dependents if d.quick))
        self._target = target
        self._pace = pace
        self._note = note
        self._tally = Tally()
        self._batches = Batches(
            connection, target, self._tally, rows=pace.batch_size, pause=pace.pause_percent / 100
        )
        self._rows = 1 if target.heavy else pace.batch_size
        self._braked = False
        self._reported = -REPORT_S

    async def run(self) -> Swept:
        """Remove them; without `enforce`, count them."""
        if not self._pace.enforce:
            return await self._count()
        places = await self._find(None, FEW)
        async with configured(self._connection, self._batches.settings()):
            if len(places) < FEW:
                await self._list(places)
            elif self._target.quick and not self._target.heavy:
                await self._walk(await self._size())
            else:
                await self._stride(await self._size())
        return self._swept()

    async def _count(self) -> Swept:
        query = self._target.count(self._pace.max_rows)
        async with configured(self._connection, FIND):
            cursor = await self._connection.execute(query, self._target.parameters)
            row = await cursor.fetchone()
        assert row is not None
        hanging = {d.what: number for d, number in zip(self._target.dependents, row[1:], strict=True)}
        return Swept(candidates=row[0], braked=row[0] == self._pace.max_rows, dependents=hanging)

    async def _find(self, piece: Pages | None, most: int | None) -> list[str]:
        """The places of candidates, and whether the brake cuts them short."""
        allowed = self._allowed()
        limit = min((number for number in (most, allowed) if number is not None), default=None)
        parameters = {**self._target.parameters, **(piece.parameters if piece else {})}
        async with configured(self._connection, FIND):
            cursor = await self._connection.execute(self._target.find(piece, limit), parameters)
            places = [place for (place,) in await cursor.fetchall()]
        self._braked |= len(places) == allowed
        return places

    def _allowed(self) -> int | None:
        return None if self._pace.max_rows is None else self._pace.max_rows - self._tally.removed

    async def _list(self, places: Sequence[str]) -> None:
        """Candidates by their places."""
        first = 0
        while first < len(places):
            batch = tuple(places[first : first + self._rows])
            took_s = await self._batches.work_off(Places(batch))
            self._rows = adapted(self._rows, took_s, removed=0, rows=0, most=self._pace.batch_size)
            first += len(batch)
            self._report(self._tally.removed, max(len(places), self._tally.removed))

    async def _walk(self, total: int) -> None:
        """All pages, a few at a time: as many as hold a batch."""
        first, stride = 0, max(1, min(FIRST_PAGES, self._pace.batch_size // 100))
        while first < total:
            allowed = self._allowed()
            if allowed is not None and allowed < 2 * self._pace.batch_size:
                await self._list(await self._find(Pages(first, total), None))
                return
            piece = Pages(first, min(first + stride, total))
            before = self._tally.removed
            took_s = await self._batches.work_off(piece)
            removed = self._tally.removed - before
            stride = adapted(stride, took_s, removed=removed, rows=self._pace.batch_size, most=MOST_PAGES)
            first = piece.end
            self._report(first, total, f"{self._tally.removed:,} ")

    async def _stride(self, total: int) -> None:
        """All pages in long strides, for each of which all the evidence is considered before its batches."""
        length = max(1, min(-(-total // STRIDES), MOST_STRIDE))
        for first in range(0, total, length):
            await self._list(await self._find(Pages(first, first + length), None))
            if self._braked:
                return

    async def _size(self) -> int:
        """In pages."""
        name = self._target.table.identifier.as_string(self._connection)
        cursor = await self._connection.execute(SIZE, [name])
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    def _report(self, done: int, total: int, prefix: str = "") -> None:
        now = time.monotonic()
        if done == total or now - self._reported >= REPORT_S:
            self._ctx.progress(done, total, prefix + self._note)
            self._reported = now
        if self._ctx.cancelled:
            raise asyncio.CancelledError

    def _swept(self) -> Swept:
        tally = self._tally
        return Swept(
            candidates=tally.removed + tally.left,
            removed=tally.removed,
            left=tally.left,
            batches=tally.batches,
            braked=self._braked,
            dependents=tally.dependents,
        )
