"""Plain values kept in a file between runs. One that is damaged, or another version's, is as good as none."""

from __future__ import annotations

import marshal
import sys
import zlib
from pathlib import Path
from typing import Any

_KIND = f"scheduler-web {sys.implementation.cache_tag} ".encode()


def load(path: Path, version: str) -> Any:
    """The value that `save` wrote under the same version, or None."""
    header = _KIND + version.encode() + b"\n"
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if not data.startswith(header):
        return None
    mark, body = data[len(header) : len(header) + 4], memoryview(data)[len(header) + 4 :]
    if zlib.crc32(body).to_bytes(4, "big") != mark:
        return None
    return marshal.loads(body)  # noqa: S302 (our own file in a folder of ours, and its checksum fits)


def save(path: Path, version: str, value: Any) -> None:
    """Replace the file at once. `value`: None, numbers, texts, bytes, and tuples, lists, dicts of them."""
    body = marshal.dumps(value)
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(_KIND + version.encode() + b"\n" + zlib.crc32(body).to_bytes(4, "big"))
        file.write(body)
    temporary.replace(path)


class Kept:
    """The value of one file, as this process last saved it: a worker that publishes again need not read it.

    What is taken is no longer kept, so a value that a failing run has half changed is never seen again.
    """

    def __init__(self) -> None:
        self._file: tuple[str, object] = ("", None)
        self._value: Any = None

    def keep(self, path: Path, value: Any) -> None:
        self._file, self._value = (str(path), stat_of(path)), value

    def take(self, path: Path) -> Any:
        """None unless the file is still the one of `keep`."""
        value, self._value = self._value, None
        stat = stat_of(path)
        return value if stat is not None and self._file == (str(path), stat) else None


def stat_of(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
