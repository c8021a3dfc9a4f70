"""The Unix socket's file: whose it is, who may open it, and what an earlier daemon left there."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from scheduler_daemon.control.peers import Rules
from scheduler_daemon.errors import StateDirectoryError

BACKLOG = 64
"""A crowd shall not queue up in front of those who ask."""
DIAL_TIMEOUT_S = 1.0


def listen(path: Path, rules: Rules) -> socket.socket:
    """A listening socket at `path`: 0660 with the controllers' group, 0666 where there are readers.

    Rights are set before anyone can connect, whatever the umask. Raises StateDirectoryError.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear(path)
        listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            listener.bind(os.fspath(path))
            if rules.controllers is not None:
                os.chown(path, -1, rules.controllers)
            path.chmod(0o666 if rules.readers else 0o660)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise StateDirectoryError(
            f"the control socket {path} cannot be made: {error.strerror or error}"
        ) from error
    return listener


def unreachable_for_others(path: Path, rules: Rules) -> str | None:
    """The first folder above the socket that a group or readers cannot enter; None: all is well."""
    if rules.controllers is None and not rules.readers:
        return None
    for folder in (*reversed(path.parents),):
        found = folder.stat()
        by_group = found.st_mode & stat.S_IXGRP and found.st_gid == rules.controllers and not rules.readers
        if not (found.st_mode & stat.S_IXOTH or by_group):
            return str(folder)
    return None


def remove(path: Path, inode: int) -> None:
    """Remove the socket's file if it is still the one with this inode."""
    try:
        if path.stat().st_ino == inode:
            path.unlink()
    except OSError:
        return


def _clear(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StateDirectoryError(
            f"the control socket {path} cannot be made: a file that is no socket is there"
        )
    if _answers(path):
        raise _refused(path, "is in use by another process")
    path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dial:
        dial.settimeout(DIAL_TIMEOUT_S)
        try:
            dial.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def _refused(path: Path, why: str) -> StateDirectoryError:
    return StateDirectoryError(f"the control socket {path} {why}")
