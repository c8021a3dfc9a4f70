"""A turn with more due than one claim takes: what fails of it is tried again, what does not is done once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from scheduler_daemon.clock import Clock
from scheduler_daemon.errors import DatabaseUnavailableError
from scheduler_daemon.ledger.claims import Claims, Granted
from scheduler_daemon.ledger.values import Claim, Decision
from scheduler_daemon.model import JobSpec
from scheduler_daemon.runner.book import Book, PlannedJob, timetable
from scheduler_daemon.runner.dispatcher import CLAIM_AT_ONCE, Dispatcher
from scheduler_daemon.runner.pool import Pool

JOBS = 3 * CLAIM_AT_ONCE


class Ledger:
    """Grants everything, but fails at the claims whose numbers are in `failing`."""

    def __init__(self, *failing: int) -> None:
        self.failing = set(failing)
        self.asked = 0
        self.done: list[str] = []

    async def claim(self, claims: Sequence[Claim], capacity: int) -> Granted:
        assert 0 < len(claims) <= CLAIM_AT_ONCE <= capacity
        self.asked += 1
        if self.asked in self.failing:
            raise DatabaseUnavailableError("database away: a test")
        self.done += [claim.job for claim in claims]
        marks = [(claim.job, claim.scope, claim.until, None, None) for claim in claims]
        return Granted(decision=Decision(watermarks=marks), token=uuid4(), at=datetime.now(UTC))


class Room:
    """In place of the pool: there is always room."""

    capacity = 10 * JOBS

    @contextlib.contextmanager
    def expecting(self, runs: int) -> Iterator[int]:
        assert runs
        yield self.capacity

    def submit(self, orders: Any) -> None:
        assert list(orders) == []


def dispatcher_for(ledger: Ledger) -> Dispatcher:
    specs = [JobSpec(name=f"job{n:05}", extension="x", job="x", schedule="* * * * * *") for n in range(JOBS)]
    before = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    jobs = {s.name: PlannedJob(spec=s, table=timetable(s), watermark=before) for s in specs}
    made = Dispatcher(
        claims=cast("Claims", ledger),
        book=Book(jobs=jobs),
        pool=cast("Pool", Room()),
        clock=Clock(),
        scope="",
    )
    made.readiness.began(before, alone=True)
    made.due(jobs)
    return made


async def test_many_due_jobs_are_claimed_in_batches_each_once() -> None:
    ledger = Ledger()
    dispatcher = dispatcher_for(ledger)
    assert await dispatcher.step()
    assert sorted(ledger.done) == sorted(dispatcher.book.jobs)


@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_what_a_failing_claim_left_is_claimed_by_the_next_turn(failing: int) -> None:
    ledger = Ledger(failing)
    dispatcher = dispatcher_for(ledger)
    with pytest.raises(DatabaseUnavailableError):
        await dispatcher.step()
    while len(set(ledger.done)) < JOBS:
        await dispatcher.step()
    assert set(ledger.done) == set(dispatcher.book.jobs)
