"""The commands of `systemprompt infra`, as whole processes, on a real daemon."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Daemon = Any


def test_list_tells_what_an_operator_looks_for(daemon: Daemon) -> None:
    daemon.run_to_end("steps")
    done = daemon.cli("jobs", "list")
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["NAME"].split() == (
        ["NAME", "EXTENSION", "SCHEDULE", "MEANING", "STATE", "LAST", "RUN", "NEXT", "FIRE", "NOTE"]
    )
    assert "0 0 0 1 1 *" in lines["steps"]
    assert "At 00:00" in lines["steps"]
    assert "succeeded" in lines["steps"]
    assert "01-01 00:00:00 (in " in lines["steps"]
    assert "unavailable" in lines["gone"]
    assert 'the extension "nowhere" is not installed' in lines["gone"]
    assert "disabled in the configuration" in lines["quick"]
    assert "\x1b" not in done.stdout


def test_show_lists_what_the_steps_of_the_last_runs_took(daemon: Daemon) -> None:
    daemon.run_to_end("steps")
    daemon.run_to_end("fails")
    shown = daemon.cli("jobs", "show", "steps").stdout.splitlines()
    table = shown[next(n for n, line in enumerate(shown) if line.startswith("STEP ")) :]
    assert [line.split()[0] for line in table] == ["STEP", "first", "second"]
    assert table[1].endswith(" ms")
    assert "bad" in (line := daemon.cli("jobs", "show", "fails").stdout.splitlines()[-1])
    assert line.endswith(" ms failed")


def test_lines_of_jobs_are_found_by_their_level(daemon: Daemon) -> None:
    run = daemon.run_to_end("fails")["run"]
    told = daemon.json("logs", "view", "--run", run, "--level", "warn")["logs"]
    assert {line["level"] for line in told} == {"ERROR", "WARN"}
    assert [line["message"] for line in told if line["message"].startswith("step bad failed")]
    assert {line["level"] for line in daemon.json("logs", "view")["logs"]} <= {"INFO", "WARN", "ERROR"}


def test_next_tells_the_time_at_home_and_that_nothing_plans_a_job(daemon: Daemon) -> None:
    there = daemon.cli("jobs", "next", "steps", "-n", "1", TZ="Asia/Tokyo").stdout
    assert " 09:00:00 JST " in there
    assert "00:00:00 UTC)" in there
    assert "UTC" not in daemon.cli("jobs", "next", "steps", "-n", "1", TZ="UTC").stdout.replace(
        " UTC ", "", 1
    )
    assert daemon.json("jobs", "next", "idle")["scheduled"] is False
    assert daemon.json("jobs", "next", "idle")["fires"] == []
    assert "idle is not scheduled" in daemon.cli("jobs", "next", "idle").stdout
    (line,) = [one for one in daemon.cli("jobs", "list").stdout.splitlines() if one.startswith("idle")]
    assert "0 0 0 1 1 *" not in line
    assert "not scheduled" in line
    shown = daemon.cli("jobs", "show", "idle").stdout
    assert "code's default" in shown
    assert "\nschedule" not in shown


def test_every_answer_is_there_as_json(daemon: Daemon) -> None:
    run = daemon.run_to_end("steps")["run"]
    assert {one["name"] for one in daemon.json("jobs", "list")["jobs"]} >= {"steps", "gone", "quick"}
    assert daemon.json("jobs", "show", "steps")["job"] == "steps"
    assert len(daemon.json("jobs", "next", "steps", "-n", "3")["fires"]) == 3
    assert daemon.json("jobs", "history", "--job", "steps")["runs"][0]["id"] == run
    assert daemon.json("jobs", "why", "steps")["verdict"]
    assert daemon.json("jobs", "timeline", "--hours", "1")["rows"]
    assert daemon.json("jobs", "audit")["clean"] is True
    assert daemon.json("logs", "view", "--run", run)["logs"]
    assert daemon.json("scheduler", "status")["ready"] is True
    assert daemon.json("scheduler", "revisions")["revisions"][0]["jobs"] == 8
    assert daemon.json("scheduler", "actions")["actions"]


def test_run_shows_the_steps_as_they_end(daemon: Daemon) -> None:
    done = daemon.cli("jobs", "run", "steps")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("steps: run ")
    assert [line.split()[1] for line in lines if line.startswith("  ✓")] == ["first", "second"]
    assert any("half way" in line and "part=1" in line for line in lines)
    assert lines[-1].startswith("succeeded in ")
    assert lines[-1].endswith("2 processed · both done")


def test_a_failed_run_exits_1_and_cannot_steer_the_terminal(daemon: Daemon) -> None:
    done = daemon.cli("jobs", "run", "fails")
    assert done.returncode == 1
    assert "✗ bad" in done.stdout
    assert "RuntimeError: as it was asked to" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_cause_of_a_failure_that_nobody_watched_is_in_the_log(daemon: Daemon) -> None:
    run = daemon.run_to_end("fails")["run"]
    done = daemon.cli("logs", "view", "--run", run)
    assert "  Traceback (most recent call last):" in done.stdout
    assert "probe_jobs.py" in done.stdout
    assert "raise RuntimeError" in done.stdout


def test_why_of_a_job_that_runs_by_hand_only(daemon: Daemon) -> None:
    done = daemon.cli("jobs", "why", "floods")
    assert (done.returncode, done.stderr) == (1, 'nothing ever scheduled "floods": it runs by hand only\n')


def test_what_a_full_log_leaves_out_is_said(daemon: Daemon) -> None:
    run = daemon.run_to_end("floods")["run"]
    assert (
        "the run's log is full: 5 more lines were not kept" in daemon.cli("logs", "view", "--run", run).stdout
    )
    assert "… 5 more lines were not kept" in daemon.cli("jobs", "run", "floods").stdout


def test_several_jobs_run_one_after_the_other_and_one_failure_is_enough(daemon: Daemon) -> None:
    done = daemon.cli("jobs", "run", "fails", "nope", "steps")
    assert done.returncode == 1
    assert 'no job is named "nope"' in done.stderr
    assert done.stdout.count(": run ") == 2
    assert done.stdout.rstrip().endswith("both done")


def test_several_jobs_answer_in_json_a_refusal_too(daemon: Daemon) -> None:
    done = daemon.cli("jobs", "run", "nope", "steps", "--json")
    assert done.returncode == 1
    refused, rest = json.JSONDecoder().raw_decode(done.stdout)
    assert refused["code"] == "unknown-job"
    assert json.loads(done.stdout[rest:])["status"] == "succeeded"


def test_a_switch_for_no_time_at_all_is_misspelt(daemon: Daemon) -> None:
    done = daemon.cli("jobs", "disable", "steps", "--for", "0s")
    assert done.returncode == 2
    assert '"0s" is no time at all' in done.stderr
    assert daemon.json("jobs", "show", "steps")["enabled"] is True


def test_what_cannot_be_written_is_said_in_a_line(daemon: Daemon, tmp_path: Path) -> None:
    done = daemon.cli("logs", "export", "-o", str(tmp_path / "no" / "file"))
    assert (done.returncode, done.stderr) == (1, f"{tmp_path}/no/file: No such file or directory\n")
    program = Path(sys.executable).parent / "systemprompt"
    shell = f"{program} infra jobs list --socket {daemon.socket} > /dev/full"
    full = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=60)
    assert (full.returncode, full.stderr) == (1, "cannot write: No space left on device\n")


def test_without_waiting_the_id_alone_comes_back(daemon: Daemon) -> None:
    done = daemon.cli("jobs", "run", "steps", "--no-wait")
    run = done.stdout.strip()
    assert done.returncode == 0
    assert len(run) == 36
    assert list(daemon.client.events("GET", f"/v1/runs/{run}/events"))[-1]["status"] == "succeeded"


def test_a_collision_names_the_run_in_the_way_and_queue_waits_for_it(daemon: Daemon) -> None:
    daemon.close_gate("waits")
    first = daemon.cli("jobs", "run", "waits", "--no-wait").stdout.strip()
    refused = daemon.cli("jobs", "run", "waits")
    assert refused.returncode == 1
    assert first in refused.stderr
    assert "--queue" in refused.stderr
    assert f'run {first} of "waits" is under way' in daemon.cli("jobs", "run", "neighbour").stderr
    queued = daemon.cli("jobs", "run", "waits", "--queue", "--no-wait")
    assert queued.returncode == 0
    daemon.open_gate("waits")
    ended = list(daemon.client.events("GET", f"/v1/runs/{queued.stdout.strip()}/events"))[-1]
    assert ended["status"] == "succeeded"


def test_cancel_ends_a_run_by_the_beginning_of_its_id(daemon: Daemon) -> None:
    daemon.close_gate("waits")
    run = daemon.cli("jobs", "run", "waits", "--no-wait").stdout.strip()
    events = daemon.client.events("GET", f"/v1/runs/{run}/events")
    assert next(events)["event"] == "joined"
    done = daemon.cli("jobs", "cancel", run[:23])
    assert done.returncode == 0, done.stderr
    assert list(events)[-1]["status"] == "cancelled"
    again = daemon.cli("jobs", "cancel", run)
    assert again.returncode == 1
    assert "already ended: cancelled" in again.stderr


def test_parameters_are_read_as_the_job_wants_them(daemon: Daemon) -> None:
    pairs = ("-p", "times=3", "-p", "mood=wild", "-p", "loud=yes", "-p", 'names:=["a","b"]')
    done = daemon.cli("jobs", "run", "typed", *pairs)
    assert done.stdout.rstrip().endswith("3 wild True a,b")
    wrong = daemon.cli("jobs", "run", "typed", "-p", "time=3", "-p", "mood=angry", "-p", "loud=perhaps")
    assert wrong.returncode == 1
    assert 'no parameter "time"; did you mean times?' in wrong.stderr
    assert 'mood: "angry" is not one of calm, wild' in wrong.stderr
    assert 'loud: "perhaps" is not a boolean' in wrong.stderr
    assert daemon.cli("jobs", "run", "typed", "-p", "times").returncode == 2


def test_secret_parameters_are_shown_nowhere(daemon: Daemon) -> None:
    daemon.client_events("typed", token="hunter2")
    run = daemon.json("jobs", "history", "--job", "typed", "-n", "1")["runs"][0]["id"]
    seen = json.dumps([daemon.json("scheduler", "actions"), daemon.client.get(f"/v1/runs/{run}")])
    assert "***" in seen
    assert "hunter2" not in seen


def test_switches_win_over_the_file_and_reset_returns_to_it(daemon: Daemon) -> None:
    off = daemon.cli("jobs", "disable", "steps", "--reason", "moving house", "--for", "2h")
    assert off.returncode == 0
    assert "steps is disabled" in off.stdout
    (entry,) = [one for one in daemon.json("jobs", "list")["jobs"] if one["name"] == "steps"]
    assert (entry["enabled"], entry["enabled_in_file"], entry["next_fire"]) == (False, True, None)
    assert entry["override"]["reason"] == "moving house"
    assert "until" in daemon.cli("jobs", "list").stdout
    assert "enabled, as the file says" in daemon.cli("jobs", "enable", "steps", "--reset").stdout
    done = [one["action"] for one in daemon.json("scheduler", "actions")["actions"][:2]]
    assert done == ["reset", "disable"]


def test_a_job_without_code_cannot_be_enabled(daemon: Daemon) -> None:
    done = daemon.cli("jobs", "enable", "lost_code")
    assert done.returncode == 1
    assert 'the extension "probe" has no job "no_such_job"' in done.stderr


def test_switching_survives_a_restart_and_a_reload(make_daemon: Any) -> None:
    daemon = make_daemon({"name": "steps", "extension": "probe", "job": "steps", "schedule": "0 0 0 1 1 *",
                          "enabled": True})  # fmt: skip
    daemon.cli("jobs", "disable", "steps")
    assert daemon.cli("scheduler", "reload").returncode == 0
    assert daemon.json("jobs", "show", "steps")["enabled"] is False
    daemon.run_to_end("steps")
    program = Path(sys.executable).parent / "systemprompt"
    follow = [program, "infra", "logs", "follow", "-n", "1", "--socket", daemon.socket]
    follower = subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert follower.stdout is not None
    assert follower.stdout.readline()
    assert daemon.stop() == 0
    assert follower.communicate(timeout=60)[1] == "the daemon stopped\n"
    assert follower.returncode == 1
    daemon.start()
    assert daemon.json("jobs", "show", "steps")["state"] == "disabled"


def test_an_unknown_name_is_answered_with_the_nearest_and_exit_1(daemon: Daemon) -> None:
    for arguments in (["show", "step"], ["run", "step"], ["next", "step"], ["why", "step"]):
        done = daemon.cli("jobs", *arguments)
        assert done.returncode == 1
        assert "did you mean steps?" in done.stderr
    assert json.loads(daemon.cli("jobs", "show", "step", "--json").stdout)["nearest"] == ["steps"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "lst"),
        ("jobs", "history", "--since", "yesterday"),
        ("jobs", "history", "--status", "good"),
        ("jobs", "disable", "steps", "--for", "soon"),
        ("jobs", "enable", "steps", "--reset", "--for", "2h"),
        ("logs", "view", "-n", "0"),
    ],
)
def test_wrong_usage_is_exit_2(daemon: Daemon, arguments: tuple[str, ...]) -> None:
    done = daemon.cli(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr


def test_no_daemon_is_exit_3_and_one_line_says_what_to_start(tmp_path: Path) -> None:
    command = [Path(sys.executable).parent / "systemprompt", "infra", "jobs", "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "var/run/control.sock (not there)" in line
    assert "/run/scheduler-daemon/control.sock (not there)" in line
    assert line.endswith("start one with: scheduler-daemon run --config config/config.yaml")


def test_a_socket_that_is_named_is_the_only_one_tried(daemon: Daemon) -> None:
    done = daemon.cli("jobs", "list", "--socket", "/nowhere/x.sock")
    assert done.returncode == 3
    assert done.stderr.count("(") == 1
    assert (
        daemon.cli("jobs", "list", "--socket", str(daemon.socket), SCHEDULER_DAEMON_SOCKET="").returncode == 0
    )


def test_logs_can_be_viewed_searched_and_exported(daemon: Daemon, tmp_path: Path) -> None:
    daemon.run_to_end("fails")
    errors = daemon.cli("logs", "view", "--level", "error", "--since", "1h", "--job", "fails")
    assert "as it was asked to" in errors.stdout
    assert "about to fail" in errors.stdout
    assert "INFO" not in errors.stdout
    assert "for the last time" not in errors.stdout
    assert "for the last time" in daemon.cli("logs", "view", "--level", "warn", "--job", "fails").stdout
    daemon.run_to_end("steps")
    assert "half way" in daemon.cli("logs", "search", "HALF", "--module", "ste").stdout
    file = tmp_path / "logs.csv"
    assert daemon.cli("logs", "export", "-f", "csv", "-o", str(file), "--job", "steps").returncode == 0
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert {row["job"] for row in rows} == {"steps"}
    lines = daemon.cli("logs", "export", "-n", "3").stdout.splitlines()
    assert len([json.loads(line) for line in lines]) == 3


def test_logs_are_followed_as_they_come(daemon: Daemon) -> None:
    before = daemon.run_to_end("steps")["run"]
    program = Path(sys.executable).parent / "systemprompt"
    command = [
        program,
        "infra",
        "logs",
        "follow",
        "--job",
        "steps",
        "-n",
        "1",
        "--socket",
        str(daemon.socket),
    ]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout is not None
        assert before[:18] in follower.stdout.readline()
        run = daemon.run_to_end("steps")["run"]
        while run[:18] not in (line := follower.stdout.readline()):
            assert line
    finally:
        follower.terminate()
        follower.communicate(timeout=30)


def test_check_reads_the_configuration_of_the_running_daemon(daemon: Daemon) -> None:
    done = daemon.cli("scheduler", "check")
    assert done.returncode == 0
    assert 'job "gone" is unavailable' in done.stdout
    assert daemon.cli("scheduler", "check", "--strict").returncode == 1


def test_a_reader_that_has_seen_enough_is_no_error(daemon: Daemon) -> None:
    program = Path(sys.executable).parent / "systemprompt"
    shell = f"{program} infra logs export --socket {daemon.socket} | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
