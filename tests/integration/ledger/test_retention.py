"""Pruning: by age and by count, in small batches; what is promised moves along in the same transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from scheduler_daemon.ledger.outcomes import Batch
from scheduler_daemon.model import LogRecord, Overlap

from .conftest import NOON, SECOND, MakeNode, Node, Query, cron, due, span

Runs = Any
NEVER = NOON - timedelta(days=30_000)


async def ran(node: Node, count: int, job: str = "a", start: int = 0) -> None:
    """`count` planned runs, one a second, all ended."""
    for number in range(start, start + count):
        granted = await node.claim(due(job, cron(number + 1), after=number))
        (run,) = granted.decision.runs()
        await node.end(run.id, granted.token)


async def prune(node: Node, job: str = "a", **wanted: Any) -> int:
    return await node.history.prune(job, **{"before": NEVER, "max_per_job": 10_000, "batch": 500, **wanted})


async def test_what_goes_beyond_the_count_goes_oldest_first_and_audited_from_moves_along(
    make_node: MakeNode, query: Query, runs: Runs
) -> None:
    node = await make_node("a", "b")
    await ran(node, 10)
    await ran(node, 3, "b")
    assert await prune(node, max_per_job=4) == 6
    assert [row["scheduled_for"] for row in runs()] == [NOON + n * SECOND for n in (7, 8, 9, 10)]
    assert query("SELECT job, audited_from FROM scheduler.schedules ORDER BY job") == [
        {"job": "a", "audited_from": NOON + 6 * SECOND},
        {"job": "b", "audited_from": NOON},
    ]
    assert await prune(node, max_per_job=4) == 0
    assert len(runs("b")) == 3


async def test_what_is_too_old_goes_and_what_is_live_stays(
    make_node: MakeNode, query: Query, runs: Runs
) -> None:
    node = await make_node("a")
    await ran(node, 3)
    await node.claim(due("a", cron(4), after=3))
    query("UPDATE scheduler.runs SET finished_at = now() - interval '91 days' WHERE finished_at IS NOT NULL")
    query("UPDATE scheduler.runs SET claimed_at = now() - interval '91 days'")
    before = await node.presence.now() - timedelta(days=90)
    assert await prune(node, before=before) == 3
    assert [row["status"] for row in runs()] == ["running"]


async def test_batches_are_small(make_node: MakeNode) -> None:
    node = await make_node("a")
    await ran(node, 5)
    assert [await prune(node, max_per_job=1, batch=2) for _ in range(3)] == [2, 2, 0]


async def test_a_span_that_may_still_grow_stays_until_it_is_closed(
    make_node: MakeNode, query: Query, runs: Runs
) -> None:
    """Else the instants that follow would be written into a row that is gone."""
    node = await make_node("a")
    await node.claim(due("a", span(1, 5)))
    for _ in range(3):
        run, token, _ = await node.by_hand("a")
        await node.end(run.id, token)
    assert await prune(node, max_per_job=1) == 2
    await node.claim(due("a", span(6, 9), after=5))
    spans = [row for row in runs() if row["planned"]]
    assert [(row["instants"], row["last_for"]) for row in spans] == [(9, NOON + 9 * SECOND)]
    await node.claim(due("a", cron(10), after=9, overlap=Overlap.ALLOW))
    assert await prune(node, max_per_job=1) >= 1
    assert query("SELECT audited_from FROM scheduler.schedules") == [{"audited_from": NOON + 9 * SECOND}]


async def test_runs_by_hand_go_without_moving_what_is_promised(make_node: MakeNode, query: Query) -> None:
    node = await make_node("a")
    for _ in range(3):
        run, token, _ = await node.by_hand("a")
        await node.end(run.id, token)
    assert await prune(node, max_per_job=0) == 3
    assert query("SELECT audited_from FROM scheduler.schedules") == [{"audited_from": NOON}]


async def test_jobs_of_the_past_are_pruned_too(make_node: MakeNode, query: Query) -> None:
    node = await make_node("a")
    await ran(node, 2)
    query("DELETE FROM scheduler.schedules")
    assert await node.history.jobs_with_history() == ["a"]
    assert await prune(node, max_per_job=0) == 2


async def test_old_log_lines_go_in_batches(make_node: MakeNode, query: Query) -> None:
    node = await make_node()
    logs = [LogRecord(timestamp=float(n), level="INFO", module="m", message=str(n)) for n in range(10)]
    await node.outcomes.write(Batch(logs=logs))
    before = NOON.fromtimestamp(7, tz=NOON.tzinfo)
    assert [await node.outcomes.prune_logs(before, batch=4) for _ in range(3)] == [4, 3, 0]
    assert [row["message"] for row in query("SELECT message FROM scheduler.logs ORDER BY id")] == [
        "7",
        "8",
        "9",
    ]
