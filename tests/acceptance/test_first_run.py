"""What a new user does: the shipped configuration, the commands, a power cut, the specification's folders."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler_daemon.jobplane.processes import start_time

PROJECT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 90.0
HELLO = "---\ntitle: Hello\nslug: hello\npublished_at: 2026-01-02\nkind: article\n---\nWorld\n"
SPECIFIED = {
    "cleanup_anonymous_users",
    "cleanup_empty_contexts",
    "cleanup_inactive_sessions",
    "database_cleanup",
    "publish_pipeline",
    "content_analytics_aggregation",
    "daily_traffic_report",
    "daily_activity_summary",
}
LASTING = """
import os, time
from scheduler_daemon.extension import Extension, JobResult

extension = Extension("lasting")


@extension.job(name="lasts", schedule="@yearly", description="Runs until it is killed")
def lasts(ctx):
    with open(os.environ["LASTING_FIFO"], "w") as fifo:
        fifo.write("started")
    time.sleep(600)
    return JobResult.success()
"""


class Checkout:
    """The shipped config/ and docs/ in a folder of their own, and the daemon that runs on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "output"
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("config", "docs"):
            shutil.copytree(PROJECT / name, folder / name)
        self.config = folder / "config" / "config.yaml"
        os.mkfifo(folder / "fifo")

    def install_lasting(self) -> None:
        """An extension with a job that lasts; the daemon finds it on its path."""
        info = self.folder / "site" / "lasting-1.0.dist-info"
        info.mkdir(parents=True)
        (self.folder / "site" / "lasting_jobs.py").write_text(LASTING)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lasting\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[scheduler_daemon.extensions]\nlasting = lasting_jobs:extension\n"
        )

    def start(self) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [PROGRAMS / "scheduler-daemon", "run", "--config", self.config],
                env=self._environment(),
                stdout=output,
                stderr=output,
            )
        self.until(lambda: "Stop with Ctrl-C" in self.said)

    def start_on_terminal(self) -> int:
        """As a shell would; returns our side of the terminal that controls its session."""
        ours, its = os.openpty()
        self.process = subprocess.Popen(
            [PROGRAMS / "scheduler-daemon", "run", "--config", self.config],
            env=self._environment(),
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(its)
        said = b""
        while b"Stop with Ctrl-C" not in said:
            assert select.select([ours], [], [], PATIENCE_S)[0], said
            said += os.read(ours, 65536)
        return ours

    @property
    def said(self) -> str:
        return self.output.read_text()

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert self.process is not None
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)
        return found

    def stop(self, how: int = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)

    def cli(self, *words: str, status: int = 0) -> str:
        """`systemprompt infra jobs …` from the folder, without a word about the socket."""
        done = subprocess.run(
            [PROGRAMS / "systemprompt", "infra", "jobs", *words],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def history(self, name: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(self.cli("history", "--job", name, "--json"))["runs"]
        return runs

    def _environment(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if k != "SCHEDULER_DAEMON_SOCKET"}
        return ours | {
            "PYTHONPATH": str(self.folder / "site"),
            "LASTING_FIFO": str(self.folder / "fifo"),
            "TZ": "UTC",
            "COLUMNS": "200",
        }


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    with tempfile.TemporaryDirectory(prefix="sd-first-", dir="/var/tmp") as folder:
        one = Checkout(Path(folder))
        try:
            yield one
        finally:
            if one.process is not None and one.process.poll() is None:
                one.stop(signal.SIGTERM)


def descendants(pid: int) -> set[tuple[int, int]]:
    """Pids, each with its time of start: together they name a process for good."""
    children = {
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    }
    return {(child, start_time(child)) for child in children}.union(*map(descendants, children))


def lives(process: tuple[int, int]) -> bool:
    try:
        return start_time(process[0]) == process[1]
    except OSError:
        return False


def test_the_site_is_there_and_the_commands_work_at_once(checkout: Checkout) -> None:
    checkout.start()
    site = checkout.folder / "var" / "web" / "dist"
    assert str(site) in checkout.said
    assert "publish_pipeline" in checkout.said
    for document in (checkout.folder / "docs").glob("*.md"):
        page = site / ("" if document.stem == "index" else document.stem) / "index.html"
        assert "<h1" in page.read_text(), document
    for made in ("sitemap.xml", "llms.txt", "robots.txt"):
        assert (site / made).stat().st_size, made

    assert "Every 15 minutes" in checkout.cli("list")
    assert "0 */15 * * * *" in checkout.cli("show", "publish_pipeline")
    told = checkout.cli("run", "publish_pipeline")
    assert told.count("✓") == 9
    runs = checkout.history("publish_pipeline")
    assert runs[0]["kind"] == "manual"
    assert runs[-1]["kind"] == "startup"
    assert "manual" in checkout.cli("history")
    assert checkout.stop() == 0


def test_a_power_cut_leaves_no_process_and_no_doubt(checkout: Checkout) -> None:
    checkout.install_lasting()
    checkout.start()
    assert checkout.process is not None
    run_id = checkout.cli("run", "lasts", "--no-wait").split()[-1]
    with (checkout.folder / "fifo").open() as fifo:
        assert fifo.read() == "started"
    family = descendants(checkout.process.pid)
    before = checkout.history("publish_pipeline")
    checkout.stop(signal.SIGKILL)

    checkout.start()
    checkout.until(lambda: not any(map(lives, family)))
    (lost,) = checkout.history("lasts")
    assert (lost["id"], lost["status"]) == (run_id, "lost")
    after = [run["id"] for run in checkout.history("publish_pipeline")]
    assert after[-len(before) :] == [run["id"] for run in before]
    checkout.cli("audit")
    assert checkout.stop() == 0


def test_it_ends_with_the_terminal_that_it_was_started_on(checkout: Checkout) -> None:
    terminal = checkout.start_on_terminal()
    assert checkout.process is not None
    family = descendants(checkout.process.pid)
    os.close(terminal)
    assert checkout.process.wait(PATIENCE_S) == 0
    assert not any(map(lives, family))


def test_the_specifications_configuration_runs_in_the_specifications_folders(checkout: Checkout) -> None:
    scheduler, content = (checkout.folder / "services" / name for name in ("scheduler", "content"))
    scheduler.mkdir(parents=True)
    content.mkdir()
    checkout.config = scheduler / "config.yaml"
    shutil.copy(PROJECT / "tests" / "data" / "spec-scheduler.yaml", checkout.config)
    (content / "hello.md").write_text(HELLO)
    checkout.start()
    assert "World" in next((checkout.folder / "web" / "dist").rglob("hello/index.html")).read_text()
    jobs = json.loads(checkout.cli("list", "--json"))["jobs"]
    assert {job["name"] for job in jobs if job["state"] == "scheduled"} == SPECIFIED
    assert checkout.stop() == 0
