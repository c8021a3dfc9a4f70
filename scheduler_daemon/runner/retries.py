"""Which run follows one that failed, or was lost."""

from __future__ import annotations

import time

from scheduler_daemon.ledger.values import Retry, StoredRun, new_run_id
from scheduler_daemon.model import JobSpec, OnLost, Outcome, RunStatus
from scheduler_daemon.runner.orders import RunOrder

RERUNS = 3


def retry_of(order: RunOrder, outcome: Outcome) -> Retry | None:
    """The run that follows a failed one, if its job asks for it: `retry_delay`, doubled each time."""
    first = str(order.first_run) if order.first_run else None
    run = (order.id, order.scope, order.attempt, first)
    return _retry(order.spec, outcome.status, run, outcome.finished_at)


def retry_of_stored(spec: JobSpec, run: StoredRun, at: float | None = None) -> Retry | None:
    """The same for a run that was found lost: now, or `at` (Unix seconds)."""
    first = str(run.first_run) if run.first_run else None
    found_at = time.time() if at is None else at
    return _retry(spec, RunStatus.LOST, (str(run.id), run.scope, run.attempt, first), found_at)


def _retry(
    spec: JobSpec, status: RunStatus, run: tuple[str, str, int, str | None], ended_at: float
) -> Retry | None:
    run_id, scope, attempt, first = run
    if status is RunStatus.LOST:
        wanted = spec.on_lost is OnLost.RERUN and attempt <= max(spec.retries, RERUNS)
        delay = 0.0
    else:
        wanted = status in (RunStatus.FAILED, RunStatus.TIMED_OUT) and attempt <= spec.retries
        delay = spec.retry_delay.total_seconds() * 2 ** (attempt - 1)
    if not wanted:
        return None
    return Retry(
        id=str(new_run_id()),
        of=run_id,
        job=spec.name,
        scope=scope,
        concurrency=spec.concurrency_key,
        attempt=attempt + 1,
        first_run=first or run_id,
        not_before=ended_at + delay,
    )
