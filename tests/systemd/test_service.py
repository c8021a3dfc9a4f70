"""The service under a real systemd, from install to uninstall; each test goes on where the last ended."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)

HERE = Path(__file__).parent
SERVICE = "scheduler-daemon.service"
HOME = "/opt/scheduler-daemon"
SITE = "/srv/scheduler-daemon/site"
JOBS = """
scheduler:
  jobs:
    - {name: publish_pipeline, extension: web, job: publish_pipeline, schedule: "@yearly", enabled: true}
"""
TRIAL = """    - {name: nightly, extension: trial, job: nightly, schedule: "0 0 3 * * *", enabled: true}
    - {name: long, extension: trial, job: long, schedule: "@yearly", enabled: true}
    - {name: stubborn, extension: trial, job: stubborn, schedule: "@yearly", enabled: true, kill_after: 1s}
"""
PROPERTIES = "/etc/systemd/system/scheduler-daemon.service.d"


def cli(box: Any, *command: str, user: str | None = None) -> Any:
    return json.loads(box.run("systemprompt", *command, "--json", user=user))


def show(box: Any, what: str) -> str:
    return str(box.run("systemctl", "show", "-P", what, SERVICE))


def processes(box: Any) -> set[str]:
    """Of the service's user, as the machine sees them."""
    return set(box.try_run("pgrep", "-u", "scheduler-daemon").stdout.split())


def drop_in_extension(box: Any) -> None:
    """As an administrator would: a package into the folder that every version reads."""
    box.write(f"{HOME}/extensions/trial_jobs.py", (HERE / "trial_jobs.py").read_text())
    info = f"{HOME}/extensions/trial-1.dist-info"
    box.write(f"{info}/METADATA", "Metadata-Version: 2.1\nName: trial\nVersion: 1\n")
    box.write(f"{info}/entry_points.txt", "[scheduler_daemon.extensions]\ntrial = trial_jobs:extension\n")


def test_the_unit_is_hardened_and_verifies(box: Any) -> None:
    unit = f"{box.source}/systemd/{SERVICE}"
    box.run("mkdir", "-p", f"{HOME}/current/bin")
    for program in ("scheduler-daemon", "systemprompt"):
        box.run("install", "-m", "755", "/bin/true", f"{HOME}/current/bin/{program}")
    verified = box.try_run("systemd-analyze", "verify", unit)
    assert (verified.returncode, verified.stderr) == (0, "")
    box.run("rm", "-r", HOME)

    said = box.run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit)
    exposure = float(re.search(r"Overall exposure level for .*: ([\d.]+)", said)[1])  # type: ignore[index]
    assert exposure <= 2.0


def test_a_python_in_somebodys_home_is_refused(box: Any) -> None:
    box.run("cp", "-L", "/usr/bin/python3", "/root/python3")
    manage = f"{box.source}/systemd/manage.sh"
    refused = box.try_run("env", "PYTHON=/root/python3", "sh", manage, "install")
    assert refused.returncode != 0
    assert "/root/python3 lies in somebody's home" in refused.stderr


def test_install(box: Any) -> None:
    done = box.make("install")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "systemctl enable --now scheduler-daemon" in done.stdout
    version = box.run("readlink", f"{HOME}/current")
    assert re.fullmatch(r"versions/\d+\.\d+\.\d+-\d{8}T\d{6}Z", version)
    assert box.run("scheduler-daemon", "--version").endswith("0.1.0")
    assert box.run("stat", "-c", "%U %a", "/var/lib/scheduler-daemon") == "scheduler-daemon 700"
    assert box.run("stat", "-c", "%U %a", "/etc/scheduler-daemon/config.yaml") == "root 644"
    assert box.run("stat", "-c", "%U %a", "/etc/scheduler-daemon/secrets") == "root 700"
    assert show(box, "ActiveState") == "inactive"


def test_ready_comes_when_the_site_is_there(box: Any) -> None:
    box.write("/etc/scheduler-daemon/scheduler.yaml", JOBS)
    box.run("systemctl", "enable", "--now", SERVICE)
    assert box.run("stat", "-Lc", "%F", f"{SITE}/index.html") == "regular file"
    assert show(box, "StatusText").startswith("next publish_pipeline at ")
    assert "<html" in box.run("cat", f"{SITE}/index.html", user="nobody")
    runs = cli(box, "infra", "jobs", "history")["runs"]
    assert [(run["kind"], run["status"]) for run in runs] == [("startup", "succeeded")]


def told(box: Any, what: str) -> dict[str, str]:
    """`/proc/PID/WHAT` of each process of the service; one that ends meanwhile has nothing to tell."""
    answers = {pid: box.try_run("cat", f"/proc/{pid}/{what}") for pid in processes(box)}
    return {pid: answer.stdout for pid, answer in answers.items() if answer.returncode == 0}


def test_children_do_not_see_what_systemd_told_the_daemon(box: Any) -> None:
    environments = told(box, "environ")
    assert "NOTIFY_SOCKET=" in environments.pop(show(box, "MainPID"))
    assert environments
    assert not [pid for pid, environment in environments.items() if "NOTIFY_SOCKET" in environment]


def test_workers_are_the_first_to_go_when_memory_runs_out(box: Any) -> None:
    scores = told(box, "oom_score_adj")
    main = int(scores.pop(show(box, "MainPID")))
    assert main in (-100, 0)  # where the machine lets nobody lower it, it stays
    assert 500 in map(int, scores.values())


def test_members_of_the_group_control_it_and_others_are_refused(box: Any) -> None:
    box.run("useradd", "--no-create-home", "-G", "scheduler-daemon", "olga")
    box.run("useradd", "--no-create-home", "mallory")
    assert cli(box, "infra", "jobs", "list", user="olga")["jobs"][0]["name"] == "publish_pipeline"
    cli(box, "infra", "jobs", "disable", "publish_pipeline", user="olga")
    cli(box, "infra", "jobs", "enable", "publish_pipeline")
    actions = cli(box, "infra", "scheduler", "actions")["actions"]
    assert {"olga", "root"} <= {one["user_name"] for one in actions}

    refused = box.try_run("systemprompt", "infra", "jobs", "list", user="mallory")
    assert refused.returncode != 0
    assert "you may not open /run/scheduler-daemon/control.sock" in refused.stderr
    assert box.try_run("ls", "/var/lib/scheduler-daemon", user="mallory").returncode != 0


def test_an_extension_is_dropped_in_and_found_by_a_reload(box: Any) -> None:
    drop_in_extension(box)
    box.write("/etc/scheduler-daemon/scheduler.yaml", JOBS + TRIAL)
    box.run("systemctl", "reload", SERVICE)
    jobs = {one["name"]: one["state"] for one in cli(box, "infra", "jobs", "list")["jobs"]}
    assert jobs["nightly"] == "scheduled"
    box.run("systemprompt", "infra", "jobs", "run", "nightly")


def test_a_reload_of_a_bad_configuration_fails_and_changes_nothing(box: Any) -> None:
    before = cli(box, "infra", "scheduler", "status")["revision"]
    box.write("/etc/scheduler-daemon/scheduler.yaml", (JOBS + TRIAL).replace("0 0 3 * * *", "0 3 * * *"))
    refused = box.try_run("systemctl", "reload", SERVICE)
    assert refused.returncode != 0
    assert "has five fields" in box.journal("-u", SERVICE)
    assert show(box, "ActiveState") == "active"
    assert cli(box, "infra", "scheduler", "status")["revision"] == before
    box.write("/etc/scheduler-daemon/scheduler.yaml", JOBS + TRIAL)
    box.run("systemctl", "reload", SERVICE)


def test_the_journal_knows_jobs_and_runs(box: Any) -> None:
    entries = [json.loads(line) for line in box.journal("-o", "json", "SCHEDULER_JOB=nightly").splitlines()]
    said = {entry["MESSAGE"].partition("  ")[0]: entry for entry in entries}
    line = said["nightly: the nightly work is done"]
    assert line["SCHEDULER_FIELD_ROWS"] == "7"
    assert line["PRIORITY"] == "6"
    assert line["_SYSTEMD_UNIT"] == SERVICE
    run = cli(box, "infra", "jobs", "history", "--job", "nightly")["runs"][0]
    assert line["SCHEDULER_RUN"] == run["id"]
    assert "nightly: run succeeded" in said
    assert "run started" in box.journal("SCHEDULER_JOB=publish_pipeline")


def test_kill_9_of_the_daemon_leaves_nothing_behind(box: Any) -> None:
    box.run("systemprompt", "infra", "jobs", "run", "--no-wait", "long")
    box.run("systemprompt", "infra", "jobs", "run", "--no-wait", "stubborn")
    box.until("test", "-s", "/srv/scheduler-daemon/trial/stubborn")
    before = processes(box)
    box.run("kill", "-9", show(box, "MainPID"))
    box.until("systemctl", "show", "-P", "NRestarts", SERVICE, says="1")
    box.until("systemctl", "is-active", SERVICE, says="active")
    assert not before & processes(box)
    ended = cli(box, "infra", "jobs", "history", "--job", "long")["runs"][0]
    assert (ended["status"], ended["reason"]) == ("lost", "daemon_died")


def test_the_watchdog_restarts_a_daemon_that_stands_still(box: Any) -> None:
    box.write(f"{PROPERTIES}/test.conf", "[Service]\nWatchdogSec=20s\nTimeoutAbortSec=3s\n")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", SERVICE)
    main, pinged = show(box, "MainPID"), show(box, "WatchdogTimestampMonotonic")
    box.until("sh", "-c", f"systemctl show -P WatchdogTimestampMonotonic {SERVICE} | grep -vx {pinged}")
    assert show(box, "MainPID") == main
    box.run("kill", "-STOP", main)
    box.until("sh", "-c", f"systemctl show -P MainPID {SERVICE} | grep -v -e '^{main}$' -e '^0$'")
    box.until("systemctl", "is-active", SERVICE, says="active")
    assert "Watchdog timeout" in box.journal("-u", SERVICE, "_PID=1")


def test_a_hanging_job_does_not_hold_up_the_stop(box: Any) -> None:
    box.write("/etc/scheduler-daemon/local.yaml", "shutdown_grace: 1s\n")
    box.run("sed", "-i", "s/^includes:/includes:\\n  - local.yaml/", "/etc/scheduler-daemon/config.yaml")
    box.run("systemctl", "reload", SERVICE)
    box.run("systemprompt", "infra", "jobs", "run", "--no-wait", "stubborn")
    box.until("sh", "-c", "systemprompt infra scheduler status --json | grep -q '\"running\": *1'")
    box.run("systemctl", "stop", SERVICE)
    assert show(box, "Result") == "success"  # and not "timeout"
    assert processes(box) == set()
    box.run("systemctl", "start", SERVICE)
    ended = cli(box, "infra", "jobs", "history", "--job", "stubborn")["runs"][0]
    assert (ended["status"], ended["reason"]) == ("cancelled", "shutdown")


def test_a_nightly_job_that_the_machine_slept_through_is_caught_up(box: Any) -> None:
    """The machine is off; its clock says a day later when it is on again."""
    box.write("/etc/scheduler-daemon/shift", "0")
    box.write(
        f"{PROPERTIES}/clock.conf",
        "[Service]\nEnvironment=SCHEDULER_DAEMON_TEST_CLOCK=/etc/scheduler-daemon/shift\n",
    )
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", SERVICE)
    box.halt()
    box.path("/etc/scheduler-daemon/shift").write_text(str(24 * 3600))
    box.boot()
    box.until("systemctl", "is-active", SERVICE, says="active")
    box.until("sh", "-c", "systemprompt infra jobs history --job nightly --json | grep -q catch_up")
    caught = cli(box, "infra", "jobs", "history", "--job", "nightly")["runs"][0]
    assert caught["kind"] == "catch_up"
    box.until(
        "sh",
        "-c",
        "systemprompt infra jobs history --job nightly --status succeeded --json | grep -q catch_up",
    )


def test_an_upgrade_under_way_keeps_the_old_version_until_the_new_one_is_ready(box: Any) -> None:
    """The new version's edits of configuration files lie beside the administrator's own."""
    before, main = box.run("readlink", f"{HOME}/current"), show(box, "MainPID")
    done = box.make("install", new_version(box, "0.2.0"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "diff /etc/scheduler-daemon/scheduler.yaml" in done.stdout
    assert "nightly" in box.run("cat", "/etc/scheduler-daemon/scheduler.yaml")
    after = box.run("readlink", f"{HOME}/current")
    assert after.startswith("versions/0.2.0-")
    assert after != before
    assert show(box, "MainPID") != main
    jobs = {one["name"]: one["state"] for one in cli(box, "infra", "jobs", "list")["jobs"]}
    assert jobs["nightly"] == "scheduled"  # an extension outlives the version


def test_a_migration_that_fails_changes_nothing(box: Any) -> None:
    before, main = box.run("readlink", f"{HOME}/current"), show(box, "MainPID")
    source = new_version(box, "0.3.0")
    box.write(f"{source}/scheduler_daemon/database/scheduler/9999_broken.sql", "CREATE TABEL nonsense ();\n")
    refused = box.make("install", source)
    assert refused.returncode != 0
    assert "9999_broken.sql" in refused.stdout
    assert "the migration failed, so nothing has changed" in refused.stderr
    assert box.run("readlink", f"{HOME}/current") == before
    assert show(box, "MainPID") == main
    assert "0.3.0" not in box.run("ls", f"{HOME}/versions")


def test_a_version_that_does_not_come_up_is_taken_back(box: Any) -> None:
    before = box.run("readlink", f"{HOME}/current")
    source = new_version(box, "0.4.0")
    box.run("sed", "-i", "s/daemon run --config/daemon run --no-such-option/", f"{source}/systemd/{SERVICE}")
    refused = box.make("install", source)
    assert refused.returncode != 0
    assert "is in use again" in refused.stderr
    assert box.run("readlink", f"{HOME}/current") == before
    assert show(box, "ActiveState") == "active"
    assert cli(box, "infra", "scheduler", "status")["ready"]


def test_uninstall_keeps_data_and_configuration(box: Any) -> None:
    done = box.make("uninstall")
    assert done.returncode == 0, done.stdout + done.stderr
    assert box.try_run("systemctl", "cat", SERVICE).returncode != 0
    assert processes(box) == set()
    for gone in (f"{HOME}/versions", f"{HOME}/current", "/usr/local/bin/systemprompt"):
        assert box.try_run("test", "-e", gone).returncode != 0
    for kept in (
        "/etc/scheduler-daemon/config.yaml",
        "/var/lib/scheduler-daemon/postgres/data",
        f"{SITE}/index.html",
    ):
        box.run("test", "-e", kept)


def new_version(box: Any, version: str) -> str:
    """A copy of these sources that calls itself so."""
    source = f"/root/source-{version}"
    box.run("cp", "-R", box.source, source)
    box.run("sed", "-i", f'0,/^version = .*/s//version = "{version}"/', f"{source}/pyproject.toml")
    return source
