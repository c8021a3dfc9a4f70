"""The guide's pages on the service say what is there: metrics, alert rules, commands, paths, rating."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click import Group

from scheduler_daemon.cli.main import main as systemprompt
from scheduler_daemon.cli.service import main as service
from scheduler_daemon.config import load
from scheduler_daemon.control import metrics
from scheduler_daemon.operations.tally import Tally
from scheduler_daemon.reporting import Event

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ("install", "upgrade", "backup", "monitoring", "several-machines", "security", "troubleshooting")
MONITORING = (DOCS / "monitoring.md").read_text()
RULES = re.search(r'```yaml title="scheduler-daemon.rules.yml"\n(.*?)```', MONITORING, re.DOTALL)
UNIT = ROOT / "systemd" / "scheduler-daemon.service"


def exposed() -> set[str]:
    """The names of all metrics, from an empty house."""
    now = datetime.now(UTC)
    status = SimpleNamespace(
        version="1", node="n", now=now, started_at=now, oldest_unhandled=None, database_away_since=None,
        ready=True, degraded=[], jobs=1, running=0, queued=0, workers=[], workers_max=1, clock_skew_s=0.0,
        spool_bytes=0, disk_free_bytes=1,
    )  # fmt: skip
    tally = Tally()
    tally.of("a").last_success_at = 1.0
    binding = SimpleNamespace(job=SimpleNamespace(name="a"), reason=None)
    house: Any = SimpleNamespace(
        tally=tally,
        notifier=None,
        clock=SimpleNamespace(now=lambda: now),
        engine=SimpleNamespace(turned_at=0.0),
        runner=SimpleNamespace(
            dispatcher=SimpleNamespace(turned_at=0.0),
            health=SimpleNamespace(degraded=lambda job: None),
            recorder=SimpleNamespace(logs_lost=0),
        ),
        plane=SimpleNamespace(restarts=0),
        edition=SimpleNamespace(bindings=[binding]),
        book=SimpleNamespace(jobs={"a": 1}, unscheduled={}, effectively_enabled=lambda name, now: True),
    )
    scheduler = SimpleNamespace(status=lambda: status, unhealthy=list)
    operations: Any = SimpleNamespace(house=house, scheduler=scheduler)
    return set(re.findall(r"^(scheduler_daemon_\w+)", metrics.text(operations).decode(), re.MULTILINE))


def test_every_metric_of_the_alert_rules_is_there() -> None:
    assert RULES
    rules = yaml.safe_load(RULES[1])["groups"][0]["rules"]
    used = {name for rule in rules for name in re.findall(r"scheduler_daemon_\w+", rule["expr"])}
    assert used <= exposed()
    assert all(rule["annotations"]["summary"] for rule in rules)


def test_promtool_takes_the_alert_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (on Debian: the package prometheus)")
    assert RULES
    (tmp_path / "rules.yml").write_text(RULES[1])
    done = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_is_in_the_table_and_none_besides() -> None:
    table = MONITORING.partition("| metric, after")[2].partition("\n\n")[0]
    told = {
        f"scheduler_daemon_{name}"
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exposed()}
    assert told == families


def test_every_event_is_in_the_table() -> None:
    table = MONITORING.partition("| event |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [event.value for event in Event]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    spoken = re.findall(r"`((?:systemprompt|scheduler-daemon) [^`\n]+)`", text)
    for line in [*blocks.splitlines(), *spoken]:
        for program, words in re.findall(r"(?:^|[ /])(systemprompt|scheduler-daemon) ([a-z][^#|…]*)", line):
            command: Any = systemprompt if program == "systemprompt" else service
            for word in words.split():
                if not isinstance(command, Group):
                    break
                with command.make_context("x", [], resilient_parsing=True) as context:
                    found = command.get_command(context, word)
                if found is None and program == "scheduler-daemon" and command is service:
                    break  # the unit's name, as in `systemctl … scheduler-daemon`
                assert found is not None, line
                command = found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages(page: str) -> None:
    for target in re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / f"{page}.md").read_text()):
        assert (DOCS / target).exists(), target


def test_the_examples_of_the_configuration_load(tmp_path: Path) -> None:
    (tmp_path / "discord-webhook").write_text("https://discord.example/api/webhooks/1/abc")
    (tmp_path / "heartbeat-url").write_text("https://hc.example/ping/1")
    for example in re.findall(r"```yaml\n(.*?)```", MONITORING, re.DOTALL):
        (tmp_path / "config.yaml").write_text(example)
        load(tmp_path / "config.yaml", environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_the_installed_configuration_loads() -> None:
    loaded = load(ROOT / "systemd" / "etc" / "config.yaml", environ={})
    assert loaded.settings.state_dir == Path("/var/lib/scheduler-daemon")
    assert loaded.settings.job("publish_pipeline") is not None
    assert not loaded.warnings


def test_the_units_rating_is_what_the_guide_says() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", UNIT], capture_output=True, text=True
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip("this systemd-analyze cannot rate a file")
    assert float(found[1]) <= 2.0
    assert f"rates it {found[1]} " in (DOCS / "security.md").read_text()


def test_the_paths_of_the_guide_are_those_of_the_unit() -> None:
    install = (DOCS / "install.md").read_text()
    unit = UNIT.read_text() + (ROOT / "systemd" / "manage.sh").read_text()
    for path in ("/opt/scheduler-daemon", "/etc/scheduler-daemon", "/srv/scheduler-daemon"):
        assert path in install
        assert path in unit
