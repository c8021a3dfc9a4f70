"""The ledger without a database: the same rules, rows in memory.

A year of 90,000 runs would take PostgreSQL two transactions each; here it takes seconds. That both ledgers
decide alike is tested, with one driver on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from uuid import UUID, uuid4

from scheduler_daemon.clock import Clock
from scheduler_daemon.ledger.claims import Claims, Granted
from scheduler_daemon.ledger.rules import Arbiter, admit, whose_turn
from scheduler_daemon.ledger.values import Claim, Decision, LiveRun, NewRun, Retry, ScheduleState, StoredRun
from scheduler_daemon.model import Outcome, RunKind, RunStatus
from scheduler_daemon.runner.book import PlannedJob
from scheduler_daemon.testing.values import Disposition

_FOR_OTHERS = ("overlap", "retry")


@dataclass(kw_only=True, slots=True)
class _Row:
    run: NewRun
    token: UUID
    claimed_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def live(self) -> LiveRun:
        run = self.run
        return LiveRun(run.id, run.job, run.kind, run.status, waiting=run.waiting, scope=run.scope)

    def stored(self) -> StoredRun:
        run = self.run
        return StoredRun(
            id=run.id,
            job=run.job,
            scope=run.scope,
            kind=run.kind,
            status=run.status,
            concurrency=run.concurrency,
            waiting=run.waiting,
            scheduled_for=run.scheduled_for,
            not_before=run.not_before,
            parameters=run.parameters,
            attempt=run.attempt,
            first_run=run.first_run,
            node=None,
            boot_id=None,
            claim_token=self.token,
        )

    def disposition(self) -> Disposition:
        run = self.run
        return Disposition(
            job=run.job,
            kind=run.kind,
            status=run.status,
            reason=run.reason,
            scheduled_for=run.first,
            last=run.last,
            count=run.count,
            attempt=run.attempt,
            claimed_at=self.claimed_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
        )


class Ledger(Protocol):
    """What a dispatcher needs of a ledger; both are held to it by mypy."""

    async def claim(self, claims: Sequence[Claim], capacity: int) -> Granted: ...
    async def add(
        self, run: NewRun, *, concurrent: bool = False, queue: bool = False, capacity: int
    ) -> tuple[UUID, UUID | None]: ...
    async def start_granted(self, ids: Sequence[UUID]) -> tuple[set[UUID], UUID]: ...
    async def start_next(
        self,
        keys: Iterable[str],
        concurrent: Callable[[str], bool],
        eligible: Callable[[str, str], bool],
    ) -> list[tuple[StoredRun, UUID]]: ...
    async def keys_waiting(self, keys: Iterable[str]) -> set[str]: ...
    async def end_queued(self, ids: Sequence[UUID], *, reason: str, message: str) -> dict[UUID, str]: ...


class MemoryLedger:
    """What a dispatcher needs of ledger.claims.Claims; and `end`, which ledger.outcomes does there."""

    def __init__(self, clock: Clock, jobs: Iterable[PlannedJob]) -> None:
        self._clock = clock
        self._rows: dict[UUID, _Row] = {}
        self._live: dict[str, dict[UUID, _Row]] = {}
        self._states: dict[str, dict[tuple[str, str], ScheduleState]] = {}
        for job in jobs:
            state = ScheduleState(job.spec.name, job.scope, job.watermark, None, None, None)
            self._states.setdefault(job.spec.concurrency_key, {})[state.job, state.scope] = state
        self._keys = {name: key for key, states in self._states.items() for name in states}

    async def claim(self, claims: Sequence[Claim], capacity: int) -> Granted:
        keys = {claim.concurrency for claim in claims}
        states = [state for key in keys for state in self._states[key].values()]
        arbiter = Arbiter(states, {key: self._live_under(key) for key in keys}, capacity)
        for claim in claims:
            arbiter.decide(claim)
        token = uuid4()
        self._write(arbiter.decision, token)
        return Granted(decision=arbiter.decision, token=token, at=self._clock.now())

    async def add(
        self, run: NewRun, *, concurrent: bool = False, queue: bool = False, capacity: int
    ) -> tuple[UUID, UUID | None]:
        live = () if concurrent else self._live_under(run.concurrency)
        blocker = admit(run, live, queue=queue, capacity=capacity)
        token = uuid4()
        if run.status.live:
            self._insert(run, token)
        return token, blocker

    async def start_granted(self, ids: Sequence[UUID]) -> tuple[set[UUID], UUID]:
        token = uuid4()
        return self._start(ids, token), token

    async def start_next(
        self,
        keys: Iterable[str],
        concurrent: Callable[[str], bool],
        eligible: Callable[[str, str], bool],
    ) -> list[tuple[StoredRun, UUID]]:
        wanted, now = sorted(set(keys)), self._clock.now()
        rows = sorted((row for key in wanted for row in self._of(key)), key=_by_id)
        waiting = [
            row.stored()
            for row in rows
            if row.run.waiting in _FOR_OTHERS and (row.run.not_before or now) <= now
        ]
        able = [run for run in waiting if eligible(run.job, run.scope)]
        chosen = whose_turn(able, {key: self._live_under(key) for key in wanted}, concurrent)
        token = uuid4()
        started = self._start([run.id for run in chosen], token)
        return [(run, token) for run in chosen if run.id in started]

    async def keys_waiting(self, keys: Iterable[str]) -> set[str]:
        return {key for key in keys if any(row.run.waiting in _FOR_OTHERS for row in self._of(key))}

    async def end_queued(self, ids: Sequence[UUID], *, reason: str, message: str) -> dict[UUID, str]:
        rows = [self._rows[i] for i in ids if self._rows[i].run.status is RunStatus.QUEUED]
        for row in rows:
            row.run.status, row.run.reason, row.run.waiting = RunStatus.CANCELLED, reason, None
            row.run.message, row.finished_at = message, self._clock.now()
            del self._live[row.run.concurrency][row.run.id]
        return {row.run.id: row.run.concurrency for row in rows}

    async def end(self, outcome: Outcome, retry: Retry | None) -> None:
        """Record how a run ended, and what follows it."""
        row = self._rows[UUID(outcome.run_id)]
        run = row.run
        run.status, run.reason, run.waiting = outcome.status, outcome.reason, None
        row.started_at = None if outcome.started_at is None else _moment(outcome.started_at)
        row.finished_at = _moment(outcome.finished_at)
        self._live[run.concurrency].pop(run.id, None)
        if retry is not None:
            self._insert(_following(retry, run), uuid4())

    async def live(self) -> list[StoredRun]:
        """What a daemon that starts finds."""
        return [row.stored() for row in sorted((r for key in self._live for r in self._of(key)), key=_by_id)]

    def dispositions(self) -> list[Disposition]:
        return [row.disposition() for row in self._rows.values()]

    def _of(self, key: str) -> list[_Row]:
        return list(self._live.get(key, {}).values())

    def _live_under(self, key: str) -> list[LiveRun]:
        return [row.live() for row in self._of(key)]

    def _write(self, decision: Decision, token: UUID) -> None:
        for run in decision.inserts:
            self._insert(run, token)
        for span in decision.extensions:
            row = self._rows[span.run]
            row.run.last, row.run.count = span.last, row.run.count + span.count
        for job, scope, watermark, span_run, span_key in decision.watermarks:
            states = self._states[self._keys[job, scope]]
            states[job, scope] = states[job, scope]._replace(
                watermark=watermark, span_run=span_run, span_key=span_key
            )

    def _insert(self, run: NewRun, token: UUID) -> None:
        row = self._rows[run.id] = _Row(run=run, token=token, claimed_at=self._clock.now())
        if run.status.live:
            self._live.setdefault(run.concurrency, {})[run.id] = row

    def _start(self, ids: Iterable[UUID], token: UUID) -> set[UUID]:
        started = {i for i in ids if self._rows[i].run.status is RunStatus.QUEUED}
        for run_id in started:
            row = self._rows[run_id]
            row.run.status, row.run.waiting, row.token = RunStatus.RUNNING, None, token
        return started


def _by_id(row: _Row) -> UUID:
    """Ids ascend with time."""
    return row.run.id


def _moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, tz=UTC)


def _following(retry: Retry, run: NewRun) -> NewRun:
    return NewRun(
        id=UUID(retry.id),
        job=retry.job,
        scope=retry.scope,
        kind=RunKind.RETRY,
        status=RunStatus.QUEUED,
        waiting="retry",
        concurrency=retry.concurrency,
        planned=False,
        not_before=_moment(retry.not_before),
        parameters=run.parameters,
        attempt=retry.attempt,
        first_run=UUID(retry.first_run),
    )


if TYPE_CHECKING:
    _ALIKE: tuple[type[Ledger], type[Ledger]] = (Claims, MemoryLedger)
