"""Plain values kept in a file between runs. One that is damaged, or another version's, is as good as none."""

from __future__ import annotations

import marshal
import sys
from hashlib import blake2b
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
    mark, body = data[len(header) : len(header) + 16], memoryview(data)[len(header) + 16 :]
    if blake2b(body, digest_size=16).digest() != mark:
        return None
    return marshal.loads(body)  # noqa: S302 (our own file in a folder of ours, and its digest fits)


def save(path: Path, version: str, value: Any) -> None:
    """Replace the file at once. `value`: None, numbers, texts, bytes, and tuples, lists, dicts of them."""
    body = marshal.dumps(value)
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(_KIND + version.encode() + b"\n" + blake2b(body, digest_size=16).digest())
        file.write(body)
    temporary.replace(path)
