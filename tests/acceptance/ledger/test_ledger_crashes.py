"""Whoever dies: what ran is lost, with its cause; what waited is started; nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
from itertools import pairwise
from pathlib import Path

from scheduler_daemon.model import RunStatus

from .conftest import YEARLY, Daemon, Stage, alive, job


def children(pid: int) -> list[int]:
    return [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]


def pid_of(daemon: Daemon) -> int:
    assert daemon.process is not None
    return daemon.process.pid


def ends_on_disk(daemon: Daemon) -> set[str]:
    """The runs whose ends wait there for the database; log lines may be there before them."""
    spool = daemon.folder / "state" / "spool.jsonl"
    lines = spool.read_text().splitlines(keepends=True) if spool.exists() else []
    batches = [json.loads(line) for line in lines if line.endswith("\n")]
    return {ending["outcome"]["run_id"] for batch in batches for ending in batch["endings"]}


def test_a_killed_daemon_takes_its_workers_with_it_and_the_next_one_settles_its_runs(stage: Stage) -> None:
    daemon = stage.daemon().start(job("gate", overlap="queue"), job("stubborn"))
    stage.until(lambda: stage.notes("gate") and stage.notes("stubborn"))
    stage.until(lambda: stage.rows("job = 'gate' AND status = 'queued'"))
    family = [pid_of(daemon), *children(pid_of(daemon))]
    family += [child for pid in family[1:] for child in children(pid)]
    daemon.stop(signal.SIGKILL)
    stage.until(lambda: not any(alive(pid) for pid in family))
    daemon.start()
    lost = stage.rows("status = 'lost'")
    assert sorted(row["job"] for row in lost) == ["gate", "stubborn"]
    assert {row["reason"] for row in lost} == {"daemon_died"}
    assert not alive(stage.notes("stubborn", "child")[0][0])
    waited = stage.until(lambda: stage.notes("gate")[1:])[0][0]
    assert waited not in {str(row["id"]) for row in lost}
    stage.open("shut")
    stage.until(lambda: stage.rows("id = %(id)s AND status = 'succeeded'", id=waited))


def test_a_killed_worker_loses_its_run_alone_and_one_that_asks_for_it_runs_again(stage: Stage) -> None:
    stage.daemon().start(job("gate"), job("quick"), job("dies_once", "*/3 * * * * *", on_lost="rerun"))
    run, pid = stage.until(lambda: stage.notes("gate"))[0]
    os.kill(int(pid), signal.SIGKILL)
    (row,) = stage.until(lambda: stage.rows("id = %(id)s AND status = 'lost'", id=run))
    assert row["error"] == "its worker was killed by SIGKILL"
    (again, *_) = stage.until(lambda: stage.rows("kind = 'retry' AND status = 'succeeded'"))
    (first,) = stage.rows("id = %(id)s", id=again["first_run"])
    assert (first["status"], first["job"], again["attempt"]) == (RunStatus.LOST, "dies_once", 2)
    assert not stage.rows("job = 'quick' AND status IN ('failed', 'lost', 'cancelled')")


def test_a_killed_zygote_is_replaced(stage: Stage) -> None:
    daemon = stage.daemon().start(job("quick"))
    stage.until(lambda: stage.notes("quick"))
    zygote = next(
        pid for pid in children(pid_of(daemon)) if b"jobplane" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(zygote, signal.SIGKILL)
    stage.until(lambda: not alive(zygote))
    ran = len(stage.notes("quick"))
    stage.until(lambda: len(stage.notes("quick")) > ran + 1)


def test_failures_are_tried_again_as_often_as_asked_and_name_their_first(stage: Stage) -> None:
    daemon = stage.daemon().start(job("fails", YEARLY, retries=2, retry_delay="1s"))
    first = daemon.run("fails")
    stage.until(lambda: len(stage.rows("status = 'failed'")) == 3)
    rows = stage.rows()
    assert [row["kind"] for row in rows] == ["manual", "retry", "retry"]
    assert [row["attempt"] for row in rows] == [1, 2, 3]
    assert {str(row["first_run"]) for row in rows[1:]} == {first}
    waits = [(b["started_at"] - a["finished_at"]).total_seconds() for a, b in pairwise(rows)]
    assert waits[0] >= 1
    assert waits[1] >= 2


def test_an_embedded_server_that_is_killed_is_started_again(stage: Stage) -> None:
    daemon = stage.daemon()
    daemon.configure(job("quick"))
    text = (daemon.folder / "config.yaml").read_text().replace('"url"', '"x"')
    config = '{"scheduler": {"jobs": [' + text.partition('"jobs": [')[2]
    (daemon.folder / "config.yaml").write_text(config)
    daemon.start()
    stage.until(lambda: stage.notes("quick"))
    postmaster = int(
        (daemon.folder / "state" / "postgres" / "data" / "postmaster.pid").read_text().split()[0]
    )
    os.kill(postmaster, signal.SIGKILL)
    stage.until(lambda: not alive(postmaster))
    ran = len(stage.notes("quick"))
    stage.until(lambda: len(stage.notes("quick")) > ran + 2)
    done = daemon.program("systemprompt", "infra", "jobs", "audit")
    assert done.returncode == 0, done.stdout
    daemon.stop(signal.SIGKILL)
    daemon.start()
    done = daemon.program("systemprompt", "infra", "jobs", "audit")
    assert done.returncode == 0, done.stdout
    assert daemon.stop() == 0


def test_what_waits_for_a_job_that_is_taken_away_does_not_wait_for_ever(stage: Stage) -> None:
    """Neither for its turn, nor for its next attempt; what runs is left to run, and is not tried again."""
    daemon = stage.daemon().start(
        job("goes", job="gate", overlap="queue"),
        job("fails_too", job="fails", retries=3, retry_delay="1h"),
        job("quick", YEARLY),
    )
    waiting = stage.until(lambda: stage.rows("job = 'goes' AND status = 'queued'"))
    waiting += stage.until(lambda: stage.rows("job = 'fails_too' AND status = 'queued'"))[:1]
    daemon.configure(job("quick", YEARLY))
    daemon.client.post("/v1/reload")
    for row in waiting:
        (ended,) = stage.rows("id = %(id)s", id=row["id"])
        assert (ended["status"], ended["reason"]) == ("cancelled", "removed")
        assert ended["message"] == "its job is not planned here any more"
    stage.open("shut")
    stage.until(lambda: stage.rows("job = 'goes' AND status = 'succeeded'"))
    assert not stage.rows("status IN ('queued', 'running')")


def test_an_outcome_on_disk_outlives_a_killed_daemon(stage: Stage) -> None:
    daemon = stage.daemon().start(job("gate", YEARLY), job("waits", YEARLY, job="gate"))
    told, lost = daemon.run("gate"), daemon.run("waits", parameters={"gate": "never"})
    stage.until(lambda: stage.notes("gate") and stage.notes("waits"))
    stage.cut(allow=False)
    stage.open("shut")
    stage.until(lambda: daemon.client.get("/v1/status")["database_away_since"])
    stage.until(lambda: daemon.client.get("/v1/status")["running"] == 1)
    stage.until(lambda: told in ends_on_disk(daemon))
    assert daemon.client.get("/v1/status")["spool_bytes"]
    daemon.stop(signal.SIGKILL)
    stage.cut(allow=True)
    daemon.start()
    ends = {str(row["id"]): (row["status"], row["reason"]) for row in stage.rows()}
    assert ends == {told: ("succeeded", None), lost: ("lost", "daemon_died")}
