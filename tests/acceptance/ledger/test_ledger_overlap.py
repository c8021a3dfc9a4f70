"""Runs that would overlap, on a real daemon: what waits, what is skipped, and what a run by hand may do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from scheduler_daemon.control.client import ProblemError
from scheduler_daemon.database.temporary import TemporaryServer

from .conftest import YEARLY, Daemon, Stage, job, stage_on


def gated(name: str, schedule: str = "* * * * * *", **more: Any) -> dict[str, Any]:
    """Its runs last until the gate of its name is open."""
    return job(name, schedule, job="gate", parameters={"gate": name}, **more)


@pytest.fixture(scope="module")
def stage(_scheduler_server: TemporaryServer) -> Iterator[Stage]:
    """One daemon for all; every job has a gate of its own."""
    with stage_on(_scheduler_server) as made:
        made.daemon().start(
            gated("skipping"),
            gated("queueing", overlap="queue"),
            gated("allowing", overlap="allow", timeout="5s"),
            gated("giving_way", overlap="cancel_previous"),
            gated("by_hand", enabled=False),
            gated("writer", "*/2 * * * * *", concurrency="output"),
            job("quick", "1-59/2 * * * * *", concurrency="output"),
            job("off", job="quick", enabled=False),
            gated("rarely", YEARLY),
            workers={"max": 16},
        )
        yield made


@pytest.fixture
def daemon(stage: Stage) -> Daemon:
    return stage.daemons[0]


def rows(stage: Stage, name: str, *statuses: str) -> list[dict[str, Any]]:
    found = stage.rows("job = %(job)s", job=name)
    return [row for row in found if not statuses or row["status"] in statuses]


def succeeded(stage: Stage, run: object) -> dict[str, Any]:
    where = "id = %(id)s AND status = 'succeeded'"
    (row,) = stage.until(lambda: stage.rows(where, id=str(run)))
    return dict(row)


def test_an_occurrence_that_meets_a_run_is_skipped_in_one_row_that_names_it(stage: Stage) -> None:
    stage.until(lambda: [r for r in rows(stage, "skipping", "skipped") if r["instants"] > 1])
    (running,), (span,) = rows(stage, "skipping", "running"), rows(stage, "skipping", "skipped")
    assert (span["status"], span["reason"], span["blocked_by"]) == ("skipped", "overlap", running["id"])
    stage.open("skipping")
    succeeded(stage, running["id"])


def test_under_queue_one_waits_and_starts_when_the_other_has_ended(stage: Stage) -> None:
    stage.until(lambda: rows(stage, "queueing", "skipped"))
    running, waiting = rows(stage, "queueing", "running", "queued")
    assert (waiting["waiting"], waiting["blocked_by"]) == ("overlap", running["id"])
    stage.open("queueing")
    assert succeeded(stage, running["id"])["finished_at"] <= succeeded(stage, waiting["id"])["started_at"]


def test_under_allow_runs_go_on_side_by_side(stage: Stage) -> None:
    stage.until(lambda: len([r for r in rows(stage, "allowing", "running") if r["started_at"]]) > 1)
    stage.open("allowing")


def test_under_cancel_previous_the_earlier_run_gives_way(stage: Stage) -> None:
    stage.until(lambda: len(rows(stage, "giving_way", "cancelled")) > 1)
    started = [row for row in rows(stage, "giving_way") if row["started_at"]]
    assert all(before["finished_at"] <= after["started_at"] for before, after in pairwise(started))
    assert not rows(stage, "giving_way", "failed", "lost", "skipped")
    stage.open("giving_way")


def test_a_run_by_hand_is_refused_beside_another_unless_it_may_wait(stage: Stage, daemon: Daemon) -> None:
    first = daemon.run("rarely")
    with pytest.raises(ProblemError, match=first):
        daemon.run("rarely")
    second = daemon.run("rarely", queue=True)
    stage.open("rarely")
    assert succeeded(stage, first)["finished_at"] <= succeeded(stage, second)["started_at"]


def test_a_run_by_hand_costs_no_occurrence_its_turn(stage: Stage, daemon: Daemon) -> None:
    stage.until(lambda: rows(stage, "by_hand", "skipped"))
    by_hand = daemon.run("by_hand")
    daemon.client.post("/v1/jobs/by_hand/enable")
    (waiting,) = stage.until(lambda: rows(stage, "by_hand", "queued"))
    assert (waiting["kind"], waiting["waiting"], str(waiting["blocked_by"])) == ("cron", "overlap", by_hand)
    stage.until(lambda: [r for r in rows(stage, "by_hand", "skipped") if r["reason"] == "overlap"])
    stage.open("by_hand")
    assert succeeded(stage, by_hand)["finished_at"] <= succeeded(stage, waiting["id"])["started_at"]


def test_jobs_with_one_key_run_one_at_a_time(stage: Stage) -> None:
    (running,) = stage.until(lambda: rows(stage, "writer", "running"))
    span = stage.until(
        lambda: [r for r in rows(stage, "quick", "skipped") if r["blocked_by"] == running["id"]]
    )
    assert span[0]["reason"] == "overlap"
    stage.open("writer")
    ended = succeeded(stage, running["id"])["finished_at"]
    stage.until(lambda: [r for r in rows(stage, "quick", "succeeded") if r["started_at"] > ended])


def test_who_is_switched_off_has_one_row_and_can_be_run_by_hand(stage: Stage, daemon: Daemon) -> None:
    stage.until(lambda: [r for r in rows(stage, "off", "skipped") if r["instants"] > 2])
    (span,) = rows(stage, "off")
    assert span["reason"] == "disabled"
    assert succeeded(stage, daemon.run("off"))["kind"] == "manual"
