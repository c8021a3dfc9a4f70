"""As a container runs it: first process of its namespace, logs on standard output, little /dev/shm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler_daemon.control.client import Client, NoDaemonError

PROGRAM = Path(sys.executable).parent / "scheduler-daemon"
PATIENCE_S = 180.0
NAMESPACE = ("unshare", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child")


def possible() -> bool:
    return os.geteuid() == 0 and subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not possible(), reason="no namespaces of its own can be had: needs root"),
]


class Contained:
    """`start` takes the words that come before the daemon's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()

    @property
    def client(self) -> Client:
        return Client(str(self.folder / "state" / "run" / "control.sock"))

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text()

    def configure(self, **more: Any) -> None:
        config = {"state_dir": str(self.folder / "state"), "scheduler": {"jobs": []}, **more}
        (self.folder / "config.yaml").write_text(json.dumps(config))

    def start(self, *before: str, options: tuple[str, ...] = ()) -> None:
        with (self.folder / "stdout").open("w") as out, (self.folder / "stderr").open("w") as err:
            self.process = subprocess.Popen(
                [*before, PROGRAM, "run", "--config", self.folder / "config.yaml", *options],
                stdout=out,
                stderr=err,
            )
        self.until(self._ready)

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert self.process is not None
            assert self.process.poll() is None, self.output + (self.folder / "stderr").read_text()
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)
        return found

    def _ready(self) -> bool:
        try:
            return bool(self.client.get("/v1/status")["ready"])
        except (NoDaemonError, OSError):
            return False


@pytest.fixture
def contained() -> Iterator[Contained]:
    with tempfile.TemporaryDirectory(prefix="sd-contained-", dir="/var/tmp") as folder:
        one = Contained(Path(folder))
        yield one
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def children(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_as_the_first_process_it_buries_orphans_and_ends_in_order(
    contained: Contained, make_database: Any
) -> None:
    contained.configure(database={"url": make_database()})
    contained.start(*NAMESPACE, options=("--log-format", "json"))
    assert contained.process is not None
    (init,) = children(contained.process.pid)
    (daemon,) = children(init)
    assert "scheduler-daemon" in command(daemon)

    zygote = next(pid for pid in children(daemon) if "zygote" in command(pid))
    orphans = contained.until(lambda: children(zygote))
    os.kill(zygote, signal.SIGKILL)
    contained.until(lambda: all(state(pid) == "gone" for pid in (zygote, *orphans)))
    assert children(init) == [daemon]

    os.kill(init, signal.SIGHUP)
    contained.until(
        lambda: any(a["action"] == "reload" for a in contained.client.get("/v1/actions")["actions"])
    )
    os.kill(init, signal.SIGTERM)
    assert contained.process.wait(PATIENCE_S) == 0
    events = [json.loads(line)["event"] for line in contained.output.splitlines()]
    assert "ready" in events
    assert events[-1] == "stopped"


def test_the_exit_status_is_the_daemons(contained: Contained) -> None:
    (contained.folder / "config.yaml").write_text("schedular: {}\n")
    done = subprocess.run(
        [*NAMESPACE, PROGRAM, "run", "--config", contained.folder / "config.yaml"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 78
    assert 'unknown key "schedular"' in done.stderr


def test_with_hardly_any_shared_memory_it_says_so_and_works(contained: Contained) -> None:
    scarce = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    contained.start("unshare", "--mount", "sh", "-c", scarce, "sh")
    said = (contained.folder / "stderr").read_text()
    assert "/dev/shm has 1 MB free, and 32 MB are wanted: PostgreSQL uses files instead" in said
    assert "--shm-size=64m" in said
    assert contained.client.get("/healthz")["healthy"]
    assert contained.process is not None
    contained.process.send_signal(signal.SIGTERM)
    assert contained.process.wait(PATIENCE_S) == 0
