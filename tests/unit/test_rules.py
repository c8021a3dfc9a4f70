"""The overlap rules, pure: every policy × every kind of run in the way, spans, shared keys, scopes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from scheduler_daemon.ledger.rules import Arbiter, overlap_verdict
from scheduler_daemon.ledger.values import Claim, Decision, Entry, LiveRun, ScheduleState, new_run_id
from scheduler_daemon.model import Overlap, RunKind, RunStatus

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
R, Q, S = RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.SKIPPED
CRON, MANUAL, STARTUP, CATCH_UP, RETRY = (
    RunKind.CRON,
    RunKind.MANUAL,
    RunKind.STARTUP,
    RunKind.CATCH_UP,
    RunKind.RETRY,
)


def live(kind: RunKind = CRON, waiting: str | None = None, job: str = "a", scope: str = "") -> LiveRun:
    return LiveRun(new_run_id(), job, kind, Q if waiting else R, waiting=waiting, scope=scope)


def state(
    job: str = "a", *, override: bool | None = None, span: tuple[UUID, str] | None = None
) -> ScheduleState:
    run, key = span or (None, None)
    return ScheduleState(job, "", NOON, run, key, override)


def cron(number: int = 1, **rest: object) -> Entry:
    moment = NOON + number * SECOND
    return Entry(first=moment, last=moment, **rest)


def missed(first: int, last: int, reason: str = "daemon_down") -> Entry:
    return Entry(
        first=NOON + first * SECOND,
        last=NOON + last * SECOND,
        count=last - first + 1,
        status=RunStatus.MISSED,
        reason=reason,
    )


def claim(
    *entries: Entry, job: str = "a", key: str = "", overlap: Overlap = Overlap.SKIP, **rest: object
) -> Claim:
    return Claim(
        job=job,
        concurrency=key or job,
        overlap=overlap,
        watermark=NOON,
        until=max(e.last for e in entries),
        entries=entries,
        **rest,
    )


def decide(
    claims: Sequence[Claim],
    in_the_way: Sequence[LiveRun] = (),
    *,
    key: str = "a",
    capacity: int = 100,
    **rest: object,
) -> Decision:
    states = rest.pop("states", None) or [state(c.job) for c in claims]
    arbiter = Arbiter(states, {key: list(in_the_way)}, capacity)
    for one in claims:
        arbiter.decide(one)
    return arbiter.decision


def told(decision: Decision) -> list[tuple[RunStatus, str | None]]:
    return [(run.status, run.reason or run.waiting) for run in decision.inserts]


@pytest.mark.parametrize(
    ("overlap", "in_the_way", "verdict"),
    [
        (Overlap.SKIP, [], R),
        (Overlap.SKIP, [live(CRON)], S),
        (Overlap.SKIP, [live(CATCH_UP)], S),
        (Overlap.SKIP, [live(RETRY)], S),
        (Overlap.SKIP, [live(RETRY, "retry")], R),
        (Overlap.SKIP, [live(MANUAL)], Q),
        (Overlap.SKIP, [live(STARTUP)], Q),
        (Overlap.SKIP, [live(MANUAL), live(CRON, "overlap")], S),
        (Overlap.SKIP, [live(MANUAL), live(MANUAL, "overlap")], Q),
        (Overlap.SKIP, [live(CRON), live(MANUAL, "overlap")], S),
        (Overlap.SKIP, [live(CRON, "worker")], S),
        (Overlap.QUEUE, [live(CRON)], Q),
        (Overlap.QUEUE, [live(CRON), live(CRON, "overlap")], S),
        (Overlap.QUEUE, [live(CRON), live(MANUAL, "overlap")], Q),
        (Overlap.QUEUE, [live(MANUAL)], Q),
        (Overlap.ALLOW, [live(CRON), live(CRON, "overlap")], R),
        (Overlap.CANCEL_PREVIOUS, [live(CRON), live(CRON, "overlap")], Q),
        (Overlap.CANCEL_PREVIOUS, [], R),
    ],
)  # fmt: skip
def test_what_a_cron_occurrence_does_about_what_is_in_its_way(
    overlap: Overlap, in_the_way: list[LiveRun], verdict: RunStatus
) -> None:
    found, blocker = overlap_verdict(overlap, CRON, in_the_way)
    assert found is verdict
    assert (blocker is None) is (verdict is R)


@pytest.mark.parametrize("overlap", list(Overlap))
def test_a_catch_up_waits_its_turn_under_every_policy(overlap: Overlap) -> None:
    verdict, _ = overlap_verdict(overlap, CATCH_UP, [live(CRON), live(CATCH_UP, "overlap")])
    assert verdict is (R if overlap is Overlap.ALLOW else Q)


def test_jobs_that_share_a_concurrency_key_are_in_each_others_way() -> None:
    decision = decide([claim(cron(), job="a", key="k"), claim(cron(), job="b", key="k")], key="k")
    assert told(decision) == [(R, None), (S, "overlap")]
    assert decision.inserts[1].blocked_by == decision.inserts[0].id


def test_several_instants_of_one_claim_see_each_other() -> None:
    entries = [cron(n, kind=CATCH_UP) for n in (1, 2)] + [cron(3)]
    assert told(decide([claim(*entries)])) == [(R, None), (Q, "overlap"), (S, "overlap")]
    assert told(decide([claim(*entries, overlap=Overlap.QUEUE)])) == [
        (R, None),
        (Q, "overlap"),
        (S, "overlap"),
    ]
    assert told(decide([claim(*entries, overlap=Overlap.ALLOW)])) == [(R, None)] * 3
    allowed = decide([claim(*entries, overlap=Overlap.CANCEL_PREVIOUS)])
    assert told(allowed) == [(R, None), (Q, "overlap"), (Q, "overlap")]
    assert set(allowed.to_cancel) == {run.id for run in allowed.inserts[:2]}


def test_what_the_pool_cannot_take_waits_for_a_worker() -> None:
    claims = [claim(cron(), job=name) for name in "abc"]
    assert told(decide(claims, capacity=2)) == [(R, None), (R, None), (Q, "worker")]


def test_a_span_is_one_row_in_a_batch_and_one_extension_in_the_next() -> None:
    off = claim(*(cron(n) for n in range(1, 6)), enabled=False)
    first = decide([off])
    (row,) = first.inserts
    assert (row.status, row.reason, row.count, row.last) == (S, "disabled", 5, NOON + 5 * SECOND)
    (mark,) = first.watermarks
    assert mark[3:] == (row.id, "skipped:disabled:")
    again = decide([off], states=[state(span=(row.id, "skipped:disabled:"))])
    assert again.inserts == []
    (extension,) = again.extensions
    assert (extension.run, extension.count, extension.last) == (row.id, 5, NOON + 5 * SECOND)


def test_a_span_ends_when_something_runs_or_the_reason_changes() -> None:
    decision = decide([claim(missed(1, 5), missed(6, 7, "suspended"), cron(8), missed(9, 9, "suspended"))])
    assert [(run.reason, run.count) for run in decision.inserts] == [
        ("daemon_down", 5),
        ("suspended", 2),
        (None, 1),
        ("suspended", 1),
    ]
    assert decision.extensions == []


def test_skips_behind_one_blocker_are_one_span_and_behind_another_a_new_one() -> None:
    blocker = live(CRON)
    decision = decide([claim(cron(1), cron(2))], [blocker])
    (row,) = decision.inserts
    assert (row.count, row.blocked_by) == (2, blocker.id)
    other = live(CRON)
    again = decide([claim(cron(3))], [other], states=[state(span=(row.id, f"skipped:overlap:{blocker.id}"))])
    assert again.extensions == []
    assert again.inserts[0].blocked_by == other.id


def test_disabled_wins_over_missed_and_unavailable_over_what_would_run() -> None:
    assert told(decide([claim(missed(1, 5), cron(6), enabled=False)])) == [(S, "disabled")]
    broken = decide([claim(missed(1, 5), cron(6), unavailable="no such job")])
    assert told(broken) == [(RunStatus.MISSED, "daemon_down"), (S, "unavailable")]
    assert broken.inserts[1].message == "no such job"


@pytest.mark.parametrize(
    ("in_file", "override", "runs"), [(True, False, S), (False, True, R), (False, None, S)]
)
def test_the_operators_word_wins_over_the_file(in_file: bool, override: bool | None, runs: RunStatus) -> None:
    decision = decide([claim(cron(), enabled=in_file)], states=[state(override=override)])
    assert decision.inserts[0].status is runs


def test_a_claim_from_another_watermark_writes_nothing_and_says_which_is_right() -> None:
    stale = ScheduleState("a", "", NOON + SECOND, None, None, None)
    decision = decide([claim(cron())], states=[stale])
    assert (decision.inserts, decision.watermarks) == ([], [])
    assert decision.stale == [("a", "", NOON + SECOND)]


def test_a_row_beside_the_plan_neither_opens_nor_ends_a_span() -> None:
    gap = Entry(
        first=NOON + 2 * SECOND,
        last=NOON + 2 * SECOND,
        status=S,
        reason="dst_gap",
        planned=False,
        note="text",
    )
    decision = decide([claim(missed(1, 1), gap, missed(3, 4))])
    assert [(run.reason, run.count, run.planned) for run in decision.inserts] == [
        ("daemon_down", 3, True),
        ("dst_gap", 1, False),
    ]


def test_a_job_of_every_node_is_in_the_way_of_this_nodes_copy_only() -> None:
    theirs, ours, common = live(scope="node-1"), live(scope="node-2"), live()
    for in_the_way, verdict in (([theirs], R), ([ours], S), ([common], S)):
        mine = claim(cron(), scope="node-2")
        known = [ScheduleState("a", "node-2", NOON, None, None, None)]
        assert decide([mine], in_the_way, states=known).inserts[0].status is verdict
    assert decide([claim(cron())], [theirs]).inserts[0].status is S


def test_run_ids_are_uuid7_in_the_order_in_which_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_run_id() for _ in range(10_000)]
    assert {(i.version, i.variant) for i in ids} == {(7, "specified in RFC 4122")}
    assert ids == sorted(set(ids))
    assert 0 <= (ids[0].int >> 80) - before < 10_000
    frozen = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: frozen)
    ids = [new_run_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    monkeypatch.setattr(time, "time_ns", lambda: frozen - 3600 * 10**9)
    assert (new_run_id().int >> 80) == (frozen // 1_000_000) - 3_600_000
