"""A worker's seat: the file descriptors that the zygote prepares before the worker exists.

The zygote keeps the reading ends of its output and its crash file too, so that the last words of a
worker that died are not lost with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass

_PIPE_SIZE = 1 << 20
_LAST_WORDS = 16_000
_F_SETPIPE_SZ = 1031


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    worker: int
    channel: int
    stdout: int
    stderr: int
    crash: int
    isolate: str | None = None

    def descriptors(self) -> tuple[int, ...]:
        return (self.channel, self.stdout, self.stderr, self.crash)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Seat:
        return cls(**json.loads(text))

    def close(self) -> None:
        for descriptor in self.descriptors():
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def post_mortem(self) -> str | None:
        """What it printed and nobody read, and Python's stack where a signal killed it."""
        parts = [_read_file(self.crash), _read_pipe(self.stdout), _read_pipe(self.stderr)]
        text = "\n".join(part.decode("utf-8", "backslashreplace").strip() for part in parts if part.strip())
        return text[-_LAST_WORDS:].replace("\x00", "\\x00") or None


def prepare(worker: int, channel: int, isolate: str | None) -> tuple[Seat, tuple[int, int]]:
    """A seat, and the writing ends that become the worker's stdout and stderr."""
    out_reader, out_writer = _pipe()
    err_reader, err_writer = _pipe()
    crash = os.memfd_create(f"worker-{worker}-crash")
    seat = Seat(
        worker=worker, channel=channel, stdout=out_reader, stderr=err_reader, crash=crash, isolate=isolate
    )
    return seat, (out_writer, err_writer)


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with contextlib.suppress(OSError):  # beyond the user's share of pipe memory: 64 KiB have to do
        fcntl.fcntl(writer, _F_SETPIPE_SZ, _PIPE_SIZE)
    return reader, writer


def _read_file(descriptor: int) -> bytes:
    with contextlib.suppress(OSError):
        return os.pread(descriptor, _LAST_WORDS, 0)
    return b""


def _read_pipe(descriptor: int) -> bytes:
    kept = b""
    with contextlib.suppress(OSError):  # empty: would block
        while data := os.read(descriptor, 65536):
            kept = (kept + data)[-_LAST_WORDS:]
    return kept
