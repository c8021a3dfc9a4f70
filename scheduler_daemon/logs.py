"""The daemon's own log: to standard error for people or journals, and into the ledger."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from scheduler_daemon.model import LogRecord

Event = MutableMapping[str, Any]
LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR", "critical": "ERROR"}


class LedgerTap:
    """Copies what the daemon logs to `sink`, once there is one; what runs say is there already."""

    def __init__(self) -> None:
        self.sink: Callable[[LogRecord], None] | None = None

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        sink = self.sink
        if sink is not None and method != "debug" and not event.pop("recorded", False):
            known = ("event", "logger", "timestamp", "level", "exc_info", "job", "run_id")
            fields = {name: value for name, value in event.items() if name not in known}
            if event.get("exc_info"):
                fields["traceback"] = traceback.format_exc()
            sink(
                LogRecord(
                    timestamp=time.time(),
                    level=LEVELS.get(method, "ERROR" if method == "exception" else "INFO"),
                    module=event.get("logger", "scheduler_daemon"),
                    message=str(event.get("event", "")),
                    run_id=event.get("run_id"),
                    job=event.get("job"),
                    fields=fields,
                )
            )
        event.pop("recorded", None)
        return event


def configure(*, level: str, as_json: bool) -> LedgerTap:
    """Set up structlog for this process. Returns the tap, to be given its sink later."""
    tap = LedgerTap()
    renderer: Any
    if as_json:
        renderer = structlog.processors.JSONRenderer(default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
            tap,
            *([structlog.processors.format_exc_info] if as_json else [_quiet_name]),
            renderer,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING, force=True)
    logging.getLogger("scheduler_daemon").setLevel(level)
    return tap


def _quiet_name(logger: Any, method: str, event: Event) -> Event:
    """A person reads what happened, not which module says it."""
    event.pop("logger", None)
    return event
