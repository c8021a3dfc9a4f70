"""Several daemons on one database: each instant runs on one of them, and they judge each other rightly."""

from __future__ import annotations

import signal
from itertools import pairwise
from typing import Any

from .conftest import YEARLY, Daemon, Stage, job


def two(stage: Stage, *jobs: dict[str, Any], **more: Any) -> tuple[Daemon, Daemon]:
    first, second = stage.daemon(), stage.daemon()
    first.start(*jobs, **more)
    second.start(*jobs, **more)
    return first, second


def node(daemon: Daemon) -> str:
    return (daemon.folder / "state" / "node").read_text().strip()


def test_an_instant_runs_on_one_of_them_and_a_copy_of_every_on_each(stage: Stage) -> None:
    first, second = two(
        stage, *(job(f"quick{n}", job="quick") for n in range(5)), job("each", job="quick", nodes="every")
    )
    both = {node(first), node(second)}
    stage.until(lambda: {str(r["node"]) for r in stage.rows("job = 'each' AND status = 'succeeded'")} == both)
    stage.until(lambda: len(stage.rows("job = 'quick0' AND status = 'succeeded'")) > 5)
    shared = stage.rows("job LIKE 'quick%%' AND planned AND status NOT IN ('missed', 'skipped')")
    instants = [(row["job"], row["scheduled_for"]) for row in shared]
    assert len(instants) == len(set(instants))


def test_two_nodes_and_a_person_never_have_two_live_runs_of_a_job(stage: Stage) -> None:
    first, second = two(stage, job("gate", parameters={"gate": "never"}, timeout="1s"))
    for _ in range(10):
        first.program("systemprompt", "infra", "jobs", "run", "gate", "--no-wait")
        second.program("systemprompt", "infra", "jobs", "run", "gate", "--no-wait")
    for daemon in (first, second):
        daemon.stop()
    spans = sorted((row["started_at"], row["finished_at"]) for row in stage.rows("started_at IS NOT NULL"))
    assert len(spans) > 3
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_node_that_dies_is_noticed_and_its_runs_are_resolved(stage: Stage) -> None:
    first, second = stage.daemon(), stage.daemon()
    jobs = (job("gate", YEARLY, on_lost="rerun"), job("waits", YEARLY, job="gate"))
    first.start(*jobs, workers={"max": 1})
    run = first.run("gate")
    stage.until(lambda: stage.notes("gate"))
    stage.pass_time(1.2)  # its only worker is taken, and counts as such
    waiting = first.run("waits")
    assert [row["waiting"] for row in stage.rows("status = 'queued'")] == ["worker"]
    second.start(*jobs, workers={"max": 1})
    first.stop(signal.SIGKILL)
    (lost,) = stage.until(lambda: stage.rows("id = %(id)s AND status = 'lost'", id=run))
    assert lost["reason"] == "node_gone"
    stage.open("shut")
    stage.until(lambda: stage.rows("id = %(id)s AND status = 'succeeded'", id=waiting))
    stage.until(lambda: stage.rows("kind = 'retry' AND status = 'succeeded'"))
    assert {str(row["node"]) for row in stage.rows("status = 'succeeded'")} == {node(second)}


def test_a_node_that_stood_still_writes_no_stale_verdict_and_fires_nothing_again(stage: Stage) -> None:
    """Longer than others wait for a sign of life, and than workers wait for their daemon."""
    first, second = two(stage, job("quick"), job("gate", YEARLY, parameters={"gate": "never"}))
    run = first.run("gate")
    stage.until(lambda: stage.notes("gate"))
    first.send(signal.SIGSTOP)
    (lost,) = stage.until(lambda: stage.rows("id = %(id)s AND status = 'lost'", id=run))
    assert lost["reason"] == "node_gone"
    first.send(signal.SIGCONT)
    stage.until(
        lambda: stage.rows(
            "node = %(node)s AND claimed_at > %(at)s", node=node(first), at=lost["finished_at"]
        )
    )
    (after,) = stage.until(lambda: stage.rows("id = %(id)s AND late_outcome IS NOT NULL", id=run))
    assert (after["status"], after["finished_at"]) == ("lost", lost["finished_at"])
    ran = [row["scheduled_for"] for row in stage.rows("job = 'quick' AND started_at IS NOT NULL")]
    assert len(ran) == len(set(ran))
    assert second.stop() == 0


def test_a_node_with_another_configuration_claims_nothing(stage: Stage) -> None:
    first, second = two(stage, job("quick"))
    second.configure(job("quick", "*/2 * * * * *"))
    second.client.post("/v1/reload")
    why = stage.until(lambda: first.client.get("/v1/status")["degraded"])
    assert "of another node is in force" in str(why)
    last = stage.until(lambda: stage.rows())[-1]["id"]
    stage.until(
        lambda: len(stage.rows("id > %(last)s AND node = %(node)s", last=last, node=node(second))) > 2
    )
    assert not stage.rows("id > %(last)s AND node = %(node)s AND planned", last=last, node=node(first))
