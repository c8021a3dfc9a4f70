"""plan(): every instant since the watermark gets one entry, for every rule, outage and window."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.ledger.values import Entry
from scheduler_daemon.model import DstGap, DstPolicy, Misfire, RunKind, RunStatus
from scheduler_daemon.runner.planning import (
    CATCH_UP_LIMIT,
    MisfireRule,
    Outage,
    Situation,
    Timetable,
    plan,
)

NOON = datetime(2026, 3, 8, 12, tzinfo=UTC)
SPRING = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)
"""Half an hour before New York's clock jumps from 02:00 to 03:00."""
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def table(schedule: str, zone: str = "UTC", dst: DstPolicy | None = None) -> Timetable:
    return Timetable(
        expression=CronExpression.parse_schedule(schedule), zone=ZoneInfo(zone), dst=dst or DstPolicy()
    )


def able(now: datetime, since: datetime | None = None, *outages: Outage) -> Situation:
    return Situation(now=now, able_since=since or now - DAY, outages=outages)


def down(start: datetime, end: datetime, reason: str = "daemon_down") -> Outage:
    return Outage(start=start, end=end, reason=reason)


def instants(timetable: Timetable, entry: Entry) -> list[datetime]:
    if not entry.planned:
        return []
    return list(timetable.between(entry.first - SECOND, entry.last))


def runs(entries: Sequence[Entry]) -> list[Entry]:
    return [e for e in entries if e.status is RunStatus.RUNNING]


def spans(entries: Sequence[Entry]) -> list[tuple[str | None, int]]:
    return [(e.reason, e.count) for e in entries if e.status is RunStatus.MISSED]


schedules = st.sampled_from(
    [
        ("* * * * * *", 300),
        ("*/7 * * * * *", 1800),
        ("0 */15 * * * *", 5 * 86400),
        ("30 0 2 * * *", 20 * 86400),
        ("0 30 1,2,3 * * *", 20 * 86400),
        ("0 0 0 29 2 *", 2000 * 86400),
        ("0 0 0 31 2 *", 86400),
    ]
)
zones = st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe"])
rules = st.builds(
    MisfireRule,
    policy=st.sampled_from(list(Misfire)),
    window=st.sampled_from([timedelta(0), SECOND, timedelta(minutes=5), DAY, 400 * DAY]),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Timetable, datetime, MisfireRule, Situation]:
    schedule, longest = draw(schedules)
    timetable = table(schedule, draw(zones), DstPolicy(gap=draw(st.sampled_from(list(DstGap)))))
    start = SPRING + timedelta(seconds=draw(st.floats(-longest, 3600)))
    length = draw(st.floats(0, longest))
    now = start + timedelta(seconds=length)

    def moment() -> datetime:
        return start + timedelta(seconds=draw(st.floats(-0.1, 1.1)) * length)

    outages = []
    for reason in draw(st.lists(st.sampled_from(["daemon_down", "suspended", "database_down"]), max_size=4)):
        left, right = sorted((moment(), moment()))
        outages.append(down(left, right, reason))
    return timetable, start, draw(rules), Situation(now=now, able_since=min(moment(), now), outages=outages)


@settings(max_examples=150, deadline=None)
@given(situations())
def test_entries_are_a_partition_of_the_planned_instants_in_order_of_time(
    case: tuple[Timetable, datetime, MisfireRule, Situation],
) -> None:
    timetable, watermark, rule, at = case
    entries = plan(timetable, watermark, rule, at)
    covered = [instant for entry in entries for instant in instants(timetable, entry)]
    assert covered == list(timetable.between(watermark, at.now))
    assert all(e.count == len(instants(timetable, e)) for e in entries if e.planned)
    assert [e.first for e in entries] == sorted(e.first for e in entries)
    assert all(watermark < e.first <= e.last <= at.now for e in entries)


@settings(max_examples=150, deadline=None)
@given(situations())
def test_what_runs_is_what_the_misfire_rule_says(
    case: tuple[Timetable, datetime, MisfireRule, Situation],
) -> None:
    timetable, watermark, rule, at = case
    due = list(timetable.between(watermark, at.now))
    chosen = [e.first for e in runs(plan(timetable, watermark, rule, at))]
    if not due:
        assert chosen == []
        return
    on_time = due[-1] >= at.able_since
    fresh = [i for i in due if i >= at.now - rule.window]
    if rule.policy is Misfire.SKIP:
        assert chosen == due[-1:] * on_time
    elif rule.policy is Misfire.LATEST:
        assert chosen == due[-1:] * (on_time or bool(fresh))
    else:
        assert chosen == (fresh or due[-1:] * on_time)[-CATCH_UP_LIMIT:]


@settings(max_examples=150, deadline=None)
@given(situations())
def test_every_missed_instant_names_an_outage_that_covers_it_or_overload(
    case: tuple[Timetable, datetime, MisfireRule, Situation],
) -> None:
    timetable, watermark, rule, at = case
    for entry in plan(timetable, watermark, rule, at):
        if entry.status is not RunStatus.MISSED:
            continue
        for instant in instants(timetable, entry):
            reasons = {o.reason for o in at.outages if o.start < instant <= o.end}
            assert (entry.reason in reasons) if reasons else (entry.reason == "overload")


def test_an_instant_that_is_handled_late_is_no_misfire() -> None:
    for policy in Misfire:
        rule = MisfireRule(policy=policy, window=SECOND)
        (entry,) = plan(table("0 * * * * *"), NOON - SECOND, rule, able(NOON + timedelta(seconds=40)))
        assert (entry.status, entry.kind, entry.first) == (RunStatus.RUNNING, RunKind.CRON, NOON)


def test_after_an_outage_the_latest_is_caught_up_and_the_rest_is_one_row() -> None:
    start = NOON - timedelta(hours=8)
    entries = plan(table("* * * * * *"), start, MisfireRule(), able(NOON, NOON, down(start, NOON)))
    assert spans(entries) == [("daemon_down", 8 * 3600 - 1)]
    assert [(e.kind, e.first) for e in runs(entries)] == [(RunKind.CRON, NOON)]
    half = NOON + timedelta(milliseconds=500)
    (_, caught_up) = plan(table("* * * * * *"), start, MisfireRule(), able(half, half, down(start, half)))
    assert (caught_up.kind, caught_up.first) == (RunKind.CATCH_UP, NOON)


def test_under_all_at_most_a_hundred_are_caught_up() -> None:
    start = NOON - timedelta(hours=1)
    rule = MisfireRule(policy=Misfire.ALL)
    half = NOON + timedelta(milliseconds=500)
    entries = plan(table("* * * * * *"), start, rule, able(half, half, down(start, half)))
    assert spans(entries) == [("daemon_down", 3500)]
    assert len(runs(entries)) == CATCH_UP_LIMIT


def test_an_instant_older_than_the_window_is_not_caught_up() -> None:
    now = NOON + timedelta(hours=2)
    rule = MisfireRule(window=timedelta(hours=1))
    entries = plan(table("0 0 12 * * *"), NOON - DAY, rule, able(now, now, down(NOON - DAY, now)))
    assert (runs(entries), spans(entries)) == ([], [("daemon_down", 1)])


def test_instants_that_a_burst_overran_are_overload() -> None:
    entries = plan(table("* * * * * *"), NOON - 5 * SECOND, MisfireRule(), able(NOON))
    assert (spans(entries), len(runs(entries))) == ([("overload", 4)], 1)


def test_several_causes_are_several_rows_and_overlapping_ones_share_no_instant() -> None:
    at = able(
        NOON + timedelta(milliseconds=100),
        NOON,
        down(NOON - 60 * SECOND, NOON - 30 * SECOND),
        down(NOON - 40 * SECOND, NOON - 20 * SECOND, "suspended"),
        down(NOON - 10 * SECOND, NOON - 5 * SECOND, "database_down"),
    )
    entries = plan(table("* * * * * *"), NOON - 70 * SECOND, MisfireRule(), at)
    assert spans(entries) == [
        ("overload", 10),
        ("daemon_down", 30),
        ("suspended", 10),
        ("overload", 10),
        ("database_down", 5),
        ("overload", 4),
    ]


def test_a_watermark_in_the_future_plans_nothing() -> None:
    assert plan(table("* * * * * *"), NOON + DAY, MisfireRule(), able(NOON)) == ()


def test_no_plan_costs_more_than_days_of_counting() -> None:
    """28,801 instants of one job after eight hours must not be walked through one by one."""
    ten_years = 3650 * DAY
    at = able(NOON, NOON, down(NOON - ten_years, NOON))
    entries = plan(table("* * * * * *"), NOON - ten_years, MisfireRule(policy=Misfire.SKIP), at)
    assert sum(e.count for e in entries) == 3650 * 86400


def test_under_gap_skip_the_swallowed_instant_has_a_row_and_is_told_once() -> None:
    """The gap comes after the last instant that runs: it must not be planned again from there."""
    skip = DstPolicy(gap=DstGap.SKIP)
    timetable = table("0 30 2 * * *", "America/New_York", skip)
    before, after = SPRING - DAY - timedelta(hours=1), SPRING + timedelta(hours=2)
    entries = plan(timetable, before, MisfireRule(), able(after, before))
    assert [(e.status, e.reason) for e in entries] == [
        (RunStatus.RUNNING, None),
        (RunStatus.SKIPPED, "dst_gap"),
    ]
    assert plan(timetable, entries[-1].last, MisfireRule(), able(after + timedelta(hours=1))) == ()


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_planning_in_two_steps_is_the_same_as_in_one(zone: str) -> None:
    timetable = table("0 */10 1-3 * * *", zone)
    rule = MisfireRule(policy=Misfire.ALL, window=10 * DAY)
    once = plan(timetable, SPRING - DAY, rule, able(SPRING + DAY, SPRING + DAY))
    first = plan(timetable, SPRING - DAY, rule, able(SPRING + timedelta(minutes=17), SPRING + DAY))
    second = plan(timetable, first[-1].last, rule, able(SPRING + DAY, SPRING + DAY))
    assert [e.first for e in (*first, *second)] == [e.first for e in once]
