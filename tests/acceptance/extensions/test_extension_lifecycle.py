"""Install, upgrade, remove: with pip, a reload, and a daemon that never restarts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

Machine = Any

VERSIONED = """
    from scheduler_versioned import text

    @extension.job(name="versioned_tell", schedule="0 0 0 1 1 *")
    async def tell(ctx):
        gate = ctx.parameters.get("gate")
        while gate and not Path(gate).exists():
            await asyncio.sleep(0.02)
        async with ctx.db_pool().connection() as connection:
            await connection.execute(text.STATEMENT)
        return JobResult.success().with_message(text.VERSION)
"""
ONE = """
    VERSION = "one"
    STATEMENT = "INSERT INTO versioned_greetings VALUES ('one', 1)"
"""
TWO = """
    VERSION = "two"
    STATEMENT = "INSERT INTO versioned_farewells VALUES (2)"
"""
GONE = """
    @extension.job(name="gone_tick", schedule="* * * * * *")
    def tick(ctx): pass
"""


@pytest.fixture(scope="module", autouse=True)
def installed(machine: Machine) -> None:
    """While the daemon runs: it notices nothing before a reload."""
    machine.sh("scheduler-daemon new-extension greeter")
    machine.extension("versioned", VERSIONED, text=ONE)
    machine.extension("gone", GONE)
    machine.install("greeter", "versioned", "gone")
    assert {one["name"] for one in machine.status()["extensions"]} == {"core", "example", "web"}


def test_from_nothing_to_a_scheduled_job_without_a_restart(machine: Machine, job: Any) -> None:
    pid = machine.status()["pid"]
    entry = job("greeter", "greeter_hello", "* * * * * *", parameters={"name": "Ada"}, overlap="allow")
    machine.schedule(entry)

    machine.reload()

    run = machine.until_run("greeter_hello", kind="cron", status="succeeded")
    assert run["message"].startswith("Ada: ")
    assert run["message"].endswith(" in all"), "its migration made the table before its first job ran"
    assert machine.status()["pid"] == pid
    by_hand = machine.sh("systemprompt infra jobs run greeter_hello -p name=Bob -p times=3")
    assert by_hand.count("Hello, Bob!") == 3
    assert "Bob: 3 in all" in by_hand
    shown = machine.sh("systemprompt infra jobs show greeter_hello")
    assert re.search(r"^times +integer, ≥ 1, ≤ 100 +1 +How often to say it$", shown, re.MULTILINE)


def test_an_upgrade_is_used_from_the_next_run_on_while_one_in_flight_ends_on_the_old_code(
    machine: Machine, job: Any, tmp_path: Path
) -> None:
    machine.schedule(job("versioned", "versioned_tell", overlap="allow"))
    machine.reload()
    gate = tmp_path / "gate"
    first = machine.sh(f"systemprompt infra jobs run versioned_tell -p gate={gate} --no-wait").strip()
    machine.until_run("versioned_tell", id=first, status="running")

    package = machine.home / "versioned" / "scheduler_versioned"
    machine.write(package / "text.py", TWO)
    machine.write(
        package / "migrations" / "0002_farewells.sql", "CREATE TABLE versioned_farewells (n int NOT NULL);"
    )
    machine.sh("sed -i 's/^version = .*/version = \"0.2.0\"/' versioned/pyproject.toml")
    machine.install("versioned")
    machine.reload()

    assert machine.run("versioned_tell")["message"] == "two"
    assert machine.client.get(f"/v1/runs/{first}")["status"] == "running"
    gate.touch()
    assert machine.until_run("versioned_tell", id=first, status="succeeded")["message"] == "one"
    versions = {one["name"]: one["version"] for one in machine.status()["extensions"]}
    assert versions["versioned"] == "0.2.0"


def test_the_jobs_of_a_removed_extension_are_unavailable_with_the_reason(machine: Machine, job: Any) -> None:
    machine.schedule(job("gone", "gone_tick", "* * * * * *"))
    machine.reload()
    machine.until_run("gone_tick", status="succeeded")

    machine.sh("pip uninstall -y scheduler-gone")
    machine.reload()

    reason = 'the extension "gone" is not installed'
    listed = machine.sh("systemprompt infra jobs list").splitlines()
    assert [reason in line for line in listed if line.startswith("gone_tick")] == [True]
    assert reason in machine.sh("systemprompt infra jobs run gone_tick", status=1)
    assert reason in machine.sh("scheduler-daemon check", status=0)
    skipped = machine.until_run("gone_tick", status="skipped", reason="unavailable")
    assert reason in skipped["message"]
    assert any(reason in one for one in machine.status()["degraded"])
