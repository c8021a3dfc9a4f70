"""The claim on a real database: one row for each occurrence, whoever else claims at the same time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from scheduler_daemon.ledger.claims import OtherRevisionError
from scheduler_daemon.model import Overlap, RunKind, RunStatus

from .conftest import MANY, NOON, SECOND, MakeNode, Node, Query, cron, due, span

Runs = Any


async def test_a_granted_occurrence_is_running_before_it_is_handed_over(
    make_node: MakeNode, runs: Runs
) -> None:
    node = await make_node("a")
    granted = await node.claim(due("a", cron()))
    (run,) = granted.decision.runs()
    (row,) = runs()
    assert (row["id"], row["status"], row["kind"], row["planned"]) == (run.id, "running", "cron", True)
    assert (row["scheduled_for"], row["node"], row["claim_token"]) == (NOON + SECOND, node.id, granted.token)
    assert (row["boot_id"], row["revision"]) == (node.identity.boot_id, "r1")


async def test_the_same_instant_claimed_by_two_nodes_runs_once(make_node: MakeNode, runs: Runs) -> None:
    one, two = await make_node("a"), await make_node()
    grants = await asyncio.gather(*(node.claim(due("a", cron())) for node in (one, two)))
    assert sorted(len(g.decision.runs()) for g in grants) == [0, 1]
    assert sorted(g.decision.stale for g in grants) == [[], [("a", "", NOON + SECOND)]]
    assert len(runs()) == 1


async def test_a_stale_watermark_is_told_and_planning_goes_on_from_there(
    make_node: MakeNode, runs: Runs
) -> None:
    one, two = await make_node("a"), await make_node()
    await one.claim(due("a", cron(1)))
    refused = await two.claim(due("a", span(1, 4), cron(5)))
    assert refused.decision.stale == [("a", "", NOON + SECOND)]
    await two.claim(due("a", span(2, 4), cron(5), after=1))
    assert [(r["status"], r["instants"]) for r in runs()] == [("running", 1), ("missed", 3), ("skipped", 1)]


@pytest.mark.parametrize("rounds", [200])
async def test_races_of_cron_by_hand_and_two_nodes_never_give_two_live_runs_under_skip(
    make_node: MakeNode, query: Query, rounds: int
) -> None:
    """Each round three connections want the job at once; whoever got it ends it."""
    nodes = [await make_node("a"), await make_node(), await make_node()]
    granted: Counter[str] = Counter()
    for number in range(rounds):
        planned = [node.claim(due("a", cron(number + 1), after=number)) for node in nodes[:2]]
        await asyncio.gather(*planned, nodes[2].by_hand("a"))
        live = query("SELECT id, kind, claim_token FROM scheduler.runs WHERE status = 'running'")
        assert len(live) == 1, live
        granted[live[0]["kind"]] += 1
        await nodes[2].end(live[0]["id"], live[0]["claim_token"])
        while waiting := await nodes[0].start_next("a"):
            (row,) = query("SELECT claim_token FROM scheduler.runs WHERE id = %s", waiting[0])
            await nodes[0].end(waiting[0], row["claim_token"])
    assert query("SELECT 1 FROM scheduler.runs WHERE status IN ('queued', 'running')") == []
    (count,) = query("SELECT count(*) AS n FROM scheduler.runs WHERE planned")
    assert count["n"] == rounds
    assert granted["manual"] + granted["cron"] == rounds


async def test_jobs_that_share_a_key_exclude_each_other_across_nodes(
    make_node: MakeNode, query: Query
) -> None:
    one = await make_node("a", "b", key="k")
    two = await make_node()
    for number in range(60):
        await asyncio.gather(
            one.claim(due("a", cron(number + 1), after=number, key="k")),
            two.claim(due("b", cron(number + 1), after=number, key="k")),
        )
        (live,) = query("SELECT id, claim_token FROM scheduler.runs WHERE status IN ('queued', 'running')")
        await one.end(live["id"], live["claim_token"])


async def test_unsorted_batches_of_many_jobs_do_not_deadlock(make_node: MakeNode, query: Query) -> None:
    names = [f"job{n:02}" for n in range(40)]
    nodes = [await make_node(*names), await make_node(), await make_node()]
    shuffled = random.Random(7)

    async def claim_all(node: Node) -> None:
        marks = dict.fromkeys(names, 0)
        while pending := [name for name in names if marks[name] < 30]:
            batch = shuffled.sample(pending, k=min(len(pending), 25))
            claims = [due(n, cron(marks[n] + 1), after=marks[n], overlap=Overlap.ALLOW) for n in batch]
            decision = (await node.claim(*claims)).decision
            for name, _, watermark, *_ in (*decision.watermarks, *decision.stale):
                marks[name] = int((watermark - NOON) / SECOND)

    await asyncio.gather(*map(claim_all, nodes))
    (counted,) = query(
        "SELECT count(*) AS n, count(DISTINCT (job, scheduled_for)) AS different FROM scheduler.runs"
    )
    assert counted == {"n": 1200, "different": 1200}


async def test_under_another_revision_nothing_is_claimed(make_node: MakeNode, runs: Runs) -> None:
    one = await make_node("a")
    two = await make_node("a", revision="r2")
    for attempt in (one.claim(due("a", cron())), one.by_hand("a"), one.start_next("a")):
        with pytest.raises(OtherRevisionError, match="revision r2 of another node is in force"):
            await attempt
    assert runs() == []
    await two.claim(due("a", cron()))


async def test_a_span_is_one_row_that_grows_claim_by_claim(make_node: MakeNode, runs: Runs) -> None:
    node = await make_node("a")
    for number in range(20):
        await node.claim(due("a", cron(number + 1), after=number, enabled=False))
    (row,) = runs()
    assert (row["status"], row["reason"], row["instants"]) == ("skipped", "disabled", 20)
    assert (row["scheduled_for"], row["last_for"]) == (NOON + SECOND, NOON + 20 * SECOND)
    await node.claim(due("a", cron(21), after=20))
    await node.claim(due("a", cron(22), after=21, enabled=False))
    assert [(r["status"], r["instants"]) for r in runs()] == [("skipped", 20), ("running", 1), ("skipped", 1)]


async def test_a_span_also_grows_within_one_batch(make_node: MakeNode, runs: Runs) -> None:
    node = await make_node("a", "b")
    await node.claim(due("a", cron(1), enabled=False))
    off = [cron(n) for n in range(2, 7)]
    await node.claim(
        due("a", *off, after=1, enabled=False), due("b", *off, enabled=False), due("b", cron(9), after=3)
    )
    assert [r["instants"] for r in runs("a")] == [6]
    assert [r["instants"] for r in runs("b")] == [5]


async def test_disabled_by_an_operator_is_seen_under_the_lock_and_ends_with_its_time(
    make_node: MakeNode, query: Query, runs: Runs
) -> None:
    node = await make_node("a", "b")
    add = "INSERT INTO scheduler.overrides VALUES (%s, false, 'why', 'me', now(), now() + %s::interval)"
    query(add, "a", "1 hour")
    query(add, "b", "-1 second")
    await node.claim(due("a", cron()), due("b", cron()))
    assert runs("a", "status, reason") == [{"status": "skipped", "reason": "disabled"}]
    assert runs("b", "status, reason") == [{"status": "running", "reason": None}]


async def test_by_hand_collides_or_waits_and_a_planned_one_waits_behind_it(
    make_node: MakeNode, runs: Runs
) -> None:
    node = await make_node("a")
    first, token, _ = await node.by_hand("a")
    refused, _, blocker = await node.by_hand("a")
    assert (refused.status.live, blocker) == (False, first.id)
    queued, _, _ = await node.by_hand("a", queue=True)
    assert queued.status is RunStatus.QUEUED
    await node.claim(due("a", cron(1)))
    await node.claim(due("a", cron(2), after=1))
    told = [(r["kind"], r["status"], r["waiting"] or r["reason"]) for r in runs()]
    assert told == [
        ("manual", "running", None),
        ("manual", "queued", "overlap"),
        ("cron", "queued", "overlap"),
        ("cron", "skipped", "overlap"),
    ]
    assert await node.start_next("a") == []
    await node.end(first.id, token)
    assert await node.start_next("a") == [queued.id]
    assert await node.start_next("a") == []


async def test_two_by_hand_of_a_job_that_no_entry_schedules_collide_too(
    make_node: MakeNode, query: Query
) -> None:
    nodes = [await make_node("a"), await make_node()]
    for _ in range(60):
        found = await asyncio.gather(*(node.by_hand("unscheduled") for node in nodes))
        assert sorted(run.status.live for run, _, _ in found) == [False, True]
        run, token, _ = next(one for one in found if one[0].status.live)
        await nodes[0].end(run.id, token)


async def test_what_the_pool_cannot_take_waits_for_a_worker_and_starts_once(
    make_node: MakeNode, runs: Runs
) -> None:
    one, two = await make_node("a", "b", "c"), await make_node()
    granted = await one.claim(*(due(name, cron()) for name in "abc"), capacity=1)
    waiting = [run.id for run in granted.decision.runs() if run.waiting == "worker"]
    assert len(waiting) == 2
    started = await asyncio.gather(*(node.claims.start_granted(waiting) for node in (one, two)))
    assert sorted(len(ids) for ids, _ in started) == [0, 2]
    assert {r["status"] for name in "abc" for r in runs(name)} == {"running"}


async def test_waiting_runs_of_one_key_start_one_by_one_first_come_first_served(make_node: MakeNode) -> None:
    node = await make_node("a", "b", key="k")
    first, token, _ = await node.by_hand("a", key="k")
    waiting = [(await node.by_hand(job, key="k", queue=True))[0].id for job in "ab" * 3]
    ended = []
    run = first.id
    while True:
        await node.end(run, token)
        started = await node.start_next("k")
        if not started:
            break
        (run,) = started
        token = (await node.presence.own_live())[0].claim_token or token
        ended.append(run)
    assert ended == waiting


async def test_a_run_of_another_node_or_scope_is_not_started_here(make_node: MakeNode, runs: Runs) -> None:
    one = await make_node("a", nodes="every")
    two = await make_node()
    first, token, _ = await one.by_hand("a", scope=str(one.id))
    waits, _, _ = await one.by_hand("a", scope=str(one.id), queue=True)
    await one.end(first.id, token)
    assert await two.start_next("a") == []
    assert await one.start_next("a") == [waits.id]


async def test_a_startup_run_waits_for_the_daemon_that_asked_for_it(make_node: MakeNode) -> None:
    one, two = await make_node("a"), await make_node()
    first, token, _ = await one.by_hand("a", kind=RunKind.STARTUP)
    waits, _, _ = await two.by_hand("a", kind=RunKind.STARTUP, queue=True)
    await one.end(first.id, token)
    assert await one.start_next("a") == []
    assert await two.start_next("a") == [waits.id]


async def test_the_copies_of_an_every_node_job_run_side_by_side(make_node: MakeNode, runs: Runs) -> None:
    one, two = await make_node("a", nodes="every"), await make_node("a", nodes="every")
    for node in (one, two):
        await node.claim(due("a", cron(1), scope=str(node.id)))
        await node.claim(due("a", cron(2), after=1, scope=str(node.id)))
    assert [(r["status"], r["scope"]) for r in runs()] == [
        ("running", str(one.id)),
        ("skipped", str(one.id)),
        ("running", str(two.id)),
        ("skipped", str(two.id)),
    ]


async def test_a_run_that_has_ended_is_in_nobodys_way_though_its_row_does_not_say_so_yet(
    make_node: MakeNode, runs: Runs
) -> None:
    """Ends are written some milliseconds later, in batches: too late for the instant that comes just then."""
    node = await make_node("a")
    (first,) = (await node.claim(due("a", cron(1)))).decision.runs()
    skipped = await node.claim(due("a", cron(2), after=1))
    assert [run.status for run in skipped.decision.inserts] == [RunStatus.SKIPPED]

    node.claims.over = lambda: {str(first.id)}
    (second,) = (await node.claim(due("a", cron(3), after=2))).decision.runs()
    _, _, blocker = await node.by_hand("a")
    assert (second.status, blocker) == (RunStatus.RUNNING, second.id)


async def test_a_thousand_claims_are_one_transaction_of_two_round_trips(
    make_node: MakeNode, query: Query
) -> None:
    names = [f"job{n:04}" for n in range(MANY)]
    node = await make_node(*names)
    query("SELECT pg_stat_reset()")
    granted = await node.claim(*(due(name, cron()) for name in names))
    assert len(granted.decision.runs()) == MANY
    assert query("SELECT count(DISTINCT xmin::text) AS n FROM scheduler.runs") == [{"n": 1}]
    assert query("SELECT count(*) AS n FROM scheduler.schedules WHERE watermark > %s", NOON) == [{"n": MANY}]


async def test_a_watermark_in_the_future_is_cleared_and_what_it_covers_runs_again(
    make_node: MakeNode, runs: Runs
) -> None:
    """Under a clock that was an hour ahead, the next hour was written off and its last instant ran."""
    node = await make_node("a")
    await node.claim(due("a", span(1, 3599), cron(3600)))
    now = NOON + 60 * SECOND
    assert await node.plans.clear_watermark("a", now) == NOON + 3600 * SECOND
    assert await node.plans.clear_watermark("a", now) is None
    await node.claim(due("a", cron(61), after=60, overlap=Overlap.ALLOW))
    await node.claim(due("a", cron(3600), after=61, overlap=Overlap.ALLOW))
    assert [r["scheduled_for"] for r in runs() if r["status"] == "running" and r["planned"]] == [
        NOON + 61 * SECOND,
        NOON + 3600 * SECOND,
    ]
