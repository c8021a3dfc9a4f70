"""The state directory: who may have it, and every reason for which nobody may."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scheduler_daemon import state as state_module
from scheduler_daemon.errors import StateDirectoryError
from scheduler_daemon.state import StateDirectory, file_system_of

HOLDER = """
import sys
from pathlib import Path
from scheduler_daemon.state import StateDirectory
held = StateDirectory(Path(sys.argv[1]))
held.prepare()
held.lock()
print("held", flush=True)
sys.stdin.read()
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock of tmp_path/state."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def refusal(path: Path) -> str:
    with pytest.raises(StateDirectoryError) as caught:
        StateDirectory(path).prepare()
    assert str(caught.value).startswith(f"the state directory {path} ")
    return str(caught.value)


def test_it_is_made_for_its_owner_alone_and_closed_where_it_was_open(tmp_path: Path) -> None:
    path = tmp_path / "a" / "state"
    StateDirectory(path).prepare()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o755)
    StateDirectory(path).prepare()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (path / "run").is_dir()


def test_a_second_daemon_is_refused_with_the_pid_of_the_first(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    second = StateDirectory(tmp_path / "state")
    second.prepare()
    with pytest.raises(StateDirectoryError, match=f"in use by the scheduler-daemon with pid {holder.pid}$"):
        second.lock()


def test_the_lock_of_a_killed_daemon_is_free(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    mine = StateDirectory(tmp_path / "state")
    mine.lock()
    assert (tmp_path / "state" / "lock").read_text() == f"{os.getpid()}\n"
    mine.release()
    mine.release()


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    mine = StateDirectory(tmp_path / "state")
    mine.prepare()
    mine.lock()
    command = ["/bin/sh", "-c", "echo up; read -r _"]
    with subprocess.Popen(command, close_fds=False, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        mine.release()
        again = StateDirectory(tmp_path / "state")
        again.lock()
        again.release()
        child.kill()


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert refusal(tmp_path / "state").endswith("is no folder, but a file")
    (tmp_path / "link").symlink_to("gone")
    assert refusal(tmp_path / "link").endswith("is a link to gone, where there is no folder")


def test_asking_who_has_it_keeps_nobody_from_taking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks holds the lock himself for a moment."""
    mine = StateDirectory(tmp_path)
    mine.lock()
    mine.release()
    with (tmp_path / "lock").open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda seconds: fcntl.flock(asking, fcntl.LOCK_UN))
        mine.lock()
    mine.release()


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "file_system_of", lambda path: "nfs4")
    text = refusal(tmp_path / "state")
    assert "lies on a network file system (nfs4)" in text
    assert "set state_dir to a local folder" in text


@as_root
def test_somebody_elses_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    os.chown(path, 12345, 12345)
    assert "belongs to uid 12345, and this is uid 0" in refusal(path)


@contextmanager
def somebody(uid: int) -> Iterator[None]:
    """Be another user for a while; root may write everywhere."""
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@as_root
@pytest.mark.parametrize(
    ("mode", "why"), [(0o500, "cannot be written"), (0o300, "cannot be written"), (0o700, None)]
)
def test_a_folder_that_cannot_be_written_is_refused(mode: int, why: str | None) -> None:
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / "state"
        path.mkdir(mode=mode)
        os.chown(path, 12345, 12345)
        Path(parent).chmod(0o755)
        with somebody(12345):
            if why is None:
                StateDirectory(path).prepare()
            else:
                assert why in refusal(path)
            assert "cannot be made: Permission denied" in refusal(Path(parent) / "other")


def test_a_node_id_is_made_once_and_a_broken_one_is_named(tmp_path: Path) -> None:
    mine = StateDirectory(tmp_path)
    first = mine.node_id()
    assert StateDirectory(tmp_path).node_id() == first
    (tmp_path / "node").write_text("nonsense")
    with pytest.raises(StateDirectoryError, match="node: is not a node id; restore it or remove it"):
        mine.node_id()


def test_a_lock_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(StateDirectoryError, match="cannot be locked: its file lock: Is a directory"):
        StateDirectory(tmp_path).lock()


def test_the_innermost_mount_tells_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "23 22 0:5 / /srv/with\\040space rw - nfs4 server:/x rw\n"
        "24 23 0:6 / /srv/with\\040space/grün rw - tmpfs tmpfs rw\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda self: lines)
    assert file_system_of(Path("/srv/with space/x")) == "nfs4"
    assert file_system_of(Path("/srv/with space/grün/x")) == "tmpfs"
    assert file_system_of(Path("/srv/with spaces")) == "ext4"
