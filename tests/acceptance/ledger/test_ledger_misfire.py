"""Time in which nothing could run, whatever the cause: what is caught up, and what has a row instead."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

from .conftest import YEARLY, Stage, job

HOUR = 3600


def missed(stage: Stage, name: str) -> list[tuple[str, int]]:
    rows = stage.rows("job = %(job)s AND status = 'missed'", job=name)
    return [(row["reason"], row["instants"]) for row in rows]


def ran(stage: Stage, name: str) -> list[str]:
    return [row["kind"] for row in stage.rows("job = %(job)s AND status = 'succeeded'", job=name)]


def largest(stage: Stage, name: str) -> tuple[str, int]:
    """Of the spans that were missed; a machine that is short of breath leaves small ones besides."""
    return max(missed(stage, name), key=lambda span: span[1])


def test_each_policy_catches_up_what_it_says(stage: Stage) -> None:
    rules = {"latest": "latest", "none": "skip", "each": "all", "recent": "all", "too_many": "all"}
    schedules = dict.fromkeys(rules, "0 * * * * *") | {"too_many": "*/2 * * * * *"}
    jobs = [job(name, schedules[name], job="quick", misfire=rule) for name, rule in rules.items()]
    jobs[3]["misfire_window"] = "10m"
    daemon = stage.daemon().start(*jobs)
    stage.until(lambda: len(stage.rows("job = 'too_many'")) > 1)
    daemon.stop()
    daemon.set_clock(HOUR)
    back = datetime.now(UTC) + timedelta(seconds=HOUR)
    daemon.start()

    def caught_up(name: str) -> int:
        rows = stage.rows(
            "job = %(job)s AND status = 'succeeded' AND scheduled_for < %(back)s", job=name, back=back
        )
        return sum(row["kind"] == "catch_up" for row in rows)

    stage.until(lambda: caught_up("each") in (59, 60, 61))
    stage.until(lambda: caught_up("recent") in (9, 10, 11))
    stage.until(lambda: caught_up("latest") == 1)
    stage.until(lambda: caught_up("too_many") > 0)
    (first, *_) = stage.rows("job = 'too_many' AND kind = 'catch_up'")
    at_once = stage.rows(
        "job = 'too_many' AND claimed_at = %(at)s AND status <> 'missed'", at=first["claimed_at"]
    )
    daemon.stop()
    assert len(at_once) == 100
    assert (caught_up("none"), caught_up("latest")) == (0, 1)
    for name, count in {"latest": 59, "none": 60, "recent": 50, "too_many": 1700}.items():
        reason, instants = largest(stage, name)
        assert reason == "daemon_down"
        assert abs(instants - count) < 60, name
    assert "daemon_down" not in [reason for reason, _ in missed(stage, "each")]


def test_a_clock_set_forward_is_one_span_and_one_set_back_fires_nothing_twice(stage: Stage) -> None:
    daemon = stage.daemon().start(job("quick"))
    stage.until(lambda: ran(stage, "quick"))
    daemon.set_clock(HOUR)
    stage.until(lambda: "catch_up" in ran(stage, "quick") and largest(stage, "quick")[1] > HOUR / 2)
    reason, instants = largest(stage, "quick")
    assert reason == "suspended"
    assert abs(instants - HOUR) < 120
    so_far = stage.until(lambda: ran(stage, "quick"))
    daemon.set_clock(HOUR - 5)
    stage.until(lambda: len(ran(stage, "quick")) > len(so_far) + 2)
    times = [row["scheduled_for"] for row in stage.rows("status = 'succeeded'")]
    assert len(times) == len(set(times))
    assert times == sorted(times)


def test_while_the_database_is_away_nothing_fires_and_what_runs_goes_on(stage: Stage) -> None:
    stage.daemon().start(job("quick", misfire="skip"), job("gate"))
    stage.until(lambda: stage.notes("quick") and stage.notes("gate"))
    stage.cut(allow=False)
    daemon = stage.daemons[0]
    stage.until(lambda: daemon.client.get("/v1/status")["database_away_since"])
    fired = len(stage.notes("quick"))
    stage.open("shut")
    stage.until(lambda: stage.notes("gate", "end"))
    stage.until(lambda: daemon.client.get("/v1/status")["spool_bytes"])
    stage.pass_time(2.0)
    assert len(stage.notes("quick")) == fired
    assert not daemon.client.get("/v1/status")["running"]
    stage.cut(allow=True)
    stage.until(lambda: len(stage.notes("quick")) > fired)
    first = stage.rows("job = 'gate'")[0]
    assert (first["status"], str(first["id"])) == ("succeeded", stage.notes("gate")[0][0])
    assert "database_down" in [reason for reason, _ in missed(stage, "quick")]


def test_a_daemon_that_stood_still_fires_nothing_again(stage: Stage) -> None:
    """SIGSTOP, as a suspended machine does it to every process."""
    daemon = stage.daemon().start(job("quick"))
    stage.until(lambda: ran(stage, "quick"))
    daemon.send(signal.SIGSTOP)
    stage.pass_time(7)
    daemon.send(signal.SIGCONT)
    stage.until(lambda: "suspended" in [reason for reason, _ in missed(stage, "quick")])
    stage.until(lambda: "catch_up" in ran(stage, "quick"))
    times = [row["scheduled_for"] for row in stage.rows("started_at IS NOT NULL")]
    assert len(times) == len(set(times))


def test_what_a_clock_that_ran_ahead_holds_up_is_told_and_let_go_by_a_word(stage: Stage) -> None:
    daemon = stage.daemon().start(job("quick"), job("rare", YEARLY, job="quick"))
    stage.until(lambda: ran(stage, "quick"))
    daemon.set_clock(3 * HOUR)
    stage.until(lambda: "catch_up" in ran(stage, "quick"))
    daemon.set_clock(0)
    until = stage.ask("SELECT watermark FROM scheduler.schedules WHERE job = 'quick'")[0]["watermark"]
    (why,) = stage.until(lambda: daemon.client.get("/v1/status")["degraded"])
    assert why.startswith(
        f'job "quick": a clock that ran ahead left it accounted for until {until:%Y-%m-%d %H:%M}'
    )
    assert daemon.client.get("/v1/jobs/quick")["next_fire"] > until.isoformat()
    so_far = len(ran(stage, "quick"))
    refused = daemon.program("systemprompt", "infra", "jobs", "rewind", "rare")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "nothing to do" in refused.stderr
    done = daemon.program("systemprompt", "infra", "jobs", "rewind", "quick")
    assert done.returncode == 0, done.stderr
    stage.until(lambda: len(ran(stage, "quick")) > so_far + 1)
    assert daemon.client.get("/v1/status")["degraded"] == []
    (action, *_) = stage.ask("SELECT * FROM scheduler.actions WHERE action = 'rewind'")
    assert action["before"]["watermark"][:16] == f"{until:%Y-%m-%dT%H:%M}"
