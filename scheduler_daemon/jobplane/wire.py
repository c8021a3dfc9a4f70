"""What the daemon and the job plane say to each other.

Every channel is an AF_UNIX stream socketpair. A frame is a four-byte big-endian length and a JSON array
of messages; a message is an object whose "t" is its type. Times are Unix seconds (float).

Daemon → zygote
    discover  sections {extension: section}, jobs [{name, extension, job, parameters}], database_url,
              base_dir, state_dir, timezone, exclude {extension: reason}, import_timeout_s,
              foreign {extension: {kind: folder}}   resources of extensions loaded elsewhere
    fork      worker (int)                      with one file descriptor (SCM_RIGHTS): the worker's channel
    spawn     worker, extension                 the same, but a fresh process: the extension leaves threads
    kill      worker, signal                    the worker and, for SIGKILL, all its descendants
    retire                                      fork no more; exit when the last worker has
    stop                                        kill all, exit
Zygote → daemon
    importing  extension, distribution          said before each import, so that a hang or a death has a name;
                                                extension null: all imports are done
    catalogue  protocol, extensions [...], problems [...]   PROTOCOL; model.ExtensionInfo and
                                                model.SectionProblem as objects; an extension also has
                                                `resources` {kind: folder}
    forked     worker, pid, start_time          start_time: field 22 of /proc/PID/stat (ticks after boot)
    exited     worker, pid, status, post_mortem   status: exit code, or minus the signal; post_mortem: what it
                                                printed last and Python's stack at a fatal signal, or null.
                                                Said once its descendants are dead, too
Daemon → worker
    run        id, name, extension, job, kind, attempt, scheduled_for (Unix seconds or null), parameters,
               memory_limit (bytes or null), timeout_s (or null: no statement_timeout either)
                                                runs queue up in the worker and run one at a time, in order
    cancel     id, reason                       "cancelled" | "timeout" | "shutdown"; of a queued run: drops
                                                it, answered by an outcome that never started
    take_back                                   answered by `returned` with the runs that had not started
    ping                                        every 5 s; a worker that hears nothing for 20 s ends itself
    stop                                        finish the current run, return the others, then exit 0
Worker → daemon
    ready
    started    id, at                           sent (with the outcome before it) before the job's first line;
                                                a run whose worker is gone without it did not start
    step       id, name, status, duration_s, error      status "running" | "succeeded" | "failed"
    progress   id, done, total, note
    log        id (null between runs), at, level, module, message, fields
    outcome    id, status, started_at, finished_at, items_processed, items_failed, message, error, traceback,
               steps [...], logs_dropped        status: "succeeded" | "failed" | "cancelled"
    returned   ids [...]
    leaving    reason                           hand over no more: it returns what it has, and exits 0
"""

from __future__ import annotations

import array
import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.model import JobSpec, Settings

Message = dict[str, Any]

PROTOCOL = 1
"""Raised with every change to these messages that an older side would not understand."""

FRAME_LIMIT = 64 * 1024 * 1024
SPLIT_AT = 16 * 1024
PING_EVERY_S = 5.0
SILENCE_S = 20.0

_HEADER = struct.Struct("!I")
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


@dataclass(frozen=True, kw_only=True, slots=True)
class Discovery:
    """What a zygote is told before it looks for extensions.

    `sections` holds each extension's own section, `jobs` the configured jobs (for their parameters);
    relative paths start from `base_dir`; `database_url` is what `ctx.db_pool()` connects to. `python` and
    `import_timeout_s` stay on this side: None is the plane's own.
    """

    base_dir: Path
    state_dir: Path
    sections: Mapping[str, Any] = field(default_factory=dict)
    jobs: tuple[JobSpec, ...] = ()
    database_url: str | None = None
    timezone: str = "UTC"
    python: Path | None = None
    import_timeout_s: float | None = None

    @classmethod
    def of(cls, settings: Settings, database_url: str | None) -> Discovery:
        return cls(
            base_dir=settings.base_dir,
            state_dir=settings.state_dir,
            sections=settings.extensions,
            jobs=settings.jobs,
            database_url=database_url,
            timezone=settings.timezone,
            python=settings.jobplane_python,
            import_timeout_s=settings.import_timeout.total_seconds(),
        )

    def message(self) -> Message:
        return {
            "t": "discover",
            "sections": dict(self.sections),
            "jobs": [
                {"name": j.name, "extension": j.extension, "job": j.job, "parameters": dict(j.parameters)}
                for j in self.jobs
            ],
            "database_url": self.database_url,
            "base_dir": str(self.base_dir),
            "state_dir": str(self.state_dir),
            "timezone": self.timezone,
        }


def encode(messages: Sequence[Mapping[str, Any]]) -> bytes:
    """One frame."""
    return _frame(_encode(messages).encode())


def frame(encoded: Iterable[str]) -> bytes:
    """One frame of messages that are JSON already."""
    return _frame(f"[{','.join(encoded)}]".encode())


def fields(values: Mapping[str, Any]) -> str:
    """The inside of a JSON object: a part of a message that many of them share."""
    return _encode(values)[1:-1]


def encode_split(messages: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Frames of about SPLIT_AT bytes: a flood from one worker must not hold up the daemon's loop.

    For what a worker says: it holds no NaN.
    """
    parts: list[bytes] = []
    size = 0
    for message in messages:
        parts.append(_quickly(message))
        size += len(parts[-1])
        if size >= SPLIT_AT:
            yield _frame(b"[%b]" % b",".join(parts))
            parts, size = [], 0
    if parts:
        yield _frame(b"[%b]" % b",".join(parts))


def _quickly(message: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(message, default=str)
    except TypeError:  # what that one does not know: lone surrogates, long integers
        return _encode(message).encode()


def _frame(payload: bytes) -> bytes:
    return _HEADER.pack(len(payload)) + payload


class Decoder:
    """Takes bytes as they come; gives back the messages of each frame that is complete. `loads` reads JSON:
    in the daemon a quick one, which knows no NaN."""

    def __init__(self, loads: Callable[[bytearray], Any] = json.loads) -> None:
        self._buffer = bytearray()
        self._loads = loads

    def feed(self, data: bytes | memoryview) -> list[list[Message]]:
        """Raises JobPlaneError for a frame that is too long or is no JSON array of objects."""
        buffer = self._buffer
        buffer += data
        frames: list[list[Message]] = []
        start = 0
        while len(buffer) - start >= 4:
            (length,) = _HEADER.unpack_from(buffer, start)
            if length > FRAME_LIMIT:
                raise JobPlaneError(f"a frame of {length:,} bytes is longer than {FRAME_LIMIT:,}")
            end = start + 4 + length
            if len(buffer) < end:
                break
            frames.append(self._messages(buffer[start + 4 : end]))
            start = end
        del buffer[:start]
        return frames

    def _messages(self, payload: bytearray) -> list[Message]:
        try:
            messages = self._loads(payload)
        except (ValueError, RecursionError) as exc:
            raise JobPlaneError(f"a frame is not JSON: {exc}") from exc
        if not isinstance(messages, list) or not all(isinstance(m, dict) and "t" in m for m in messages):
            raise JobPlaneError("a frame is not an array of messages")
        return cast("list[Message]", messages)


def receive(sock: socket.socket, size: int = 65536) -> tuple[bytes, list[int]]:
    """Bytes, and the file descriptors that came with them (SCM_RIGHTS), close-on-exec."""
    descriptors = array.array("i")
    space = socket.CMSG_LEN(16 * descriptors.itemsize)
    data, ancillary, _, _ = sock.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors)
