"""From a book and a moment to claims. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from scheduler_daemon.ledger.values import Claim, Entry
from scheduler_daemon.runner.book import Book, PlannedJob
from scheduler_daemon.runner.planning import Situation, plan

Memo = dict[tuple[int, datetime, int], tuple[Entry, ...]]
"""By the identity of timetable and rule, which the book keeps: cheaper than their contents."""


def claims_of(book: Book, names: Iterable[str], at: Situation) -> list[Claim]:
    """One claim for each of these jobs that has anything due; jobs that stand alike are planned once."""
    memo: Memo = {}
    claims = (_claim_of(book, job, at, memo) for job in book.planned_here(sorted(names)))
    return [claim for claim in claims if claim is not None]


def _claim_of(book: Book, job: PlannedJob, at: Situation, memo: Memo) -> Claim | None:
    key = (id(job.table), job.watermark, id(job.rule))
    entries = memo.get(key)
    if entries is None:
        entries = memo[key] = plan(job.table, job.watermark, job.rule, at)
    if not entries:
        return None
    return Claim(
        job=job.spec.name,
        scope=job.scope,
        concurrency=job.spec.concurrency_key,
        overlap=job.spec.overlap,
        watermark=job.watermark,
        until=max(entry.last for entry in entries),
        entries=entries,
        enabled=book.enabled(job),
        unavailable=job.unavailable,
    )
