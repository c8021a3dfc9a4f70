"""The daemon's own log: to standard error for people or machines, to journald, and into the ledger."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from scheduler_daemon import journal
from scheduler_daemon.model import LogRecord
from scheduler_daemon.redaction import Redactor

Event = MutableMapping[str, Any]
LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR", "critical": "ERROR"}
KNOWN = frozenset({"event", "logger", "timestamp", "level", "exc_info", "job", "run_id", "recorded"})


class LedgerTap:
    """Copies what the daemon logs to `sink`, once there is one, and to journald where that listens.

    What a run says of itself is `recorded` already, in both. `redactor` hides secrets in all of it.
    """

    def __init__(self, journald: journal.Journal | None = None) -> None:
        self.sink: Callable[[LogRecord], None] | None = None
        self.redactor = Redactor()
        self.journald = journald

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        recorded = event.pop("recorded", False)
        if not recorded and (self.journald or (self.sink and method != "debug")):
            record = self.redactor.record(_record(method, event))
            if self.sink is not None and method != "debug":
                self.sink(record)
            if self.journald is not None:
                self.journald.send(record)
        if self.journald is not None:
            raise structlog.DropEvent
        return event


def _record(method: str, event: Event) -> LogRecord:
    fields = {name: value for name, value in event.items() if name not in KNOWN}
    if event.get("exc_info"):
        fields["traceback"] = traceback.format_exc()
    return LogRecord(
        timestamp=time.time(),
        level=LEVELS.get(method, "ERROR" if method == "exception" else "INFO"),
        module=event.get("logger", "scheduler_daemon"),
        message=str(event.get("event", "")),
        run_id=event.get("run_id"),
        job=event.get("job"),
        fields=fields,
    )


def configure(*, level: str, as_json: bool, stream: TextIO | None = None) -> LedgerTap:
    """Set up structlog for this process. Returns the tap, to be given its sink and its secrets later.

    stream: where lines go that do not go to journald [standard error].
    """
    stream = stream or sys.stderr
    tap = LedgerTap(journal.Journal() if journal.ours() and not as_json else None)
    renderer: Any
    if as_json:
        renderer = structlog.processors.JSONRenderer(default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
            tap,
            _Hide(tap),
            *([structlog.processors.format_exc_info] if as_json else [_quiet_name]),
            renderer,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler: logging.Handler
    if tap.journald is not None:
        handler = _JournalHandler(tap, tap.journald)
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    else:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(_Formatter(tap, as_json=as_json))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("scheduler_daemon").setLevel(level)
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # the gateway tells of an outage, once
    return tap


class _Hide:
    """Fields with telling names; what stands in the text is hidden when it is written."""

    def __init__(self, tap: LedgerTap) -> None:
        self._tap = tap

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        kept = {name: event[name] for name in ("exc_info",) if name in event}
        return {**self._tap.redactor.value(event), **kept}


class _Formatter(logging.Formatter):
    """The last word on every line, also of libraries that log by themselves."""

    def __init__(self, tap: LedgerTap, *, as_json: bool) -> None:
        super().__init__("%(message)s")
        self._tap = tap
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        if record.name.startswith("scheduler_daemon"):  # structlog has put time and traceback in already
            return self._tap.redactor.text(record.getMessage())
        line, level = super().format(record), record.levelname.lower()
        moment = datetime.fromtimestamp(record.created, UTC)
        if self._as_json:
            at = moment.isoformat().replace("+00:00", "Z")
            line = json.dumps({"event": line, "level": level, "logger": record.name, "timestamp": at})
        else:
            line = f"{moment.astimezone():%H:%M:%S} [{level:<9}] {record.name}: {line}"
        return self._tap.redactor.text(line)


class _JournalHandler(logging.Handler):
    """What libraries log by themselves; lines of ours have gone to journald before."""

    def __init__(self, tap: LedgerTap, journald: journal.Journal) -> None:
        super().__init__()
        self._tap = tap
        self._journald = journald

    def emit(self, record: logging.LogRecord) -> None:
        said = LogRecord(
            timestamp=record.created,
            level=LEVELS.get(record.levelname.lower(), "INFO"),
            module=record.name,
            message=self.format(record),
            run_id=None,
            job=None,
            fields={},
        )
        self._journald.send(self._tap.redactor.record(said))


def _quiet_name(logger: Any, method: str, event: Event) -> Event:
    """A person reads what happened, not which module says it."""
    event.pop("logger", None)
    return event
