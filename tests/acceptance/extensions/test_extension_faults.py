"""Extensions that are broken, each in its own way: reported by name with the cause, and the rest works."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import pytest

Machine = Any

TICK = """
    import os, time
    from pathlib import Path
    from scheduler_daemon.extension import Extension, JobResult

    extension = Extension("{name}", migrations={migrations})

    @extension.job(name="{name}_tick", schedule="0 0 0 1 1 *")
    def tick(ctx): return JobResult.success().with_message("{name} ticks")
"""
FAULTY = {
    "sound": "",
    "absent": "import a_module_that_nobody_has",
    "asleep": "time.sleep(3600)",
    "deadly": "os._exit(7)",
    "twice": """
        @extension.job(name="twice_same", schedule="0 0 0 1 1 *")
        def first(ctx): pass

        @extension.job(name="twice_same", schedule="0 0 0 1 1 *")
        def second(ctx): pass
    """,
    "thief": """
        @extension.job(name="sound_tick", schedule="0 0 0 1 1 *")
        def other(ctx): pass
    """,
    "hasty": "",
}
ERRORS = {
    "sound": None,
    "absent": "scheduler-zoo[absent]: cannot be imported: HOME/absent.py: "
    "ModuleNotFoundError: No module named 'a_module_that_nobody_has'",
    "asleep": "scheduler-zoo[asleep]: its import did not end within 2 s, at HOME/asleep.py",
    "deadly": "scheduler-zoo[deadly]: its import ended the process: it exited with code 7",
    "twice": 'scheduler-zoo[twice]: registers two jobs named "twice_same"; neither can run',
    "thief": 'scheduler-zoo[thief]: its job "sound_tick" is already registered by scheduler-zoo[sound]',
    "hasty": "scheduler-zoo[hasty]: its migration failed: HOME/0001_greetings.sql:1:8: "
    'syntax error at or near "TABEL"',
}


@pytest.fixture(scope="module", autouse=True)
def installed(machine: Machine, job: Any) -> None:
    """One package with an extension of each kind: what each costs is its own all the same."""
    modules = {}
    for name, source in FAULTY.items():
        migrations = 'Path(__file__).parent / "migrations"' if name == "hasty" else None
        modules[name] = dedent(TICK).format(name=name, migrations=migrations) + dedent(source)
    package = machine.extension("zoo", "", **modules)
    project = package.parent / "pyproject.toml"
    entries = "\n".join(f'{name} = "scheduler_zoo.{name}:extension"' for name in FAULTY)
    project.write_text(project.read_text().replace('zoo = "scheduler_zoo:extension"', entries))
    machine.write(package / "migrations" / "0001_greetings.sql", "CREATE TABEL t (n int);")
    machine.install("zoo")
    machine.schedule(*(job(name, f"{name}_tick") for name in FAULTY))
    machine.schedule(job("twice", "twice_same"), job("thief", "thief_other", job="sound_tick"))
    machine.reload()


def told(machine: Machine, text: str | None) -> str | None:
    """Without the folder, and without line numbers in Python."""
    return text and re.sub(r"(\.py):\d+", r"\1", re.sub(r"/\S+/scheduler_zoo(/migrations)?", "HOME", text))


def test_each_is_reported_by_name_with_its_cause(machine: Machine) -> None:
    extensions = {one["name"]: one for one in machine.status()["extensions"]}
    assert {name: told(machine, extensions[name]["error"]) for name in FAULTY} == ERRORS
    assert "scheduler_zoo/asleep.py" in extensions["asleep"]["traceback"]
    assert "a_module_that_nobody_has" in extensions["absent"]["traceback"]


def test_what_is_sound_runs(machine: Machine) -> None:
    for job in ("sound_tick", "twice_tick", "thief_tick"):
        assert machine.run(job)["status"] == "succeeded", job


@pytest.mark.parametrize("name", ["absent_tick", "asleep_tick", "deadly_tick", "twice_same", "hasty_tick"])
def test_a_job_that_cannot_run_says_why_wherever_one_asks(machine: Machine, name: str) -> None:
    error = ERRORS[name.partition("_")[0]]
    assert error is not None
    cause = re.split(r", at HOME|: HOME", error.partition("]: ")[2])[0]
    assert cause in machine.sh(f"systemprompt infra jobs run {name}", status=1)
    assert cause in machine.sh(f"systemprompt infra jobs show {name}")
    listed = machine.sh("systemprompt infra jobs list")
    assert [cause in line for line in listed.splitlines() if line.startswith(f"{name} ")] == [True]


def test_the_log_has_each_with_its_traceback(machine: Machine) -> None:
    found = machine.sh("systemprompt infra logs view --level error -n 200")

    assert "extension unavailable" in found
    assert "extension faulty" in found  # those of which some jobs run
    for name in ("absent", "asleep"):
        assert re.search(rf'^ +File "\S+/scheduler_zoo/{name}\.py", line \d+', found, re.MULTILINE)


def test_check_reports_them_too_at_the_place_that_leads_nowhere(machine: Machine) -> None:
    found = told(machine, machine.sh("scheduler-daemon check --strict", status=1)) or ""

    for name, error in ERRORS.items():
        if error is not None and name != "hasty":  # check touches no database
            assert error in found, found
    line = next(line for line in found.splitlines() if "thief_other" in line)
    assert re.match(r"config/config\.yaml:\d+:\d+: warning: job \"thief_other\" is unavailable: ", line)
    assert "0 errors" in found


def test_mended_and_installed_anew_it_runs(machine: Machine) -> None:
    package = machine.home / "zoo" / "scheduler_zoo"
    machine.write(package / "migrations" / "0001_greetings.sql", "CREATE TABLE hasty_t (n int);")
    for name in ("absent", "asleep", "deadly"):
        file = package / f"{name}.py"
        file.write_text(file.read_text().replace(FAULTY[name], ""))
    machine.install("zoo")

    machine.reload()

    for name in ("hasty", "absent", "asleep", "deadly"):
        assert machine.run(f"{name}_tick")["message"] == f"{name} ticks"
