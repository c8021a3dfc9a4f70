"""What a run writes: logger calls, `logging`, warnings, and everything printed, as bounded log records."""

from __future__ import annotations

import io
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from scheduler_daemon.jobplane.text import LINE_LIMIT, clean, clean_fields, format_traceback
from scheduler_daemon.jobplane.wire import Message

LINES_PER_RUN = 10_000
CHARACTERS_PER_RUN = 16_000_000
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "error"}


def stream(descriptor: int) -> io.TextIOWrapper:
    """Text by lines; bytes written to its `buffer` at once, so that the order is kept."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)


class Output:
    """Cuts what comes out of one pipe into lines; the pipe's reading end does not block."""

    def __init__(self, descriptor: int, module: str, level: str) -> None:
        self.descriptor = descriptor
        self.module = module
        self.level = level
        self._partial = b""
        self._cut = 0

    def drain(self, line: Callable[[Output, str], None], skip: Callable[[int], bool]) -> None:
        """Hand each line to `line`. `skip(0)` True: nobody wants more, `skip(n)` counts n lines unread."""
        try:
            while data := os.read(self.descriptor, 65536):
                if skip(0):
                    skip(data.count(b"\n"))
                    self._partial = b""
                    continue
                self._split(data, line)
        except BlockingIOError:
            return

    def end(self, line: Callable[[Output, str], None]) -> None:
        """The run is over: its last line may have no end."""
        if self._partial:
            self._emit(b"", line)

    def _split(self, data: bytes, line: Callable[[Output, str], None]) -> None:
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._emit(piece, line)
        room = 4 * LINE_LIMIT - len(self._partial)
        self._partial += rest[: max(0, room)]
        self._cut += max(0, len(rest) - max(0, room))

    def _emit(self, piece: bytes, line: Callable[[Output, str], None]) -> None:
        raw, cut = self._partial + piece, self._cut
        self._partial, self._cut = b"", 0
        text = raw.decode("utf-8", "backslashreplace").rstrip("\r").rpartition("\r")[2]
        if cut and len(text) > LINE_LIMIT:
            text = f"{text[:LINE_LIMIT]}… [truncated: {len(raw) + cut:,} bytes in all]"
        if text.strip():
            line(self, text)


class Journal:
    """The log of the run in hand; between runs, the worker's own."""

    def __init__(self, post: Callable[[Message], None], outputs: tuple[Output, ...]) -> None:
        self._post = post
        self._outputs = outputs
        self._by_descriptor = {output.descriptor: output for output in outputs}
        self._printed = select.poll()
        for output in outputs:
            self._printed.register(output.descriptor, select.POLLIN)
        self._lock = threading.RLock()
        self._run: str | None = None
        self._lines = 0
        self._characters = 0
        self._dropped = 0

    def detach(self) -> None:
        """In a child that the job forked: what it logs goes to stderr, which the worker reads."""
        self._lock = threading.RLock()
        self._outputs = ()
        self._printed = select.poll()
        self._post = lambda message: print(message["message"], file=sys.stderr)  # noqa: T201

    def begin(self, run_id: str) -> None:
        self.drain()
        with self._lock:
            self._run = run_id
            self._lines = self._characters = self._dropped = 0

    def end(self) -> int:
        """Take the last output; return how many lines were dropped."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.drain()
        with self._lock:
            for output in self._outputs:
                output.end(self._line)
            self._run = None
            return self._dropped

    def drain(self) -> None:
        with self._lock:
            for descriptor, _ in self._printed.poll(0):
                self._by_descriptor[descriptor].drain(self._line, self._skip)

    def write(self, level: str, module: str, message: object, fields: Mapping[str, Any]) -> None:
        self.drain()
        with self._lock:
            if not self._skip(0):
                self._record(level, module, clean(message, LINE_LIMIT), clean_fields(fields))
            else:
                self._skip(1)

    def note(self, level: str, message: str, **fields: Any) -> None:
        """The worker's own word on a run: never dropped."""
        with self._lock:
            self._record(level, "scheduler_daemon.worker", clean(message, LINE_LIMIT), clean_fields(fields))

    def _line(self, output: Output, text: str) -> None:
        if self._skip(0):
            self._skip(1)
        else:
            self._record(output.level, output.module, clean(text, LINE_LIMIT + 100), {})

    def _skip(self, lines: int) -> bool:
        if self._run is None or (self._lines < LINES_PER_RUN and self._characters < CHARACTERS_PER_RUN):
            return False
        self._dropped += lines
        return True

    def _record(self, level: str, module: str, message: str, fields: dict[str, Any]) -> None:
        self._lines += 1
        self._characters += len(message)
        self._post(
            {
                "t": "log",
                "id": self._run,
                "at": time.time(),
                "level": level,
                "module": module,
                "message": message,
                "fields": fields,
            }
        )


class RunLogger:
    """`ctx.logger`."""

    def __init__(self, journal: Journal, module: str) -> None:
        self._journal = journal
        self._module = module

    def debug(self, message: str, /, **fields: Any) -> None:
        self._journal.write("debug", self._module, message, fields)

    def info(self, message: str, /, **fields: Any) -> None:
        self._journal.write("info", self._module, message, fields)

    def warning(self, message: str, /, **fields: Any) -> None:
        self._journal.write("warning", self._module, message, fields)

    def error(self, message: str, /, **fields: Any) -> None:
        self._journal.write("error", self._module, message, fields)

    def exception(self, message: str, /, **fields: Any) -> None:
        exc = sys.exception()
        if exc is not None:
            fields = {**fields, "traceback": format_traceback(exc)}
        self._journal.write("error", self._module, message, fields)


class JournalHandler(logging.Handler):
    """Brings `logging`, and warnings through it, into the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (
            Exception
        ):  # arguments that do not fit the format: a job's mistake, and no reason to lose the line
            message = f"{record.msg!r} with arguments {record.args!r}"
        fields: dict[str, Any] = {}
        if record.exc_info and record.exc_info[1]:
            fields["traceback"] = format_traceback(record.exc_info[1])
        elif record.stack_info:
            fields["stack"] = record.stack_info
        self._journal.write(_LEVELS.get(record.levelname, "info"), record.name, message, fields)


def install(journal: Journal) -> None:
    """Make this process's `logging` and warnings write to the journal, and its streams never fail."""
    root = logging.getLogger()
    root.handlers[:] = [JournalHandler(journal)]
    root.setLevel(logging.INFO)
    logging.getLogger("psycopg").setLevel(logging.WARNING)
    logging.captureWarnings(True)
