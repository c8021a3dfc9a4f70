"""A run as it happens: steps, log lines, and on a terminal a last line that moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler_daemon.cli import times, wording
from scheduler_daemon.cli.table import pad
from scheduler_daemon.cli.terminal import Terminal, clean, clean_block, shorten

Answer = Mapping[str, Any]
BAR = 24
NAME_WIDTH = 24
LEVELS = {"ERROR": ("red",), "WARN": ("yellow",), "INFO": (), "DEBUG": ("dim",)}


class Screen:
    """Takes events; `run` is the id once it is known. A quiet one only remembers."""

    def __init__(self, terminal: Terminal, *, quiet: bool = False) -> None:
        self.run = ""
        self._terminal = terminal
        self._quiet = quiet
        self._step = ""
        self._bar = ""
        self._drawn = False

    def take(self, event: Answer) -> None:
        self.run = str(event.get("run") or event.get("id") or self.run)
        handler = self._handlers.get(str(event["event"]))
        if handler is not None and not self._quiet:
            self.clear()
            handler(self, event)
            self._draw()

    def clear(self) -> None:
        if self._drawn:
            self._terminal.stream.write("\r\x1b[K")
            self._terminal.stream.flush()
            self._drawn = False

    def _on_accepted(self, event: Answer) -> None:
        name = self._terminal.paint(event["job"], "bold")
        waits = f", waits for {event['blocked_by']}" if event.get("blocked_by") else ""
        self._terminal.line(f"{name}: run {self.run}{waits}")

    def _on_joined(self, event: Answer) -> None:
        self._terminal.line(f"{event['job']}: run {self.run}, {event['status']}")

    def _on_step(self, event: Answer) -> None:
        if event["status"] == "running":
            self._step, self._bar = event["name"], ""
            return
        good = event["status"] == "succeeded"
        mark = ("✓" if good else "✗") if self._terminal.unicode else ("ok" if good else "!!")
        error = f"  {clean(event['error'])}" if event.get("error") else ""
        name, took = pad(clean(event["name"]), NAME_WIDTH), times.took(event["duration_s"] * 1000)
        self._terminal.line(
            f"  {self._terminal.paint(mark, 'green' if good else 'red')} {name} {took:>9}{error}"
        )
        self._step = self._bar = ""

    def _on_progress(self, event: Answer) -> None:
        done, total, note = event.get("done", 0), event.get("total"), clean(event.get("note") or "")
        if total:
            full = min(BAR, int(BAR * done / total))
            self._bar = f"[{'#' * full}{'-' * (BAR - full)}] {done:,}/{total:,} {note}"
        else:
            self._bar = f"{done:,} {note}"

    def _on_log(self, event: Answer) -> None:
        level = str(event["level"]).upper()
        rest, below = wording.fields(event.get("fields"))
        text = f"  {times.instant(event['at']).astimezone():%H:%M:%S} {level:<5} {clean(event['message'])}"
        self._terminal.line(self._terminal.paint(f"{text} {rest}".rstrip(), *LEVELS.get(level, ())))
        for line in below:
            self._terminal.line("    " + self._terminal.paint(line, "dim"))

    def _on_dropped(self, event: Answer) -> None:
        self._terminal.line(
            self._terminal.paint(f"  … {event['count']:,} lines were too many to show", "yellow")
        )

    def _on_ended(self, event: Answer) -> None:
        self._step = self._bar = ""
        if event.get("logs_dropped"):
            lines = f"  … {event['logs_dropped']:,} more lines were not kept: the run's log is full"
            self._terminal.line(self._terminal.paint(lines, "yellow"))
        text, *styles = wording.status(event)
        took = f" in {times.took(event['duration_ms'])}" if event.get("duration_ms") is not None else ""
        said = wording.outcome(event)
        plain = text + took + (f": {clean(said)}" if said else "")
        first, *more = self._terminal.wrap(plain, "", "  ")
        self._terminal.line(self._terminal.paint(text, *styles) + first.removeprefix(text))
        for line in more:
            self._terminal.line(line)
        wanted = event.get("traceback") if event["status"] != "cancelled" else None
        for line in clean_block(wanted or ""):
            self._terminal.line("  " + self._terminal.paint(line, "dim"))

    _handlers: Mapping[str, Any] = {
        "accepted": _on_accepted,
        "joined": _on_joined,
        "step": _on_step,
        "progress": _on_progress,
        "log": _on_log,
        "dropped": _on_dropped,
        "ended": _on_ended,
    }

    def _draw(self) -> None:
        text = f"  {self._step} {self._bar}".rstrip()
        if not text or not self._terminal.live:
            return
        self._terminal.stream.write(self._terminal.printable(shorten(text, (self._terminal.width or 80) - 1)))
        self._terminal.stream.flush()
        self._drawn = True
