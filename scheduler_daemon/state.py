"""The state directory: who may use it, who has it, and which node it makes this daemon."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from pathlib import Path
from uuid import UUID, uuid4

from scheduler_daemon.errors import StateDirectoryError

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"}
)


LOCK_PAUSES_S = (0.01, 0.05, 0.2)
_OCTAL = re.compile(r"\\([0-7]{3})")


class StateDirectory:
    """A folder of the daemon's own, 0700. `lock` holds until `release` or the process's end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def prepare(self) -> None:
        """Make it where it is absent. Raises StateDirectoryError if it cannot be ours alone."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as error:
            raise self._refused(self._what_is_there()) from error
        except OSError as error:
            raise self._refused(f"cannot be made: {error.strerror}") from error
        status = self.path.stat()
        if status.st_uid != os.geteuid():
            raise self._refused(f"belongs to uid {status.st_uid}, and this is uid {os.geteuid()}")
        kind = file_system_of(self.path)
        if kind in NETWORK_FILE_SYSTEMS:
            raise self._refused(f"lies on a network file system ({kind}); set state_dir to a local folder")
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise self._refused("cannot be written")
        try:
            if status.st_mode & 0o077:
                self.path.chmod(0o700)
            (self.path / "run").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._refused(f"cannot be used: {error.strerror}") from error

    def lock(self) -> None:
        """Raises StateDirectoryError naming the process that has it."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._refused(f"cannot be locked: its file lock: {error.strerror}") from error
        try:
            self._take(descriptor)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise self._refused(f"is in use by the scheduler-daemon with pid {holder}") from error
        except OSError as error:
            os.close(descriptor)
            raise self._refused(f"cannot be locked: {error.strerror}") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    @staticmethod
    def _take(descriptor: int) -> None:
        """A few times: somebody may just be asking for its `holder`, which takes it for a moment."""
        for pause_s in LOCK_PAUSES_S:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(pause_s)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def holder(self) -> str | None:
        """The pid of the daemon that has it now; None: nobody has. Anyone who may read it may ask."""
        try:
            with (self.path / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return (self.path / "lock").read_text(errors="replace").strip() or "unknown"
        except OSError:
            return None
        return None

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def node_id(self) -> UUID:
        """Made at first use, then always the same. Raises StateDirectoryError."""
        file = self.path / "node"
        try:
            return UUID(file.read_text().strip())
        except FileNotFoundError:
            node = uuid4()
        except ValueError as error:
            raise StateDirectoryError(f"{file}: is not a node id; restore it or remove it") from error
        except OSError as error:
            raise self._refused(f"cannot be read: its file node: {error.strerror}") from error
        temporary = file.with_suffix(".new")
        with temporary.open("w") as stream:
            stream.write(f"{node}\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(file)
        return node

    def _what_is_there(self) -> str:
        if self.path.is_symlink():
            return f"is a link to {self.path.readlink()}, where there is no folder"
        return "is no folder, but a file"

    def _refused(self, why: str) -> StateDirectoryError:
        return StateDirectoryError(f"the state directory {self.path} {why}")


def machine_id() -> str:
    """What tells this machine from a copy of its disk: systemd's id, else the host's name."""
    try:
        return Path("/etc/machine-id").read_text().strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()


def file_system_of(path: Path) -> str:
    """The type of the file system that holds `path`, as /proc/self/mountinfo names it; "" if unknown."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    target = str(path.resolve())
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = _OCTAL.sub(lambda code: chr(int(code[1], 8)), left.split()[4])
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind
