"""The facts behind an answer, each as one sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from scheduler_daemon.ledger.history import Row
from scheduler_daemon.model import DstGap, DstOverlap, RunKind
from scheduler_daemon.operations.reports import Evidence
from scheduler_daemon.operations.why import Case, Plan

LATE = timedelta(seconds=5)
ELAPSING = "a schedule that starts with * in minute or hour"
CAUSES = {
    "daemon_down": "no daemon was running",
    "database_down": "the database was away",
    "suspended": "the machine was suspended, or its clock was set forward",
    "overload": "a later instant was due before it could be started",
    "restored": "the database had been restored or copied, and nobody had accepted it yet",
    "clock_skew": "this machine's clock was too far off the database's",
    "other_revision": "another node's configuration was in force",
}
_PASSES = {
    DstOverlap.FIRST: "the first time only",
    DstOverlap.SECOND: "the second time only",
    DstOverlap.BOTH: "both times",
}


def about_the_time(case: Case) -> Iterator[Evidence]:
    """What the clock did at the time that was asked about, and what the schedule makes of it."""
    one, plan = case.asked, case.plan
    fixed = plan is not None and plan.table.expression.fixed_time
    if one.swallowed is not None:
        after = at(one.start, case.zone)
        text = f"{one.swallowed} did not exist in {case.zone.key}: the clock went straight to {after}"
        yield Evidence(what="clock", text=text, at=one.start)
        if plan is not None:
            yield Evidence(what="rule", text=_gap_rule(plan, one.start, fixed=fixed))
    if one.repeated is not None:
        text = f"the clock of {case.zone.key} showed this time twice, {span(one.repeated)} apart"
        yield Evidence(what="clock", text=text, at=one.start)
        if plan is not None:
            policy = plan.table.dst.overlap if fixed else DstOverlap.BOTH
            kind = "a schedule with a fixed time" if fixed else ELAPSING
            yield Evidence(what="rule", text=f"{kind} fires {_PASSES[policy]}")


def _gap_rule(plan: Plan, jump: datetime, *, fixed: bool) -> str:
    if not fixed:
        return f"{ELAPSING} has no instants in the jump"
    before = jump - timedelta(seconds=1)
    if not any(True for _ in plan.table.expression.gaps(before, jump, plan.table.zone)):
        return "the schedule has no instant that the jump swallowed"
    if plan.table.dst.gap is DstGap.AFTER:
        return "dst.gap: after lets what the jump swallowed fire once, right after it (Debian cron's rule)"
    return "dst.gap: skip drops instants that the jump swallowed"


def of_start(case: Case, row: Row) -> Iterator[Evidence]:
    zone, started = case.zone, row["started_at"]
    if row["kind"] == RunKind.CATCH_UP.value:
        text = "it was caught up: its time passed while nothing could run"
        yield Evidence(what="rule", text=text)
        if case.outage is not None:
            yield of_outage(case.outage, zone)
    if started is None:
        yield Evidence(what="run", text=f"run {row['id']} never started", run=str(row["id"]))
        return
    late = timedelta(milliseconds=row["lateness_ms"] or 0)
    after = seconds(row["lateness_ms"] or 0)
    text = f"run {row['id']} started at {at(started, zone)}, {after} after its time"
    yield Evidence(what="run", text=text, at=started, run=str(row["id"]))
    if late > LATE and case.blocker is not None:
        yield of_run(case.blocker, "blocker", zone, "it waited for")
    elif late > LATE and row["kind"] != RunKind.CATCH_UP.value:
        yield Evidence(what="lateness", text="it waited for a free worker")


def tally(case: Case) -> Evidence:
    counts: dict[str, int] = {}
    for row in case.rows:
        name = row["status"].replace("_", " ")
        counts[name] = counts.get(name, 0) + max(1, _inside(case, row))
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return Evidence(
        what="tally",
        text=f"{case.instants:,} instants are meant ({told}); this is about the one of {_instant(case)}",
    )


def _inside(case: Case, row: Row) -> int:
    """How many instants of a row's span lie in what was asked about."""
    if row["instants"] == 1 or case.plan is None:
        return 1
    second = timedelta(seconds=1)
    first, last = max(row["scheduled_for"], case.asked.start), min(row["last_for"], case.asked.end - second)
    return case.plan.table.count(first - second, last)


def _instant(case: Case) -> str:
    return at(case.instant, case.zone) if case.instant else "?"


def in_force(case: Case, plan: Plan) -> Iterator[Evidence]:
    until = case.stretch.after
    end = f" until {at(until.in_force_from, case.zone)}" if until else ""
    start = plan.revision.in_force_from
    text = f"revision {plan.revision.hash[:12]} was in force from {at(start, case.zone)}{end}"
    yield Evidence(what="configuration", text=text, at=start)


def in_its_way(case: Case) -> Iterator[Evidence]:
    """What would keep it from running as things are now."""
    if case.unavailable_today:
        yield Evidence(what="today", text=f"it is unavailable: {case.unavailable_today}")
    elif not case.enabled_today:
        yield Evidence(what="today", text="it is disabled, and would be skipped")


def others(case: Case) -> Iterator[Evidence]:
    for row in case.others:
        yield of_run(row, "other", case.zone, f"outside the plan, a {row['kind']} run was there, too:")


def of_run(row: Row, what: str, zone: ZoneInfo, intro: str) -> Evidence:
    start = row["started_at"] or row["claimed_at"]
    end = f" to {at(row['finished_at'], zone)}" if row["finished_at"] else ", still under way"
    by = f" by {row['actor']}" if row["actor"] else ""
    what_ran = f"run {row['id']} of {row['job']} ({row['kind']}{by})"
    text = f"{intro} {what_ran}: {at(start, zone)}{end}, {row['status']}"
    return Evidence(what=what, text=text, at=start, run=str(row["id"]))


def of_action(row: Row, verb: str, zone: ZoneInfo) -> Evidence:
    who = f"{row['user_name']} (uid {row['uid']}, pid {row['pid']})"
    after: Mapping[str, Any] = row["after"] if isinstance(row["after"], Mapping) else {}
    reason = f", because: {after['reason']}" if after.get("reason") else ""
    until = f", until {at(datetime.fromisoformat(after['until']), zone)}" if after.get("until") else ""
    return Evidence(
        what="action", text=f"{who} {verb} it at {at(row['at'], zone)}{until}{reason}", at=row["at"]
    )


def of_outage(row: Row, zone: ZoneInfo) -> Evidence:
    before: Mapping[str, Any] = row["before"] if isinstance(row["before"], Mapping) else {}
    since = before.get("from")
    start = at(datetime.fromisoformat(since), zone) if since else "before anyone remembers"
    if row["action"] == "start":
        how = "was stopped" if before.get("stopped") else "gave its last sign of life"
        text = f"the daemon {how} at {start}; the next one started at {at(row['at'], zone)}"
    else:
        reason = (row["after"] or {}).get("reason", "")
        text = f"{CAUSES.get(reason, reason)}, from {start} to {at(row['at'], zone)}"
    return Evidence(what="outage", text=text, at=row["at"])


def at(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def seconds(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if abs(milliseconds) < 1000 else f"{milliseconds / 1000:,.1f} s"


def span(length: timedelta) -> str:
    hours, rest = divmod(length.total_seconds(), 3600)
    return f"{hours:g} h" if not rest else f"{length.total_seconds() / 60:g} min"


def first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
