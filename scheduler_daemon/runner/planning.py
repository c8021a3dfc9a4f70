"""What a job has due: every instant since its watermark, each to be run, skipped or written off. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.ledger.values import Entry
from scheduler_daemon.model import DstGap, DstPolicy, Misfire, RunKind, RunStatus

CATCH_UP_LIMIT = 100
OVERLOAD = "overload"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """A span of time (start, end] in which nothing could run, and why. `final`: none of it is caught up."""

    start: datetime
    end: datetime
    reason: str
    final: bool = False


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """A schedule with everything that its instants depend on; equal ones fire together."""

    expression: CronExpression
    zone: ZoneInfo
    dst: DstPolicy
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.expression, self.zone.key, self.dst)))

    def __hash__(self) -> int:
        return self._hash

    def next_after(self, moment: datetime) -> datetime | None:
        return self.expression.next_after(moment, self.zone, dst=self.dst)

    def last_until(self, moment: datetime) -> datetime | None:
        """The latest instant at or before `moment`."""
        whole = moment.replace(microsecond=0) + timedelta(seconds=1)
        return self.expression.previous_before(whole, self.zone, dst=self.dst)

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The instants in (start, end]."""
        return self.expression.between(start, end, self.zone, dst=self.dst)

    def count(self, start: datetime, end: datetime) -> int:
        """How many instants (start, end] holds; costs time per day, not per instant."""
        return self.expression.count(start, end, self.zone, dst=self.dst)


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """When it is, since when this daemon has been able to run things, and what went before."""

    now: datetime
    able_since: datetime
    outages: Sequence[Outage] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MisfireRule:
    """What to do with instants whose time passed while nothing could run them."""

    policy: Misfire = Misfire.LATEST
    window: timedelta = timedelta(hours=24)


def plan(table: Timetable, watermark: datetime, rule: MisfireRule, at: Situation) -> tuple[Entry, ...]:
    """The dispositions of all instants in (watermark, now], in order of time.

    What runs is always the tail of them: the latest, or under `all` up to 100. Lateness alone is no
    misfire: an instant that came while the daemon was able to run it is run, unless a later one is due too.
    """
    if at.now <= watermark:
        return ()
    gaps = tuple(_swallowed(table, watermark, at.now))
    last = table.last_until(at.now)
    if last is None or last <= watermark:
        return gaps
    runs = _to_run(table, watermark, last, rule, at)
    boundary = runs[0].first - timedelta(microseconds=1) if runs else last
    if runs and not gaps and table.next_after(watermark) == runs[0].first:
        return tuple(runs)
    entries = (*gaps, *_written_off(table, watermark, boundary, at.outages), *runs)
    return tuple(sorted(entries, key=lambda entry: entry.first))


def _to_run(
    table: Timetable, watermark: datetime, last: datetime, rule: MisfireRule, at: Situation
) -> list[Entry]:
    on_time, oldest = last >= at.able_since, at.now - rule.window
    if not on_time and (rule.policy is Misfire.SKIP or last < oldest):
        return []
    floor = max([watermark, *(outage.end for outage in at.outages if outage.final)])
    if last <= floor:
        return []
    chosen = [last]
    while rule.policy is Misfire.ALL and len(chosen) < CATCH_UP_LIMIT:
        moment = table.last_until(chosen[-1] - timedelta(seconds=1))
        if moment is None or moment <= floor or moment < oldest:
            break
        chosen.append(moment)
    return [_run(moment, at) for moment in reversed(chosen)]


def _run(moment: datetime, at: Situation) -> Entry:
    kind = RunKind.CRON if moment >= at.able_since else RunKind.CATCH_UP
    return Entry(first=moment, last=moment, kind=kind)


def _written_off(
    table: Timetable, start: datetime, end: datetime, outages: Sequence[Outage]
) -> Iterator[Entry]:
    for left, right, reason in _segments(start, end, outages):
        count = table.count(left, right)
        if count:
            first, last = table.next_after(left), table.last_until(right)
            assert first is not None
            assert last is not None
            yield Entry(first=first, last=last, count=count, status=RunStatus.MISSED, reason=reason)


def _segments(
    start: datetime, end: datetime, outages: Sequence[Outage]
) -> Iterator[tuple[datetime, datetime, str]]:
    """(start, end] cut at the outages' ends; what no outage covers was overrun by later instants."""
    here = start
    for outage in sorted(outages, key=lambda o: o.start):
        left, right = max(outage.start, here), min(outage.end, end)
        if left >= right:
            continue
        if here < left:
            yield here, left, OVERLOAD
        yield left, right, outage.reason
        here = right
    if here < end:
        yield here, end, OVERLOAD


def _swallowed(table: Timetable, start: datetime, end: datetime) -> Iterator[Entry]:
    """Under `gap: skip`, the instants that the clock jumped over have a row of their own."""
    if table.dst.gap is not DstGap.SKIP:
        return
    for local, transition in table.expression.gaps(start, end, table.zone):
        yield Entry(
            first=transition,
            last=transition,
            status=RunStatus.SKIPPED,
            reason="dst_gap",
            note=f"{local} does not exist: the clock jumps over it",
            planned=False,
        )
