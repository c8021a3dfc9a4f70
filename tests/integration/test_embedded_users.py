"""The embedded server under every kind of user, and with little room."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

TWICE = """
import asyncio, os, sys
from pathlib import Path
from scheduler_daemon.database.embedded import EmbeddedServer
from scheduler_daemon.database.pools import connect
from scheduler_daemon.errors import SchedulerError

async def main():
    server = EmbeddedServer(Path(sys.argv[1]), log=lambda line: None)
    for action in sys.argv[2:]:
        if action == "start":
            await server.start()
            async with await connect(server.url, application_name="test") as connection:
                cursor = await connection.execute("SELECT current_user")
                print("answers", (await cursor.fetchone())[0])
        elif action == "stop":
            await server.stop()
        else:
            disk = os.statvfs(sys.argv[1])
            Path(action).write_bytes(bytes(disk.f_bavail * disk.f_bsize))

try:
    asyncio.run(main())
except SchedulerError as exc:
    print(f"exit {exc.exit_code}: {exc}")
"""

# Enters a user namespace, waits until its ids are mapped, and forbids any namespace below it.
NO_MORE_NAMESPACES = """
import ctypes, os, sys
if ctypes.CDLL(None).unshare(0x10000000) != 0:
    sys.exit("no user namespace")
print("unshared", flush=True)
sys.stdin.readline()
os.setgid(0)
os.setuid(0)
open("/proc/sys/user/max_user_namespaces", "w").write("0")
os.execv(sys.argv[1], sys.argv[1:])
"""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="scheduler-users-"))
    yield folder
    shutil.rmtree(folder)


def run(*command: str, limit_s: float = 120) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
    assert done.returncode == 0, done.stderr
    return done.stdout


def script(*arguments: str) -> list[str]:
    return [sys.executable, "-c", TWICE, *arguments]


def as_uid(uid: int) -> list[str]:
    """As `uid`, and still able to read this interpreter, which may lie in root's home."""
    identity = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return [*identity, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


@root_only
@pytest.mark.parametrize("uid", [1, 54321], ids=["a user", "a user without an account"])
def test_it_runs_as(folder: Path, uid: int) -> None:
    os.chown(folder, uid, uid)
    said = run(*as_uid(uid), *script(str(folder), "start", "stop", "start", "stop"))
    assert said == "answers postgres\n" * 2
    assert (folder / "postgres" / "data").stat().st_uid == uid


@root_only
def test_it_runs_as_root_where_namespaces_are_refused(folder: Path) -> None:
    command = [
        sys.executable,
        "-c",
        NO_MORE_NAMESPACES,
        *script(str(folder), "start", "stop", "start", "stop"),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as box:
        assert box.stdin is not None
        assert box.stdout is not None
        if box.stdout.readline() != "unshared\n":
            box.communicate()
            pytest.skip("this kernel gives root no user namespace")
        for ids in ("uid_map", "gid_map"):
            Path(f"/proc/{box.pid}/{ids}").write_text("0 0 65536")
        said, _ = box.communicate("mapped\n", timeout=120)
    assert said == "answers postgres\n" * 2
    assert (folder / "postgres" / "data").stat().st_uid != 0


def in_a_small_file_system(folder: Path, megabytes: int, *actions: str) -> str:
    mount = f'mount -t tmpfs -o size={megabytes}M,mode=700 small "$0" && exec "$@"'
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*own, "sh", "-c", mount, str(folder), "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespace can be had here")
    return run(*own, "sh", "-c", mount, str(folder), *script(str(folder), *actions))


def test_too_small_a_disk_is_said_before_anything_is_made(folder: Path) -> None:
    said = in_a_small_file_system(folder, 50, "start")
    assert said.startswith(f"exit 75: {folder}/postgres: a new database needs 100 MB of disk, and ")
    assert said.count("\n") == 1


def test_a_disk_that_filled_up_is_said_in_one_line(folder: Path) -> None:
    said = in_a_small_file_system(folder, 150, "start", "stop", str(folder / "filler"), "start")
    first, second = said.splitlines()
    assert first == "answers postgres"
    assert second.startswith("exit 75: ")
    assert "No space left on device" in second
