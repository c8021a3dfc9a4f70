"""The audit: is every planned instant accounted for, and none twice?

Recomputes the plan from the configuration revisions that were in force, and compares it with the rows of
the ledger. It shares nothing with the dispatcher but the cron engine: it reads revisions by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.ledger.sql import sql
from scheduler_daemon.model import DstGap, DstOverlap, DstPolicy

SHOWN = 20
ONE = timedelta(seconds=1)
END = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(kw_only=True)
class AuditedJob:
    """One job's account of (start, end]. The lists name at most 20 spans each; the counts are complete."""

    job: str
    scope: str
    start: datetime
    end: datetime
    planned: int = 0
    accounted: int = 0
    unaccounted: int = 0
    doubled: int = 0
    unplanned: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.unaccounted or self.doubled or self.unplanned)

    def find(self, what: str, count: int, first: datetime, last: datetime) -> None:
        setattr(self, what, getattr(self, what) + count)
        if len(self.findings) < SHOWN:
            until = "" if first == last else f" … {last:%Y-%m-%dT%H:%M:%SZ}"
            self.findings.append(f"{count} {what}: {first:%Y-%m-%dT%H:%M:%SZ}{until}")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """From (exclusive) when to when (inclusive) a schedule was in force; None: it was in no plan."""

    start: datetime
    end: datetime
    expression: CronExpression | None
    zone: ZoneInfo
    dst: DstPolicy


class Plan:
    """What one job's schedules planned over all revisions."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments

    def count(self, start: datetime, end: datetime) -> int:
        """Instants in (start, end]."""
        return sum(
            segment.expression.count(
                max(start, segment.start), min(end, segment.end), segment.zone, dst=segment.dst
            )
            for segment in self._inside(start, end)
            if segment.expression is not None
        )

    def ends(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        """The first and the last instant in (start, end], which must hold one."""
        found: list[datetime] = []
        for segment in self._inside(start, end):
            if segment.expression is None:
                continue
            left, right = max(start, segment.start), min(end, segment.end)
            first = segment.expression.next_after(left, segment.zone, dst=segment.dst)
            last = segment.expression.previous_before(right + ONE, segment.zone, dst=segment.dst)
            found += [moment for moment in (first, last) if moment is not None and left < moment <= right]
        return min(found), max(found)

    def _inside(self, start: datetime, end: datetime) -> Iterator[Segment]:
        return (s for s in self._segments if s.start < end and s.end > start)


class Audit:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def run(self, *, job: str | None = None, since: datetime | None = None) -> list[AuditedJob]:
        """Audit one job or all, from `since` or from where each is accounted for, to its watermark."""
        async with self._gateway.reading() as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor = await connection.execute(sql("audited_schedules"), {"job": job})
            schedules = await cursor.fetchall()
            cursor = await connection.execute(sql("revisions_until"), {"until": END})
            revisions = [(row[2], json.loads(row[4])) for row in await cursor.fetchall()]
            found: list[AuditedJob] = []
            for name, scope, audited_from, watermark in schedules:
                start = max(audited_from, since) if since else audited_from
                account = AuditedJob(job=name, scope=scope, start=start, end=max(start, watermark))
                span = {"job": name, "scope": scope, "start": account.start, "until": account.end}
                cursor = await connection.execute(sql("planned_rows"), span)
                compare(account, Plan(segments_of(name, scope, revisions)), await cursor.fetchall())
                found.append(account)
        return found


def compare(account: AuditedJob, plan: Plan, rows: Sequence[Sequence[Any]]) -> None:
    """Walk the rows (id, status, reason, first, last, instants) in order of time beside the plan."""
    account.planned = plan.count(account.start, account.end)
    here = account.start
    for _, _, _, first, last, instants in rows:
        if first <= here and last > account.start and here > account.start:
            account.find("doubled", max(1, plan.count(first - ONE, min(here, last))), first, min(here, last))
        left, right = max(first - ONE, here), min(last, account.end)
        _gap(account, plan, here, left)
        expected = plan.count(left, right)
        whole = first > account.start and last <= account.end
        if whole and expected < instants:
            account.find("unplanned", instants - expected, first, last)
        elif whole and expected > instants:
            account.find("unaccounted", expected - instants, first, last)
        account.accounted += min(expected, instants) if whole else expected
        here = max(here, right)
    _gap(account, plan, here, account.end)


def _gap(account: AuditedJob, plan: Plan, start: datetime, end: datetime) -> None:
    missing = plan.count(start, end) if start < end else 0
    if missing:
        account.find("unaccounted", missing, *plan.ends(start, end))


def segments_of(
    job: str, scope: str, revisions: Sequence[tuple[datetime, Mapping[str, Any]]]
) -> list[Segment]:
    """The job's schedule in each revision, oldest first; `scope`: empty, or the node whose own copy it is."""
    segments: list[Segment] = []
    for number, (start, stored) in enumerate(revisions):
        end = revisions[number + 1][0] if number + 1 < len(revisions) else END
        segments.append(_segment((job, scope), start, end, stored["configuration"]))
    return segments


def _segment(
    row: tuple[str, str], start: datetime, end: datetime, configuration: Mapping[str, Any]
) -> Segment:
    job, scope = row
    scheduler = configuration.get("scheduler") or {}
    defaults = scheduler.get("defaults") or {}
    entry = next((e for e in scheduler.get("jobs") or () if e.get("name") == job), None)
    nodes = (entry or {}).get("nodes") or defaults.get("nodes")
    if entry is None or (nodes == "every") is (scope == ""):
        return Segment(start=start, end=end, expression=None, zone=ZoneInfo("UTC"), dst=DstPolicy())
    zone = entry.get("timezone") or defaults.get("timezone") or configuration.get("timezone") or "UTC"
    dst = {**(defaults.get("dst") or {}), **(entry.get("dst") or {})}
    return Segment(
        start=start,
        end=end,
        expression=CronExpression.parse(entry["schedule"]),
        zone=ZoneInfo(zone),
        dst=DstPolicy(gap=DstGap(dst.get("gap", "after")), overlap=DstOverlap(dst.get("overlap", "first"))),
    )
