"""A case in words: one sentence of answer, the evidence, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scheduler_daemon.ledger.history import Row
from scheduler_daemon.operations.evidence import (
    CAUSES,
    about_the_time,
    at,
    first_line,
    in_force,
    in_its_way,
    of_action,
    of_outage,
    of_run,
    of_start,
    others,
    seconds,
    span,
    tally,
)
from scheduler_daemon.operations.reports import Evidence
from scheduler_daemon.operations.why import Case, Plan

CLI = "systemprompt infra"


@dataclass(kw_only=True)
class Explanation:
    verdict: str
    answer: str
    evidence: list[Evidence] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)


def explain(case: Case) -> Explanation:
    if case.plan is None:
        told = _without_plan(case)
    elif case.row is not None:
        told = _with_row(case, case.row)
    elif case.instant is None:
        told = _not_planned(case, case.plan)
    else:
        told = _without_row(case, case.instant)
    told.evidence[:0] = about_the_time(case)
    told.evidence += others(case)
    return told


def _with_row(case: Case, row: Row) -> Explanation:
    verdict = row["status"] + (f":{row['reason']}" if row["reason"] else "")
    told = _VERDICTS[row["status"]](case, row)
    told.verdict = verdict
    if case.instants > 1:
        told.evidence.insert(0, tally(case))
    if row["instants"] > 1:
        first, last = at(row["scheduled_for"], case.zone), at(row["last_for"], case.zone)
        told.evidence.append(
            Evidence(what="span", text=f"the same holds for {row['instants']:,} instants, {first} to {last}")
        )
    return told


def _ended(case: Case, row: Row) -> Explanation:
    """It ran, and it ended somehow."""
    status = row["status"].replace("_", " ")
    word = "in" if status in ("succeeded", "failed") else "after"
    took = f" {word} {seconds(row['duration_ms'])}" if row["duration_ms"] is not None else ""
    said = first_line(row["error"]) or first_line(row["message"])
    verb = "ran and succeeded" if row["status"] == "succeeded" else f"ran, and {_WAS[status]}"
    told = Explanation(verdict="", answer=f"It {verb}{took}" + (f": {said}" if said else ""))
    told.evidence += of_start(case, row)
    if row["status"] == "cancelled" and case.cancel is not None:
        told.evidence.append(of_action(case.cancel, "cancelled", case.zone))
    if row["status"] != "succeeded":
        told.advice += _after_failure(case, row)
    return told


def _live(case: Case, row: Row) -> Explanation:
    if row["status"] == "running":
        since = f" since {at(row['started_at'], case.zone)}" if row["started_at"] else ""
        told = Explanation(verdict="", answer=f"It is running{since}")
        told.advice.append(f"watch its log: {CLI} logs follow --run {row['id']}")
        return told
    waits = {
        "worker": "every worker is busy, and workers.max allows no more",
        "overlap": "another run is in its way",
        "retry": "it waits for its time to be tried again",
    }.get(row["waiting"], "it waits")
    told = Explanation(verdict="", answer=f"It is due and waits: {waits}")
    if case.blocker is not None:
        told.evidence.append(of_run(case.blocker, "blocker", case.zone, "it waits for"))
        told.advice.append(f"end the run in its way: {CLI} jobs cancel {case.blocker['id']}")
    return told


def _skipped(case: Case, row: Row) -> Explanation:
    return _SKIPS.get(row["reason"], _skipped_otherwise)(case, row)


def _skipped_overlap(case: Case, row: Row) -> Explanation:
    told = Explanation(
        verdict="", answer="It did not run: an earlier run was still under way, and overlap is skip"
    )
    if case.blocker is not None:
        told.evidence.append(of_run(case.blocker, "blocker", case.zone, "in its way was"))
    told.advice += [
        "let it wait for its turn: overlap: queue",
        "give a run that takes too long an end: timeout: …; or fire less often",
    ]
    return told


def _skipped_disabled(case: Case, row: Row) -> Explanation:
    told = Explanation(verdict="", answer="It did not run: it was disabled")
    switch, plan = case.switch, case.plan
    if switch is not None and switch["action"] == "disable":
        told.answer += f" by {switch['user_name']}"
        told.evidence.append(of_action(switch, "disabled", case.zone))
        told.advice.append(f"enable it: {CLI} jobs enable {case.job}")
    elif plan is not None and not plan.scheduler_enabled:
        text = f"scheduler.enabled was false in revision {plan.revision.hash[:12]}"
        told.evidence.append(Evidence(what="configuration", text=text, at=plan.revision.in_force_from))
        told.advice.append("set scheduler.enabled: true and reload")
    elif plan is not None and not plan.spec.enabled:
        text = f"enabled was false in revision {plan.revision.hash[:12]}"
        told.evidence.append(Evidence(what="configuration", text=text, at=plan.revision.in_force_from))
        told.advice.append(f"set enabled: true and reload, or: {CLI} jobs enable {case.job}")
    if case.today is not None and case.today.spec.enabled and told.advice:
        told.advice[-1] += f" (see {CLI} jobs show {case.job} for its state now)"
    return told


def _skipped_unavailable(case: Case, row: Row) -> Explanation:
    told = Explanation(verdict="", answer=f"It did not run: {row['message'] or 'its code was not there'}")
    now = case.unavailable_today
    told.evidence.append(
        Evidence(what="today", text=f"it still is unavailable: {now}" if now else "by now it is available")
    )
    if now:
        told.advice.append(f"install or repair the extension, then: {CLI} scheduler reload")
    return told


def _skipped_gap(case: Case, row: Row) -> Explanation:
    told = Explanation(verdict="", answer=f"It did not run: {row['message']}, and dst.gap is skip")
    told.evidence.append(
        Evidence(what="rule", text="dst.gap: skip drops instants that do not exist (OCPS 1.4, 4.3.1)")
    )
    told.advice.append("let it run at the first instant after the jump: dst: {gap: after}")
    return told


def _skipped_otherwise(case: Case, row: Row) -> Explanation:
    return Explanation(verdict="", answer=f"It did not run: {row['message'] or row['reason'] or 'skipped'}")


def _missed(case: Case, row: Row) -> Explanation:
    cause = CAUSES.get(row["reason"], str(row["reason"]))
    told = Explanation(verdict="", answer=f"It did not run: {cause}")
    if case.outage is not None:
        told.evidence.append(of_outage(case.outage, case.zone))
    elif row["reason"] != "overload":
        text = f"accounted for at {at(row['claimed_at'], case.zone)}, when something could run again"
        told.evidence.append(Evidence(what="accounted", text=text, at=row["claimed_at"]))
    spec = case.plan.spec if case.plan else None
    if spec is not None:
        window = span(spec.misfire_window)
        text = f"misfire was {spec.misfire.value}, within {window}: {_MISFIRES[spec.misfire.value]}"
        told.evidence.append(Evidence(what="rule", text=text))
    if case.resumed is not None:
        told.evidence.append(of_run(case.resumed, "resumed", case.zone, "the next instant that ran was"))
    told.advice.append(f"run it now: {CLI} jobs run {case.job}")
    return told


def _not_planned(case: Case, plan: Plan) -> Explanation:
    spec = plan.spec
    told = Explanation(
        verdict="not_planned",
        answer=f"Its schedule had no instant then: {spec.schedule} ({plan.table.expression.describe()}), "
        f"in {spec.timezone}",
    )
    told.evidence += in_force(case, plan)
    today = case.today
    if today is not None and today.table != plan.table:
        first, last = case.asked.start, case.asked.end
        if today.table.count(first - timedelta(seconds=1), last - timedelta(seconds=1)):
            text = f"today's schedule {today.spec.schedule} has one then, but it was not in force yet"
            told.evidence.append(Evidence(what="today", text=text))
    told.advice.append(f"see when it fires: {CLI} jobs next {case.job}")
    return told


def _without_row(case: Case, instant: datetime) -> Explanation:
    """Planned, and nothing has become of it: not yet, held, too long ago, or never accounted for."""
    when = at(instant, case.zone)
    if instant > case.now:
        told = Explanation(verdict="future", answer=f"It is planned for {when}, which is still to come")
        told.evidence += in_its_way(case)
        return told
    accounted = case.accounted
    if accounted is not None and instant <= accounted.start:
        since = at(accounted.start, case.zone)
        return Explanation(
            verdict="before_records",
            answer=f"It was planned for {when}; the ledger accounts for this job only since {since}",
            advice=["keep more: history.keep, history.max_per_job"],
        )
    if accounted is None or instant > accounted.until:
        told = Explanation(verdict="pending", answer=f"It is due since {when}, and not yet handled")
        told.evidence += [Evidence(what="held", text=why) for why in case.held]
        told.advice.append(f"see what holds it: {CLI} scheduler status")
        return told
    return Explanation(
        verdict="unaccounted",
        answer=f"It was planned for {when}, and no row accounts for it: this should not happen",
        advice=[f"check the whole ledger of this job: {CLI} jobs audit --job {case.job}"],
    )


def _not_due_yet(case: Case, since: datetime) -> Explanation:
    told = Explanation(
        verdict="not_due_yet",
        answer=f"It has not been due yet: the configuration names it since {at(since, case.zone)}",
    )
    told.evidence += in_its_way(case)
    told.advice.append(f"see when it fires: {CLI} jobs next {case.job}")
    return told


def _without_plan(case: Case) -> Explanation:
    if case.by_default and case.known.before is None and case.known.after is not None:
        return _not_due_yet(case, case.known.after.in_force_from)
    if case.stretch.at is None:
        first = case.stretch.after
        since = f"; the first one was in force from {at(first.in_force_from, case.zone)}" if first else ""
        return Explanation(verdict="before_records", answer=f"No configuration was in force then{since}")
    told = Explanation(verdict="not_in_configuration", answer="No entry of the configuration named it then")
    text = f"revision {case.stretch.at.hash[:12]} was in force"
    told.evidence.append(Evidence(what="configuration", text=text, at=case.stretch.at.in_force_from))
    for revision, text in (
        (case.known.before, "it was there before, in revision"),
        (case.known.after, "it came with revision"),
    ):
        if revision is not None:
            since = f"{text} {revision.hash[:12]}, in force from {at(revision.in_force_from, case.zone)}"
            told.evidence.append(Evidence(what="configuration", text=since, at=revision.in_force_from))
    if case.today is None:
        told.advice.append("add an entry to scheduler.jobs and reload")
    return told


def _after_failure(case: Case, row: Row) -> Iterator[str]:
    yield f"read its log: {CLI} logs view --run {row['id']} -n 200"
    if row["status"] == "timed_out":
        yield "give it more time: timeout: …"
    if row["status"] == "lost":
        yield "run lost runs again by themselves: on_lost: rerun"
    yield f"run it again: {CLI} jobs run {case.job}"


_WAS = {
    "failed": "failed",
    "timed out": "timed out",
    "cancelled": "was cancelled",
    "lost": "was lost",
}
_MISFIRES = {
    "latest": "of what was missed only the latest instant is run",
    "skip": "nothing of what was missed is run",
    "all": "what was missed is run, at most 100 instants",
}
_SKIPS: Mapping[str, Callable[[Case, Row], Explanation]] = {
    "overlap": _skipped_overlap,
    "disabled": _skipped_disabled,
    "unavailable": _skipped_unavailable,
    "dst_gap": _skipped_gap,
}
_VERDICTS: Mapping[str, Callable[[Case, Row], Explanation]] = {
    "succeeded": _ended,
    "failed": _ended,
    "timed_out": _ended,
    "cancelled": _ended,
    "lost": _ended,
    "running": _live,
    "queued": _live,
    "skipped": _skipped,
    "missed": _missed,
}
