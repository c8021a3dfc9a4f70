"""What lies in a folder, by one pass of scandir: nothing is read, nothing outside is followed."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path
from stat import S_IFDIR, S_IFREG
from typing import NamedTuple

FileStat = tuple[int, int, int]
"""Size in bytes, mtime in nanoseconds, inode: what must stay the same for a file to count as unchanged."""

RACY_NS = 50_000_000
"""A file changed this recently may change again within one tick of the file system's clock, unseen."""


class Scan(NamedTuple):
    """Relative path → stat, and the paths that are neither files nor folders of ours."""

    files: dict[str, FileStat]
    refused: tuple[str, ...]


def scan(root: Path, *, recursive: bool = True, excluded: Container[str] = ()) -> Scan:
    """Every file below `root`; folders in `excluded` (real paths) are left out, and names that start with
    a dot or an underscore or end with a tilde. A symlink counts only when it leads to a file inside `root`.

    Raises OSError when `root` cannot be read.
    """
    base = os.path.realpath(root)
    files: dict[str, FileStat] = {}
    refused: list[str] = []
    pending = [("", base)]
    while pending:
        prefix, folder = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name[0] in "._" or name[-1] == "~":
                    continue
                stat = entry.stat(follow_symlinks=False)
                kind = stat.st_mode & 0o170000
                if kind == S_IFREG:
                    files[prefix + name] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
                elif kind == S_IFDIR:
                    if recursive and entry.path not in excluded:
                        pending.append((f"{prefix}{name}/", entry.path))
                elif entry.is_file() and os.path.realpath(entry.path).startswith(base + os.sep):
                    stat = entry.stat()
                    files[prefix + name] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
                else:
                    refused.append(prefix + name)
    return Scan(files, tuple(sorted(refused)))


def read_file(path: Path, limit: int) -> bytes | None:
    """The file's bytes, or None when it has more than `limit`."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    return None if len(data) > limit else data
