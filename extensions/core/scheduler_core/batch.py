"""Batches: transactions of one statement each that give way to the application.

The isolation level is repeatable read: a row that somebody changed meanwhile, or that something new refers to
by a foreign key that the removal would follow, makes the batch fail; it is tried again with a new snapshot.
So no row goes of which the condition is not true when it goes, although none is locked beforehand. (READ
COMMITTED would let the removal cascade to a row that was not there when the condition was looked at.)

A batch that waits too long for a row passes by the locked ones; one that takes too long is undone and cut in
two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from psycopg import AsyncConnection, errors

from scheduler_core.schema import Reference
from scheduler_core.settings import configured
from scheduler_core.target import Pages, Piece, Places, Target

HOLD_S = 0.01
"""What a batch should take at most: after a longer one the next is smaller."""
LIMIT_S = 0.08
"""What a batch may take before it is undone and cut in two."""
ATTEMPTS = 3
"""How often a batch is tried that the application keeps from its end, before it is cut in two."""
GIVE_WAY = (errors.LockNotAvailable, errors.SerializationFailure, errors.DeadlockDetected)
SHORTEST_REST_S = 0.005
FIRST_DETACHED = 100
"""Rows."""


class Verdict(Enum):
    DONE = auto()
    HELD = auto()
    """Somebody holds on to a row of it."""
    SLOW = auto()


@dataclass(slots=True)
class Tally:
    """Rows removed (or changed), or left since others held on to them; dependents that went along."""

    removed: int = 0
    left: int = 0
    batches: int = 0
    dependents: dict[str, int] = field(default_factory=dict)

    def add(self, removed: int, dependents: Mapping[str, int]) -> None:
        self.removed += removed
        self.batches += removed > 0 or any(dependents.values())
        for what, number in dependents.items():
            self.dependents[what] = self.dependents.get(what, 0) + number


class Batches:
    """Works off pieces of one target on one connection, resting `pause` times as long as it worked."""

    def __init__(
        self, connection: AsyncConnection[Any], target: Target, tally: Tally, *, rows: int, pause: float
    ) -> None:
        self._connection = connection
        self._target = target
        self._tally = tally
        self._rows = rows
        self._pause = pause
        self._owed_s = 0.0
        self._statements: dict[tuple[type[Piece], bool], bytes] = {}

    def settings(self) -> Mapping[str, str]:
        """What the connection has to be set to meanwhile."""
        by_row = all(evidence.indexed for evidence in self._target.evidence)
        joins = {"enable_hashjoin": "off", "enable_mergejoin": "off"} if by_row else {}
        return {
            "default_transaction_isolation": "repeatable read",
            "lock_timeout": "20ms",
            "statement_timeout": f"{LIMIT_S * 1000:.0f}ms",
            **joins,  # no plan that reads all the evidence for a few rows
        }

    async def work_off(self, piece: Piece) -> float:
        """All of a piece, in as many batches as it takes; how long the work took in seconds."""
        todo, worked_s = [piece], 0.0
        while todo:
            began = time.monotonic()
            part = todo.pop()
            verdict = await self._attempt(part)
            if verdict is not Verdict.DONE:
                todo += reversed(await self._cut(part, verdict))
            took_s = time.monotonic() - began
            worked_s += took_s
            await self._rest(took_s)
        return worked_s

    async def _attempt(self, piece: Piece) -> Verdict:
        skip_locked = False
        for _ in range(ATTEMPTS):
            began = time.monotonic()
            try:
                await self._remove(piece, skip_locked=skip_locked)
            except GIVE_WAY as exc:
                skip_locked |= isinstance(exc, errors.LockNotAvailable)
            except errors.ForeignKeyViolation:
                return Verdict.HELD
            except errors.QueryCanceled:
                if time.monotonic() - began < LIMIT_S:
                    raise  # not by our limit
                return Verdict.SLOW
            else:
                return Verdict.DONE
        return Verdict.HELD

    async def _remove(self, piece: Piece, *, skip_locked: bool = False) -> None:
        statement = self._statement(type(piece), skip_locked)
        # Planned for each batch anew: a prepared plan would not know that it is for a few pages.
        cursor = await self._connection.execute(statement, self._parameters(piece), prepare=False)
        if self._target.dependents:
            row = await cursor.fetchone()
            assert row is not None
            removed, *numbers = row
        else:
            removed, numbers = cursor.rowcount, []
        whats = [dependent.what for dependent in self._target.dependents]
        self._tally.add(removed, dict(zip(whats, numbers, strict=True)))
        if skip_locked:
            self._tally.left += len(await self._places(piece))

    async def _cut(self, piece: Piece, verdict: Verdict) -> list[Piece]:
        """Two halves, or what to do about a row of its own: leave it, or take it apart."""
        if isinstance(piece, Pages) and piece.end - piece.first > 1:
            middle = (piece.first + piece.end) // 2
            return [Pages(piece.first, middle), Pages(middle, piece.end)]
        places = await self._places(piece)
        if len(places) > 1:
            middle = len(places) // 2
            return [Places(places[:middle]), Places(places[middle:])]
        if places and verdict is Verdict.SLOW:
            await self._take_apart(Places(places))
        else:
            self._tally.left += len(places)
        return []

    async def _take_apart(self, row: Places) -> None:
        """One row that so much refers to that it takes longer than we may: that goes first, in batches."""
        async with configured(self._connection, {"statement_timeout": "0"}):
            try:
                for reference in self._target.references:
                    if reference.detachable:
                        await self._detach(reference, row)
                done = await self._attempt(row) is Verdict.DONE
            except GIVE_WAY:
                done = False
        if not done:
            self._tally.left += len(await self._places(row))

    async def _detach(self, reference: Reference, row: Places) -> None:
        counted = {dependent.table.name: dependent.what for dependent in self._target.dependents}
        what = counted.get(reference.table)
        limit = min(FIRST_DETACHED, self._rows)
        while True:
            began = time.monotonic()
            statement = self._target.detach(reference, row, limit)
            number = (await self._connection.execute(statement, self._parameters(row))).rowcount
            self._tally.add(0, {what: number} if what else {})
            took_s = time.monotonic() - began
            await self._rest(took_s)
            if number < limit:
                return
            limit = adapted(limit, took_s, removed=number, rows=self._rows, most=self._rows)

    async def _places(self, piece: Piece) -> tuple[str, ...]:
        """Where the candidates of a piece are now."""
        async with configured(self._connection, {"statement_timeout": "0"}):
            cursor = await self._connection.execute(self._target.find(piece, None), self._parameters(piece))
            return tuple([place for (place,) in await cursor.fetchall()])

    def _statement(self, kind: type[Piece], skip_locked: bool) -> bytes:
        """The removal's text, put together once for all batches."""
        known = self._statements.get((kind, skip_locked))
        if known is None:
            removal = self._target.removal(kind.where, skip_locked=skip_locked)
            known = self._statements[kind, skip_locked] = removal.as_bytes(self._connection)
        return known

    async def _rest(self, took_s: float) -> None:
        """Short rests are saved up: a timer has a millisecond's resolution."""
        self._owed_s += took_s * self._pause
        if self._owed_s >= SHORTEST_REST_S:
            await asyncio.sleep(self._owed_s)
            self._owed_s = 0.0

    def _parameters(self, piece: Piece) -> dict[str, Any]:
        return {**self._target.parameters, **piece.parameters}


def adapted(stride: int, took_s: float, *, removed: int, rows: int, most: int) -> int:
    """The length of the next batch, in pages or rows, after one of `stride` that took `took_s` for `removed`.

    At most `rows` should go in one, and at most HOLD_S seconds.
    """
    length = float(stride)
    if took_s > HOLD_S:
        length *= HOLD_S / took_s
    elif took_s < HOLD_S / 2:
        length *= 2
    if removed:
        length = min(length, stride * rows / removed)
    return max(1, min(int(length), most))
