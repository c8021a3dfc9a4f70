"""What hinders a start, and stops in the middle of one: by the real command, on a real state directory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler_daemon.database.temporary import quick_place

PROGRAM = Path(sys.executable).parent / "scheduler-daemon"
PATIENCE_S = 180.0
pytestmark = pytest.mark.timeout(600)
SECRET = "hunter2-and-more"


class Starting:
    """A daemon in a session of its own, as at a terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        self.process: subprocess.Popen[str]

    def start(self, **config: object) -> None:
        document = {"state_dir": str(self.state), "scheduler": {"jobs": []}, **config}
        (self.folder / "config.yaml").write_text(json.dumps(document))
        self.process = subprocess.Popen(
            [PROGRAM, "run", "--config", self.folder / "config.yaml"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "HOOK": f"https://hooks.example/{SECRET}"},
        )

    def until_there(self, path: Path) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not path.exists():
            assert self.process.poll() is None, self.ended()
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def ended(self) -> tuple[int, str]:
        """Exit status and all that it said."""
        said, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said


@pytest.fixture
def starting() -> Iterator[Starting]:
    with tempfile.TemporaryDirectory(prefix="sd-start-", dir=quick_place()) as folder:
        one = Starting(Path(folder))
        yield one
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_a_stop_while_the_database_does_not_answer_is_obeyed(starting: Starting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        starting.start(database={"url": f"postgresql://nobody@127.0.0.1:{port}/nothing"})
        silent.settimeout(PATIENCE_S)
        caller, _ = silent.accept()
        starting.process.send_signal(signal.SIGTERM)
        status, said = starting.ended()
        caller.close()
    assert status == 0, said
    assert said.rstrip().endswith("stopped")


def test_ctrl_c_while_the_database_is_made_leaves_nothing_torn(starting: Starting) -> None:
    """At a terminal it reaches every process of the daemon's group."""
    starting.start()
    starting.until_there(starting.state / "postgres" / "data.unfinished")
    os.killpg(starting.process.pid, signal.SIGINT)
    status, said = starting.ended()
    assert status == 0, said
    assert "failed" not in said
    starting.start()
    starting.until_there(starting.state / "run" / "control.sock")
    starting.process.send_signal(signal.SIGTERM)
    assert starting.ended()[0] == 0


def test_a_file_where_the_database_should_be_is_told_in_one_line(starting: Starting) -> None:
    (starting.state / "postgres").write_text("")
    starting.start()
    status, said = starting.ended()
    assert status == 75
    assert said.splitlines()[-1].endswith(f"cannot be set up there: File exists ({starting.state}/postgres)")


def test_a_fault_of_its_own_is_told_without_secrets(starting: Starting) -> None:
    starting.state = starting.state / SECRET
    (starting.state / "spool.jsonl").mkdir(parents=True)
    starting.start(notifications={"webhook": "${env:HOOK}"})
    status, said = starting.ended()
    assert status == 70
    assert "the daemon ends by a fault of its own" in said
    assert "IsADirectoryError" in said
    assert SECRET not in said
