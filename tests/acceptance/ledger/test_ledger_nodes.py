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
    while len(stage.rows("finished_at IS NOT NULL AND started_at IS NOT NULL")) < 4:
        first.program("systemprompt", "infra", "jobs", "run", "gate", "--no-wait")
        second.program("systemprompt", "infra", "jobs", "run", "gate", "--no-wait")
    for daemon in (first, second):
        daemon.stop()
    spans = sorted((row["started_at"], row["finished_at"]) for row in stage.rows("started_at IS NOT NULL"))
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_nodes_that_die_or_stand_still_are_judged_and_write_no_stale_verdict(stage: Stage) -> None:
    """Stood still for longer than others wait for a sign of life, and than workers wait for their daemon."""
    killed, frozen, judge = (stage.daemon() for _ in range(3))
    jobs = (
        job("quick"),
        job("gate", YEARLY, on_lost="rerun"),
        job("waits", YEARLY, job="gate"),
        job("never", YEARLY, job="gate", parameters={"gate": "never"}),
    )
    for daemon in (killed, frozen, judge):
        daemon.start(*jobs, workers={"max": 1})
    never = frozen.run("never")
    stage.until(lambda: stage.notes("never"))
    frozen.send(signal.SIGSTOP)
    run = killed.run("gate")
    stage.until(lambda: stage.notes("gate"))
    stage.pass_time(1.2)  # its only worker is taken, and counts as such
    waiting = killed.run("waits")
    assert "worker" in [row["waiting"] for row in stage.rows("status = 'queued'")]
    killed.stop(signal.SIGKILL)
    lost = {run: {}, never: {}}
    for one in lost:
        (lost[one],) = stage.until(lambda id_=one: stage.rows("id = %(id)s AND status = 'lost'", id=id_))
        assert lost[one]["reason"] == "node_gone"
    stage.open("shut")
    stage.until(lambda: stage.rows("id = %(id)s AND status = 'succeeded'", id=waiting))
    (again,) = stage.until(lambda: stage.rows("kind = 'retry' AND status = 'succeeded'"))
    assert (str(again["node"]), str(again["first_run"])) == (node(judge), run)
    frozen.send(signal.SIGCONT)
    (after,) = stage.until(lambda: stage.rows("id = %(id)s AND late_outcome IS NOT NULL", id=never))
    assert (after["status"], after["finished_at"]) == ("lost", lost[never]["finished_at"])
    claimed = "node = %(node)s AND claimed_at > %(at)s"
    stage.until(lambda: stage.rows(claimed, node=node(frozen), at=after["finished_at"]))
    ran = [row["scheduled_for"] for row in stage.rows("job = 'quick' AND started_at IS NOT NULL")]
    assert len(ran) == len(set(ran))


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
