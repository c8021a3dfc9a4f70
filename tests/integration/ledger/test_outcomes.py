"""How runs end in the ledger: once, by whoever has the token; verdicts, late results and retries."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from scheduler_daemon.ledger.outcomes import Batch, Ending, Start
from scheduler_daemon.ledger.presence import Verdict
from scheduler_daemon.ledger.values import Retry, new_run_id
from scheduler_daemon.model import LogRecord, Outcome, RunStatus, StepRecord

from .conftest import NOON, SECOND, MakeNode, Node, Query, cron, due

Runs = Any


def ended(run: UUID, token: UUID, **rest: Any) -> Ending:
    retry = rest.pop("retry", None)
    whole = {"status": RunStatus.SUCCEEDED, "started_at": 100.0, "finished_at": 102.5, **rest}
    return Ending(outcome=Outcome(run_id=str(run), **whole), token=str(token), retry=retry)


def again(run: UUID, job: str = "a", *, attempt: int = 2, delay: float = 0.0) -> Retry:
    return Retry(
        id=str(new_run_id()),
        of=str(run),
        job=job,
        scope="",
        concurrency=job,
        attempt=attempt,
        first_run=str(run),
        not_before=time.time() + delay,
    )


async def granted(node: Node, job: str = "a", number: int = 1) -> tuple[UUID, UUID]:
    answer = await node.claim(due(job, cron(number), after=number - 1))
    (run,) = answer.decision.runs()
    return run.id, answer.token


async def test_everything_that_a_run_reports_is_in_its_row(make_node: MakeNode, runs: Runs) -> None:
    node = await make_node("a")
    run, token = await granted(node)
    began = (NOON + SECOND).timestamp() + 0.25
    started = Start(run_id=str(run), token=str(token), at=began, worker_pid=7, worker_start=99)
    await node.outcomes.write(Batch(starts=[started]))
    (row,) = runs()
    assert (row["worker_pid"], row["worker_start"], row["lateness_ms"]) == (7, 99, pytest.approx(250))
    steps = (StepRecord(name="one", status="failed", duration_s=0.5, error="no"),)
    said = {
        "started_at": None,
        "finished_at": began + 2,
        "items_processed": 5,
        "items_failed": 1,
        "message": "m\x00\ud800",
        "error": "e",
        "traceback": "t",
        "steps": steps,
        "status": RunStatus.FAILED,
        "reason": "r",
    }
    log = LogRecord(
        timestamp=began,
        level="INFO",
        module="x",
        message="l\x00",
        run_id=str(run),
        fields={"n": float("nan")},
    )
    await node.outcomes.write(Batch(endings=[ended(run, token, **said)], logs=[log]))
    (row,) = runs()
    assert (row["status"], row["reason"], row["items_processed"], row["items_failed"]) == (
        "failed",
        "r",
        5,
        1,
    )
    assert (row["message"], row["error"], row["traceback"]) == ("m\N{SYMBOL FOR NULL}?", "e", "t")
    assert row["steps"] == [{"name": "one", "status": "failed", "duration_s": 0.5, "error": "no"}]
    assert row["duration_ms"] == pytest.approx(2000)
    assert row["lateness_ms"] == pytest.approx(250)
    assert row["worker_pid"] == 7


async def test_the_lateness_of_a_retry_is_told_from_its_own_time(make_node: MakeNode, runs: Runs) -> None:
    node = await make_node("a")
    run, token = await granted(node)
    retry = again(run, delay=60.0)
    await node.outcomes.write(Batch(endings=[ended(run, token, status=RunStatus.FAILED, retry=retry)]))
    node.offset = timedelta(seconds=61)
    assert await node.start_next("a") == [UUID(retry.id)]
    (_, row) = runs()
    began = retry.not_before + 0.5
    told = {"started_at": began, "finished_at": began + 1}
    await node.outcomes.write(Batch(endings=[ended(UUID(retry.id), row["claim_token"], **told)]))
    (_, row) = runs()
    assert row["lateness_ms"] == pytest.approx(500, abs=1)


async def test_an_outcome_without_the_claims_token_changes_nothing(make_node: MakeNode, runs: Runs) -> None:
    node = await make_node("a")
    run, token = await granted(node)
    start = Start(run_id=str(run), token=str(uuid4()), at=1.0, worker_pid=7, worker_start=99)
    await node.outcomes.write(Batch(starts=[start], endings=[ended(run, uuid4())]))
    (row,) = runs()
    assert (row["status"], row["worker_pid"], row["late_outcome"]) == ("running", None, None)
    await node.outcomes.write(Batch(endings=[ended(run, token)]))
    await node.outcomes.write(Batch(endings=[ended(run, token, status=RunStatus.FAILED)]))
    assert runs(columns="status") == [{"status": "succeeded"}]


async def test_a_result_after_a_verdict_is_kept_beside_it_never_over_it(
    make_node: MakeNode, runs: Runs
) -> None:
    node = await make_node("a")
    run, token = await granted(node)
    (mine,) = await node.presence.own_live()
    assert await node.presence.declare_lost([mine], Verdict(reason="node_gone", message="why")) == {run}
    late = ended(run, token, message="done after all", retry=again(run))
    await node.outcomes.write(Batch(endings=[late]))
    await node.outcomes.write(Batch(endings=[ended(run, token, message="once more")]))
    (row,) = runs()
    assert (row["status"], row["reason"], row["error"]) == ("lost", "node_gone", "why")
    assert row["late_outcome"]["status"] == "succeeded"
    assert row["late_outcome"]["message"] == "done after all"


async def test_a_verdict_comes_too_late_for_a_run_that_has_ended_or_was_taken_over(
    make_node: MakeNode, runs: Runs
) -> None:
    node = await make_node("a", "b")
    run, token = await granted(node)
    (mine,) = await node.presence.own_live()
    await node.outcomes.write(Batch(endings=[ended(run, token)]))
    verdict = Verdict(reason="node_gone", message="", retries=[again(run)])
    assert await node.presence.declare_lost([mine], verdict) == set()
    assert runs(columns="status, kind") == [{"status": "succeeded", "kind": "cron"}]
    await granted(node, "b")
    (stale,) = await node.presence.own_live()
    assert await node.presence.declare_lost([replace(stale, claim_token=uuid4())], verdict) == set()


async def test_a_retry_is_a_run_of_its_own_that_names_its_first_and_waits_for_its_time(
    make_node: MakeNode, runs: Runs
) -> None:
    node = await make_node("a")
    run, token = await granted(node)
    retry = again(run, delay=30.0)
    await node.outcomes.write(Batch(endings=[ended(run, token, status=RunStatus.FAILED, retry=retry)]))
    _, row = runs()
    assert (row["kind"], row["status"], row["waiting"]) == ("retry", "queued", "retry")
    assert (row["attempt"], row["first_run"], row["planned"]) == (2, run, False)
    assert await node.start_next("a") == []
    assert await node.claims.keys_waiting(["a"]) != set()
    other = await node.claim(due("a", cron(2), after=1))
    assert [r.status for r in other.decision.runs()] == [RunStatus.RUNNING]
    node.offset = timedelta(seconds=31)
    assert await node.start_next("a") == []
    await node.end(other.decision.runs()[0].id, other.token)
    assert await node.start_next("a") == [UUID(retry.id)]


async def test_the_parameters_of_a_run_by_hand_are_those_of_its_retry(
    make_node: MakeNode, query: Query
) -> None:
    node = await make_node("a")
    run, token, _ = await node.by_hand("a")
    query("UPDATE scheduler.runs SET parameters = '{\"n\": 1}' WHERE id = %s", run.id)
    await node.outcomes.write(
        Batch(endings=[ended(run.id, token, status=RunStatus.FAILED, retry=again(run.id))])
    )
    (row,) = query("SELECT parameters FROM scheduler.runs WHERE kind = 'retry'")
    assert row["parameters"] == {"n": 1}


async def test_a_batch_is_one_transaction(make_node: MakeNode, query: Query, runs: Runs) -> None:
    node = await make_node("a")
    run, token = await granted(node)
    bad = ended(run, token, items_processed=2**70)
    log = LogRecord(timestamp=1.0, level="INFO", module="m", message="x", run_id=str(run))
    with pytest.raises(Exception, match="out of range"):
        await node.outcomes.write(Batch(endings=[bad], logs=[log]))
    assert query("SELECT 1 FROM scheduler.logs") == []
    assert runs(columns="status") == [{"status": "running"}]


async def test_queued_runs_are_ended_on_purpose_and_running_ones_left_alone(
    make_node: MakeNode, runs: Runs
) -> None:
    node = await make_node("a")
    first, _, _ = await node.by_hand("a")
    waits, _, _ = await node.by_hand("a", queue=True)
    found = await node.claims.end_queued([first.id, waits.id], reason="cancelled", message="why")
    assert set(found) == {waits.id}
    assert runs(columns="status, message") == [
        {"status": "running", "message": None},
        {"status": "cancelled", "message": "why"},
    ]
    await node.presence.request_cancel([first.id], "cancelled")
    assert await node.presence.cancels_requested() == [(first.id, "cancelled")]


async def test_a_run_ends_its_own_sql_by_name(make_node: MakeNode, scheduler_database: str) -> None:
    node = await make_node()
    name = str(uuid4())
    with psycopg.connect(scheduler_database, application_name=f"run:{name}") as busy:
        assert await node.outcomes.end_sql_of(name) == 1
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT pg_sleep(10)")
    assert await node.outcomes.end_sql_of(name) == 0
