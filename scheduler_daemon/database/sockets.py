"""Where a server's socket may live: a folder that only its owner enters, with a path that is short enough."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scheduler_daemon.errors import StateDirectoryError

PATH_LIMIT = 107
"""Bytes of a Unix socket's path (Linux, unix(7): sun_path holds 108 with the closing zero)."""
SOCKET = ".s.PGSQL.5432"


def socket_folder(preferred: Path) -> Path:
    """`preferred` if the socket's path fits, else a private folder of its own; made, 0700.

    Raises StateDirectoryError if that folder is somebody else's, or is open to others.
    """
    for folder in (preferred, *_substitutes(preferred)):
        if len(os.fsencode(folder / SOCKET)) <= PATH_LIMIT:
            _claim(folder)
            return folder
    raise StateDirectoryError(
        f"{preferred}: too long a path for a socket, and so is the temporary directory's"
    )


def _substitutes(preferred: Path) -> Iterator[Path]:
    name = f"scheduler-daemon-{os.geteuid()}-{hashlib.sha256(os.fsencode(preferred)).hexdigest()[:12]}"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, name)
    yield Path(tempfile.gettempdir(), name)
    yield Path("/", "tmp", name)


def _claim(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise StateDirectoryError(
            f"{folder}: cannot be made for PostgreSQL's socket: {exc.strerror}"
        ) from exc
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    if not private:
        raise StateDirectoryError(
            f"{folder}: must be a folder of uid {os.geteuid()} with mode 0700; remove it"
        )
