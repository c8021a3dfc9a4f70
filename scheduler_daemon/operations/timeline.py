"""Past dispositions and coming fires of every job, in buckets of time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from scheduler_daemon.ledger.history import Row
from scheduler_daemon.ledger.inquiry import Inquiry
from scheduler_daemon.operations.house import House
from scheduler_daemon.operations.reports import Timeline, TimelineRow
from scheduler_daemon.operations.views import find_spec, state_of
from scheduler_daemon.runner.planning import Timetable

ONE_BY_ONE = 5_000
"""A timetable with more fires in view is dense: it is counted, and taken to meet everybody."""


class Drawing:
    """The axis: `buckets` stretches of equal length from `start` on."""

    def __init__(self, start: datetime, end: datetime, buckets: int) -> None:
        self.start, self.end, self.buckets = start, end, buckets
        self.length = (end - start) / buckets

    def bucket(self, moment: datetime) -> int:
        return min(self.buckets - 1, max(0, int((moment - self.start) / self.length)))

    def edge(self, bucket: int) -> datetime:
        return self.start + bucket * self.length


async def timeline(house: House, *, reach: timedelta, buckets: int, job: str | None) -> Timeline:
    """From `reach` ago to `reach` ahead. Raises UnknownJobError, DatabaseUnavailableError."""
    if job is not None:
        find_spec(house, job)
    now = house.clock.now()
    axis = Drawing(now - reach, now + reach, buckets)
    names = [job] if job is not None else [*house.book.jobs, *house.book.elsewhere]
    rows = await Inquiry(house.gateway, str(house.node.id)).timeline(
        axis.start, now, axis.length.total_seconds(), buckets=buckets, job=job
    )
    tables = {name: house.book.jobs[name].table for name in names if name in house.book.jobs}
    able = {name for name in tables if state_of(house, name, now) == "scheduled"}
    coming, together = await asyncio.to_thread(_ahead, tables, able, axis, now)
    past = _past(rows, axis)
    return Timeline(
        start=axis.start,
        end=axis.end,
        now=now,
        bucket_s=axis.length.total_seconds(),
        rows=[
            TimelineRow(
                job=name,
                state=state_of(house, name, now),
                past=past.get(name) or [{}] * buckets,
                coming=coming.get(name) or [0] * buckets,
            )
            for name in names
        ],
        together=together,
    )


def _past(rows: Iterable[Row], axis: Drawing) -> dict[str, list[dict[str, int]]]:
    past: dict[str, list[dict[str, int]]] = {}
    for row in rows:
        cells = past.setdefault(row["job"], [{} for _ in range(axis.buckets)])
        covered = range(row["first"], row["last"] + 1)
        for bucket in covered:
            share = max(1, row["number"] // max(1, len(covered)))
            cells[bucket][row["status"]] = cells[bucket].get(row["status"], 0) + share
    return past


def _ahead(
    tables: Mapping[str, Timetable], able: set[str], axis: Drawing, now: datetime
) -> tuple[dict[str, Sequence[int]], list[int]]:
    """Coming fires by job, and how many meet. Jobs with equal timetables are counted once."""
    by_table: dict[Timetable, list[str]] = {}
    for name, table in tables.items():
        if name in able:
            by_table.setdefault(table, []).append(name)
    coming: dict[str, Sequence[int]] = {}
    meetings: Counter[datetime] = Counter()
    everywhere = [0] * axis.buckets
    for table, names in by_table.items():
        if table.count(axis.start, axis.end) > ONE_BY_ONE:
            edges = [max(now, axis.edge(bucket)) for bucket in range(axis.buckets + 1)]
            fires = [table.count(left, right) for left, right in pairwise(edges)]
            everywhere = [many + len(names) for many in everywhere]
        else:
            fires = [0] * axis.buckets
            for instant in table.between(axis.start, axis.end):
                meetings[instant] += len(names)
                fires[axis.bucket(instant)] += instant > now
        coming.update(dict.fromkeys(names, fires))
    together = [0] * axis.buckets
    for instant, number in meetings.items():
        bucket = axis.bucket(instant)
        together[bucket] = max(together[bucket], number)
    return coming, [some + all_of_them for some, all_of_them in zip(together, everywhere, strict=True)]
