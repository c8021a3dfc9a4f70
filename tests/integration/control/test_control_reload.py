"""Reloads: shown before, all or nothing, no instant lost or doubled; and a database that goes away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler_daemon.database.temporary import TemporaryServer

Daemon = Any
YEARLY = "0 0 0 1 1 *"


def job(name: str, schedule: str = YEARLY, **more: Any) -> dict[str, Any]:
    return {"name": name, "extension": "probe", "job": name, "schedule": schedule, "enabled": True, **more}


def plan(daemon: Daemon) -> Any:
    done = daemon.cli("scheduler", "reload", "--plan", "--json")
    assert done.returncode == 4, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_plan_shows_everything_and_changes_nothing(make_daemon: Any) -> None:
    daemon = make_daemon(job("steps", "0 0 3 * * *"), job("fails", "0 0 * * * *"), job("typed"))
    before = daemon.json("scheduler", "status")["revision"]
    nothing = daemon.cli("scheduler", "reload", "--plan")
    assert (nothing.returncode, nothing.stdout.strip()) == (0, "nothing would change")

    daemon.configure(
        job("steps", "0 30 3 * * *", timeout="5m"),
        job("typed", enabled=False),
        job("waits", "0 15 2 * * *", timezone="Europe/Berlin"),
        job("gone", extension="nowhere"),
        workers={"max": 3},
    )
    shown = plan(daemon)
    changes = {one["job"]: one for one in shown["jobs"]}
    assert {name: one["change"] for name, one in changes.items()} == {
        "steps": "changed", "typed": "changed", "waits": "added", "gone": "added", "fails": "removed"
    }  # fmt: skip
    assert {one["key"]: one["after"] for one in changes["steps"]["fields"]} == {
        "schedule": "0 30 3 * * *", "timeout": "300s"
    }  # fmt: skip
    steps = changes["steps"]["fires"]
    assert (steps["before"], steps["after"], steps["moved"], steps["added"]) == (7, 7, 7, 0)
    assert steps["first_moved"][0]["before"].endswith("T03:00:00Z")
    assert steps["first_moved"][0]["after"].endswith("T03:30:00Z")
    assert (changes["fails"]["fires"]["removed"], changes["fails"]["fires"]["after"]) == (168, 0)
    assert changes["waits"]["fires"]["added"] == 7
    assert changes["gone"]["unavailable"] == 'the extension "nowhere" is not installed'
    assert [(one["key"], one["after"]) for one in shown["settings"]] == [("workers.max", 3)]
    assert any("Europe/Berlin" in one and "02:15" in one for one in shown["warnings"])
    assert shown["catch_up"] == []

    text = daemon.cli("scheduler", "reload", "--plan").stdout
    assert "+ waits (added)" in text
    assert "- fails (removed)" in text
    assert "7 moved" in text
    assert daemon.json("scheduler", "status")["revision"] == before

    assert daemon.cli("scheduler", "reload").returncode == 0
    assert daemon.json("scheduler", "status")["revision"] == shown["revision_after"]
    assert {one["name"] for one in daemon.json("jobs", "list")["jobs"]} >= {"waits", "gone"}
    assert daemon.cli("scheduler", "reload", "--plan").returncode == 0


def test_an_invalid_configuration_changes_nothing_and_says_every_mistake(make_daemon: Any) -> None:
    daemon = make_daemon(job("steps"))
    before = daemon.json("scheduler", "status")["revision"]
    daemon.configure(job("steps", "0 * * * *"), job("steps"), wrkers={})
    for arguments in (("reload",), ("reload", "--plan")):
        done = daemon.cli("scheduler", *arguments)
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert any("has five fields" in line for line in lines)
        assert any('"steps" is taken' in line for line in lines)
        assert any("wrkers" in line and "workers" in line for line in lines)
        assert all(line.split(":")[1].isdigit() for line in lines)
    assert daemon.json("scheduler", "status")["revision"] == before
    (refused,) = [one for one in daemon.json("scheduler", "actions")["actions"] if one["action"] == "reload"]
    assert "has five fields" in refused["error"]


def test_what_waits_for_the_next_start_is_told(make_daemon: Any) -> None:
    daemon = make_daemon(job("steps"))
    daemon.configure(job("steps"), control={"readers": ["root"]}, metrics={"listen": "127.0.0.1:9"})
    told = [
        f"{key} has changed in the configuration, which takes effect at the next start"
        for key in ("control", "metrics.listen")
    ]
    assert set(told) <= set(plan(daemon)["warnings"])
    done = daemon.cli("scheduler", "reload")
    assert done.returncode == 0
    assert all(line in done.stdout for line in told)
    assert daemon.json("scheduler", "status")["degraded"] == told
    daemon.configure(job("steps"))
    daemon.cli("scheduler", "reload")
    assert daemon.json("scheduler", "status")["degraded"] == []


def test_parameters_that_the_code_refuses_stop_a_reload(make_daemon: Any) -> None:
    daemon = make_daemon(job("typed"))
    daemon.configure(job("typed", parameters={"times": 99}))
    for arguments in (("reload",), ("reload", "--plan")):
        done = daemon.cli("scheduler", *arguments)
        assert done.returncode == 1
        assert "parameters.times" in done.stderr
    assert daemon.client_events("typed")[-1]["message"].startswith("1 calm")


def test_no_instant_is_lost_or_doubled_across_reloads(make_daemon: Any) -> None:
    """Every second a fire, and a reload after each few: some change nothing, some everything."""
    daemon = make_daemon(job("quick", "* * * * * *"), job("steps", "*/2 * * * * *"))
    follower = daemon.client.events("GET", "/v1/logs/follow?job=quick&limit=0")
    for number in range(4):
        next(follower)
        if number % 2:
            daemon.configure(job("quick", "* * * * * *"), job("steps", f"*/{number + 2} * * * * *"))
        reloads = [threading.Thread(target=daemon.cli, args=("scheduler", "reload")) for _ in range(2)]
        for one in reloads:
            one.start()
        for one in reloads:
            one.join()
    audit = daemon.json("jobs", "audit")
    assert audit["clean"], audit
    assert sum(one["planned"] for one in audit["jobs"]) > 4
    assert daemon.cli("jobs", "audit").returncode == 0


def test_a_reload_picks_up_an_extension_that_was_installed_meanwhile(make_daemon: Any) -> None:
    daemon = make_daemon(job("late", extension="late"))
    assert daemon.json("jobs", "show", "late")["state"] == "unavailable"
    site = daemon.folder / "site"
    (site / "late_jobs.py").write_text(
        "from scheduler_daemon.extension import Extension, JobResult\n"
        "extension = Extension('late')\n"
        "@extension.job(name='late', schedule='0 0 0 1 1 *')\n"
        "def late(ctx):\n    return JobResult.success()\n"
    )
    info = site / "late-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[scheduler_daemon.extensions]\nlate = late_jobs:extension\n")
    assert [one["key"] for one in plan(daemon)["extensions"]] == ["late"]
    assert daemon.cli("scheduler", "reload").returncode == 0
    assert daemon.cli("jobs", "run", "late").returncode == 0


@pytest.fixture
def mortal_server() -> Iterator[TemporaryServer]:
    server = TemporaryServer()
    server.start()
    yield server
    server.stop()


def test_while_the_database_is_away_list_status_and_next_answer_from_memory(
    make_daemon: Any, mortal_server: TemporaryServer
) -> None:
    daemon = make_daemon(job("quick", "* * * * * *"), job("steps"))
    daemon.stop()
    daemon.url = mortal_server.make_database()
    daemon.configure(job("quick", "* * * * * *"), job("steps"))
    daemon.start()
    daemon.run_to_end("steps")
    mortal_server.stop()

    while daemon.client.get("/v1/status")["database_away_since"] is None:
        pass
    listed = daemon.cli("jobs", "list")
    assert listed.returncode == 0
    assert "from memory, without last runs: database away since" in listed.stdout
    assert "steps" in listed.stdout
    status = daemon.cli("scheduler", "status")
    assert status.returncode == 0
    assert "away since" in status.stdout
    assert daemon.cli("jobs", "next", "steps").returncode == 0
    for arguments in (
        ("jobs", "show", "steps"), ("jobs", "run", "steps"), ("jobs", "history"), ("jobs", "why", "steps"),
        ("jobs", "disable", "steps"), ("jobs", "timeline"), ("logs", "view"), ("scheduler", "actions"),
    ):  # fmt: skip
        done = daemon.cli(*arguments)
        assert done.returncode == 1, arguments
        assert "database away since" in done.stderr, arguments
    assert daemon.stop() == 0
