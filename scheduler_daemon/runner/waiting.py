"""Runs that have a row and wait: for a worker, for another run to end, or for their time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from scheduler_daemon.ledger.claims import Claims
from scheduler_daemon.ledger.values import StoredRun
from scheduler_daemon.model import Overlap
from scheduler_daemon.runner.book import Book
from scheduler_daemon.runner.orders import RunOrder
from scheduler_daemon.runner.pool import Pool


class Waiting:
    """`ready` wait only for a worker; under `keys` something waits for its turn or its time."""

    def __init__(self, claims: Claims, pool: Pool, wake: Callable[[], None]) -> None:
        self.ready: dict[UUID, RunOrder] = {}
        self.keys: set[str] = set()
        self._claims = claims
        self._pool = pool
        self._wake = wake
        self._due: set[str] = set()

    def __len__(self) -> int:
        return len(self.ready) + len(self.keys)

    def add(self, key: str) -> None:
        """Something under this key waits; look after it."""
        self.keys.add(key)
        self._due.add(key)
        self._wake()

    def freed(self, key: str) -> None:
        """A run under this key has ended: what waits for it may start."""
        if key in self.keys:
            self._due.add(key)
            self._wake()

    def look_at_all(self) -> None:
        """Runs on other nodes end without a word."""
        if self.keys:
            self._due |= self.keys
            self._wake()

    def room(self) -> None:
        """A worker has room."""
        if self.ready and self._pool.thirsty:
            self._wake()

    def drop(self, run_id: UUID) -> None:
        self.ready.pop(run_id, None)

    async def start_ready(self) -> bool:
        """From queued to running by compare-and-set, before they are sent; as far as there is room."""
        room = self._pool.capacity
        if not self.ready or room <= 0:
            return False
        chosen = dict(list(self.ready.items())[:room])
        started, token = await self._claims.start_granted(list(chosen))
        for run_id in chosen:
            self.drop(run_id)
        self._pool.submit(replace(chosen[i], token=str(token)) for i in chosen if i in started)
        return True

    async def start_next(
        self,
        book: Book,
        scope: str,
        order: Callable[[StoredRun, str], RunOrder | None],
    ) -> bool:
        """Start what waits under the keys that were freed and whose turn it is."""
        due, self._due = self._due, set()
        if not due:
            return False
        try:
            started = await self._claims.start_next(
                due,
                lambda job: _concurrent(book, job),
                lambda job, its_scope: its_scope in ("", scope) and book.spec(job) is not None,
            )
            self._submit([order(run, str(token)) for run, token in started])
            left = await self._claims.keys_waiting(due)
        except BaseException:
            self._due |= due
            raise
        self.keys = (self.keys - due) | left
        return bool(started)

    def _submit(self, orders: Sequence[RunOrder | None]) -> None:
        self._pool.submit(order for order in orders if order is not None)


def _concurrent(book: Book, job: str) -> bool:
    spec = book.spec(job)
    return spec is not None and spec.overlap is Overlap.ALLOW
