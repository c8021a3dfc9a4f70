"""Which disposition an occurrence gets: enabled, available, overlap. Pure; runs under the claim's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from scheduler_daemon.ledger.values import (
    Claim,
    Decision,
    Entry,
    LiveRun,
    NewRun,
    ScheduleState,
    SpanExtension,
    StoredRun,
    new_run_id,
)
from scheduler_daemon.model import Overlap, RunKind, RunStatus

YIELDING = (RunKind.MANUAL, RunKind.STARTUP)


class Arbiter:
    """Decides a batch of claims, in order, each seeing what the ones before it were given.

    `states` are the locked schedules, `live` the live runs by concurrency key, `capacity` how many runs
    the pool takes at once: what is granted beyond it waits for a worker.
    """

    def __init__(
        self,
        states: Iterable[ScheduleState],
        live: Mapping[str, list[LiveRun]],
        capacity: int,
    ) -> None:
        self._states = {(s.job, s.scope): s for s in states}
        self._live = {key: list(runs) for key, runs in live.items()}
        self._capacity = capacity
        self.decision = Decision()

    def decide(self, claim: Claim) -> None:
        state = self._states[claim.job, claim.scope]
        if state.watermark != claim.watermark:
            self.decision.stale.append((claim.job, claim.scope, state.watermark))
            return
        span = _Span(state.span_run, state.span_key)
        enabled = claim.enabled if state.override is None else state.override
        for entry in claim.entries:
            self._place(claim, _refused(entry, enabled, claim.unavailable), span)
        self.decision.watermarks.append((claim.job, claim.scope, claim.until, span.run, span.key))

    def _place(self, claim: Claim, entry: Entry, span: _Span) -> None:
        if entry.status is not RunStatus.RUNNING:
            self._extend(claim, entry, span, None)
            return
        here = self._live.setdefault(claim.concurrency, [])
        live = [run for run in here if run.meets(claim.scope)]
        verdict, blocker = overlap_verdict(claim.overlap, entry.kind, live)
        if verdict is RunStatus.SKIPPED:
            skipped = _as(entry, RunStatus.SKIPPED, "overlap")
            self._extend(claim, skipped, span, blocker)
            return
        if claim.overlap is Overlap.CANCEL_PREVIOUS:
            self.decision.to_cancel.extend(run.id for run in live)
        run = self._grant(claim, entry, verdict, blocker)
        here.append(
            LiveRun(run.id, run.job, kind=run.kind, status=run.status, waiting=run.waiting, scope=run.scope)
        )
        span.close()

    def _grant(self, claim: Claim, entry: Entry, verdict: RunStatus, blocker: UUID | None) -> NewRun:
        waiting = "overlap" if verdict is RunStatus.QUEUED else None
        if waiting is None:
            if self._capacity > 0:
                self._capacity -= 1
            else:
                verdict, waiting = RunStatus.QUEUED, "worker"
        run = NewRun(
            id=new_run_id(),
            job=claim.job,
            scope=claim.scope,
            kind=entry.kind,
            status=verdict,
            concurrency=claim.concurrency,
            first=entry.first,
            last=entry.last,
            waiting=waiting,
            blocked_by=blocker,
        )
        self.decision.inserts.append(run)
        return run

    def _extend(self, claim: Claim, entry: Entry, span: _Span, blocker: UUID | None) -> None:
        key = f"{entry.status}:{entry.reason}:{blocker or ''}"
        if entry.planned and span.key == key:
            span.extend(claim.job, entry, self.decision)
            return
        run = NewRun(
            id=new_run_id(),
            job=claim.job,
            scope=claim.scope,
            kind=entry.kind,
            status=entry.status,
            reason=entry.reason,
            concurrency=claim.concurrency,
            first=entry.first,
            last=entry.last,
            count=entry.count,
            planned=entry.planned,
            blocked_by=blocker,
            message=claim.unavailable if entry.reason == "unavailable" else entry.note,
        )
        self.decision.inserts.append(run)
        if entry.planned:
            span.begin(run, key)


class _Span:
    """The row that the next refused instant of a job may extend."""

    __slots__ = ("_row", "key", "run")

    def __init__(self, run: UUID | None, key: str | None) -> None:
        self.run = run
        self.key = key if run is not None else None
        self._row: NewRun | SpanExtension | None = None

    def begin(self, run: NewRun, key: str) -> None:
        self.run, self.key, self._row = run.id, key, run

    def extend(self, job: str, entry: Entry, decision: Decision) -> None:
        """One row, or one extension of it, in each batch: an UPDATE takes a row only once."""
        assert self.run is not None
        if self._row is None:
            self._row = SpanExtension(
                run=self.run, last=entry.last, count=0, job=job, status=entry.status, reason=entry.reason
            )
            decision.extensions.append(self._row)
        self._row.last = entry.last
        self._row.count += entry.count

    def close(self) -> None:
        self.run = self.key = self._row = None


def overlap_verdict(overlap: Overlap, kind: RunKind, live: list[LiveRun]) -> tuple[RunStatus, UUID | None]:
    """RUNNING, QUEUED or SKIPPED for an occurrence that meets `live` runs, and the run that is in its way.

    Retries that wait for their time are in nobody's way. A run by hand never costs a planned one: neither
    one that runs nor one that waits.
    """
    active = [run for run in live if run.waiting != "retry"]
    if overlap is Overlap.ALLOW or not active:
        return RunStatus.RUNNING, None
    blocker = active[0].id
    if kind is RunKind.CATCH_UP or overlap is Overlap.CANCEL_PREVIOUS:
        return RunStatus.QUEUED, blocker
    someone_waits = any(run.waiting == "overlap" and run.kind not in YIELDING for run in active)
    only_yielding = all(run.kind in YIELDING for run in active)
    if not someone_waits and (overlap is Overlap.QUEUE or only_yielding):
        return RunStatus.QUEUED, blocker
    return RunStatus.SKIPPED, blocker


def admit(run: NewRun, live: Sequence[LiveRun], *, queue: bool, capacity: int) -> UUID | None:
    """Let a run outside the plan in, or not: its status and what it waits for are set.

    Returns the live run that it collides with, if any; unless `queue`, it is not let in then.
    """
    active = [other for other in live if other.waiting != "retry" and other.meets(run.scope)]
    if active and run.waiting is None:
        if not queue:
            run.status = RunStatus.SKIPPED
            return active[0].id
        run.waiting, run.blocked_by = "overlap", active[0].id
    elif run.waiting is None and capacity <= 0:
        run.waiting = "worker"
    run.status = RunStatus.QUEUED if run.waiting else RunStatus.RUNNING
    return active[0].id if active else None


def whose_turn(
    waiting: Iterable[StoredRun], live: Mapping[str, list[LiveRun]], concurrent: Callable[[str], bool]
) -> list[StoredRun]:
    """Those that may start now, first come, first served: at most one a key and scope, unless the job's
    runs may be `concurrent`."""
    busy = {key: [r for r in runs if r.waiting not in ("overlap", "retry")] for key, runs in live.items()}
    chosen: list[StoredRun] = []
    for run in waiting:
        before = busy.setdefault(run.concurrency, [])
        if concurrent(run.job) or not any(other.meets(run.scope) for other in before):
            before.append(LiveRun(run.id, run.job, run.kind, RunStatus.RUNNING, scope=run.scope))
            chosen.append(run)
    return chosen


def _refused(entry: Entry, enabled: bool, unavailable: str | None) -> Entry:
    """An operator's `disabled` beats every other reason; a missing implementation beats what would run."""
    if not enabled and entry.planned:
        return _as(entry, RunStatus.SKIPPED, "disabled")
    if unavailable is not None and entry.status is RunStatus.RUNNING:
        return _as(entry, RunStatus.SKIPPED, "unavailable")
    return entry


def _as(entry: Entry, status: RunStatus, reason: str) -> Entry:
    return Entry(
        first=entry.first,
        last=entry.last,
        count=entry.count,
        status=status,
        reason=reason,
        planned=entry.planned,
    )
