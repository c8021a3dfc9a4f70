"""Runs that are to end: at their deadline, at a command, at the daemon's stop; and runs at its start."""

from __future__ import annotations

import signal

from .conftest import YEARLY, Stage, alive, job


def gone(stage: Stage, run: str) -> bool:
    """Nothing of a stubborn run is left: not its child, nor its statement."""
    child = next(more for noted, more in stage.notes("stubborn", "child") if noted == run)
    query = "SELECT 1 FROM pg_stat_activity WHERE application_name = %(name)s"
    return not alive(child) and not stage.ask(query, name=f"run:{run}")


def test_a_deadline_ends_a_run_with_all_that_it_started(stage: Stage) -> None:
    daemon = stage.daemon().start(job("stubborn", YEARLY, timeout="1s", kill_after="1s"), job("quick"))
    run = daemon.run("stubborn")
    (row,) = stage.until(lambda: stage.rows("id = %(id)s AND status = 'timed_out'", id=run))
    assert row["reason"] == "timeout"
    assert row["error"].startswith("timed out after 1 s; it ended with QueryCanceled")
    stage.until(lambda: gone(stage, run))
    assert not stage.rows("job = 'quick' AND status IN ('failed', 'lost', 'cancelled')")


def test_a_cancelled_run_ends_the_same_way(stage: Stage) -> None:
    daemon = stage.daemon().start(job("stubborn", YEARLY, kill_after="1s"))
    run = daemon.run("stubborn")
    stage.until(lambda: stage.notes("stubborn"))
    assert daemon.program("systemprompt", "infra", "jobs", "cancel", run).returncode == 0
    (row,) = stage.until(lambda: stage.rows("id = %(id)s AND status = 'cancelled'", id=run))
    assert row["reason"] == "cancelled"
    stage.until(lambda: gone(stage, run))


def test_a_stop_lets_runs_finish_then_cancels_them(stage: Stage) -> None:
    daemon = stage.daemon().start(job("gate", YEARLY), job("quick"), shutdown_grace="1s")
    run = daemon.run("gate")
    stage.until(lambda: stage.notes("gate"))
    assert daemon.stop() == 0
    (row,) = stage.rows("id = %(id)s", id=run)
    assert (row["status"], row["reason"]) == ("cancelled", "shutdown")
    assert not stage.rows("status IN ('queued', 'running')")


def test_a_stop_waits_for_runs_within_its_grace_and_a_second_signal_hurries(stage: Stage) -> None:
    daemon = stage.daemon().start(job("gate", YEARLY), shutdown_grace="10m")
    first = daemon.run("gate")
    stage.until(lambda: stage.notes("gate"))
    daemon.send(signal.SIGTERM)
    stage.until(lambda: "stopping" in daemon.log)
    stage.open("shut")
    assert daemon.process is not None
    assert daemon.process.wait(60) == 0
    (row,) = stage.rows("id = %(id)s", id=first)
    assert row["status"] == "succeeded"
    (stage.folder / "shut").unlink()
    daemon.start()
    second = daemon.run("gate")
    stage.until(lambda: len(stage.notes("gate")) == 2)
    daemon.send(signal.SIGTERM)
    stage.until(lambda: daemon.log.count("stopping") == 2)
    assert daemon.stop() == 0
    (row,) = stage.rows("id = %(id)s", id=second)
    assert row["status"] == "cancelled"


def test_a_slow_or_failing_startup_job_delays_no_other(stage: Stage) -> None:
    daemon = stage.daemon().start(
        job("boot"), job("bootless", YEARLY), job("quick"), job("off", job="boot", enabled=False), ready=False
    )
    stage.until(lambda: len(stage.notes("quick")) > 1)
    assert not daemon.ready()
    assert [kind for _, kind in stage.notes("bootless")] == ["startup"]
    assert not stage.notes("off")
    (slow,) = stage.rows("kind = 'startup' AND job = 'boot'")
    (own,) = stage.until(lambda: stage.rows("kind = 'cron' AND job = 'boot' AND status = 'queued'"))
    assert own["blocked_by"] == slow["id"]
    stage.open("shut")
    stage.until(daemon.ready)
    stage.until(lambda: stage.rows("id = %(id)s AND status = 'succeeded'", id=own["id"]))


def test_the_daemon_is_ready_after_startup_timeout_at_the_latest(stage: Stage) -> None:
    daemon = stage.daemon().start(job("boot", YEARLY), startup_timeout="1s")
    assert "startup jobs still run" in daemon.log
    assert stage.rows("kind = 'startup' AND status = 'running'")
