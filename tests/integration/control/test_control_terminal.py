"""The CLI in a real terminal and in a real shell: colour, Ctrl-C, completion."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Daemon = Any
PROGRAM = Path(sys.executable).parent / "systemprompt"
PATIENCE_S = 60.0


class Typist:
    """A process in a terminal of its own, what it has shown, and a hand on its keyboard."""

    def __init__(self, command: list[Any], **environment: str) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "LANG": "C.UTF-8", **environment},
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        )
        os.close(slave)

    def until(self, text: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self._master], [], [], 1.0)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self._master, 65536).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def ended(self) -> int:
        """Its exit status; what it showed last is read first, or it could not end."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < end, self.shown
            if select.select([self._master], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self._master, 65536).decode(errors="replace")
        os.close(self._master)
        return self.process.returncode


@pytest.fixture
def waiting(daemon: Daemon) -> Iterator[Typist]:
    """`jobs run waits` in a terminal, until its job waits."""
    daemon.close_gate("waits")
    typist = Typist([PROGRAM, "infra", "jobs", "run", "waits", "--socket", daemon.socket])
    typist.until("waiting")
    yield typist
    daemon.open_gate("waits")
    while any(one["live_runs"] for one in daemon.client.get("/v1/jobs")["jobs"]):
        pass


def test_ctrl_c_asks_and_can_cancel_the_run(waiting: Typist, daemon: Daemon) -> None:
    waiting.type("\x03")
    waiting.until("Leave it running, or cancel it?")
    waiting.type("cancel\n")
    waiting.until("by an operator")
    assert waiting.ended() == 1
    assert daemon.client.get("/v1/runs", job="waits", limit=1)["runs"][0]["status"] == "cancelled"


def test_ctrl_c_asks_and_can_leave_the_run_alone(waiting: Typist, daemon: Daemon) -> None:
    waiting.type("\x03")
    waiting.until("Leave it running, or cancel it?")
    waiting.type("\n")
    waiting.until("left running: ")
    assert waiting.ended() == 130
    assert daemon.client.get("/v1/runs", job="waits", limit=1)["runs"][0]["status"] == "running"


def test_ctrl_c_twice_leaves_the_run_alone(waiting: Typist, daemon: Daemon) -> None:
    waiting.type("\x03")
    waiting.until("Leave it running, or cancel it?")
    waiting.type("\x03")
    waiting.until("left running: ")
    assert waiting.ended() == 130


def test_a_terminal_gets_colour_unless_it_wants_none(daemon: Daemon) -> None:
    command = [PROGRAM, "infra", "jobs", "list", "--socket", daemon.socket]
    colourful, plain = Typist(command), Typist(command, NO_COLOR="1")
    for one in (colourful, plain):
        one.until("lost_code")
        assert one.ended() == 0
    assert "\x1b[31" in colourful.shown
    assert "\x1b" not in plain.shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion_script(shell: str) -> None:
    done = subprocess.run([PROGRAM, "completion", shell], capture_output=True, text=True, check=True)
    assert "_SYSTEMPROMPT_COMPLETE" in done.stdout
    if shutil.which(shell):
        check = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True, text=True, timeout=30)
        assert check.returncode == 0, check.stderr


def completed(words: str, **environment: str) -> list[str]:
    """What bash would offer at the end of these words."""
    done = subprocess.run(
        [PROGRAM],
        env={
            **os.environ,
            "_SYSTEMPROMPT_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_completion_knows_commands_options_and_the_names_of_jobs(daemon: Daemon) -> None:
    here = {"SCHEDULER_DAEMON_SOCKET": str(daemon.socket)}
    assert completed("systemprompt infra jobs his") == ["history"]
    assert "--status" in completed("systemprompt infra jobs history --st")
    assert "failed" in completed("systemprompt infra jobs history --status fa")
    assert set(completed("systemprompt infra jobs show ", **here)) >= {"steps", "fails", "gone"}
    assert completed("systemprompt infra jobs run ty", **here) == ["typed"]
    assert completed("systemprompt infra jobs history --job wa", **here) == ["waits"]


def test_completion_is_silent_where_no_daemon_is() -> None:
    assert completed("systemprompt infra jobs show ", SCHEDULER_DAEMON_SOCKET="/nowhere.sock") == []


def test_bash_completes_a_job_at_the_prompt(daemon: Daemon, tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(subprocess.run([PROGRAM, "completion", "bash"], capture_output=True, text=True).stdout)
    shell = Typist(
        ["bash", "--norc", "--noprofile", "-i"],
        PATH=f"{PROGRAM.parent}:{os.environ['PATH']}",
        SCHEDULER_DAEMON_SOCKET=str(daemon.socket),
        PS1="ready> ",
    )
    shell.until("ready> ")
    shell.type(f"source {script}\n")
    shell.type("systemprompt infra jobs show ty\t")
    shell.until("show typed")
    shell.type("\x15exit\n")
    shell.ended()
