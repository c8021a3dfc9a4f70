"""How runs and jobs are put into words, the same in every command."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from scheduler_daemon.cli import times
from scheduler_daemon.cli.table import Cell
from scheduler_daemon.cli.terminal import clean, clean_block

Answer = Mapping[str, Any]
SHORTEST = 18
_STYLES = {
    "succeeded": ("green",),
    "running": ("cyan",),
    "queued": ("cyan",),
    "failed": ("red", "bold"),
    "timed_out": ("red", "bold"),
    "lost": ("red", "bold"),
    "missed": ("yellow",),
    "cancelled": ("yellow",),
    "skipped": ("dim",),
}
_REASONS = {
    "overlap": "another run was under way",
    "disabled": "disabled",
    "unavailable": "its code is not there",
    "dst_gap": "the clock jumped over it",
    "daemon_down": "no daemon was running",
    "database_down": "the database was away",
    "suspended": "the machine slept",
    "overload": "a later instant was due already",
    "restored": "the database was restored or copied",
    "clock_skew": "this machine's clock was off",
    "other_revision": "another node's configuration was in force",
    "worker_died": "its worker died",
    "daemon_died": "its daemon died",
    "node_gone": "its node was gone",
    "timeout": "it took too long",
    "cancelled": "by an operator",
    "shutdown": "the daemon stopped",
    "removed": "its job was taken away",
}
_SAID_BY_ERROR = ("worker_died", "daemon_died", "node_gone")


def fields(values: Mapping[str, Any] | None) -> tuple[str, list[str]]:
    """A log line's fields: those that fit beside its message, and the lines of the others (a traceback's)."""
    given = dict(values or {})
    blocks = [name for name, value in given.items() if "\n" in str(value)]
    beside = " ".join(f"{name}={_short(value)}" for name, value in given.items() if name not in blocks)
    return clean(beside), [row for name in blocks for row in clean_block(given[name])]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def status(run: Answer) -> tuple[str, ...]:
    """The status in words, with its styles."""
    name = str(run["status"])
    return (name.replace("_", " "), *_STYLES.get(name, ()))


def why(run: Answer) -> str:
    reason = run.get("reason")
    return _REASONS.get(reason, str(reason).replace("_", " ")) if reason else ""


def last_run(job: Answer, now: datetime) -> Cell:
    """The outcome and its age; what runs right now."""
    if job["live_runs"]:
        return ("running", "cyan")
    run = job["last_run"]
    if run is None:
        return ("never", "dim")
    age = times.relative(run["finished_at"] or run["started_at"] or run["claimed_at"], now)
    text, *styles = status(run)
    return (f"{text} {age}", *styles)


def next_fire(job: Answer, now: datetime) -> str:
    """In local time, and in words."""
    if job["next_fire"] is None:
        return ""
    return f"{times.local(job['next_fire'], now=now)} ({times.relative(job['next_fire'], now)})"


def state(job: Answer) -> Cell:
    name = str(job["state"])
    if name == "unavailable":
        return (name, "red", "bold")
    if job["degraded"]:
        return ("degraded", "yellow", "bold")
    return (name, *{"disabled": ("yellow",), "not scheduled": ("dim",), "elsewhere": ("dim",)}.get(name, ()))


def note(job: Answer, now: datetime) -> str:
    """What an operator must know besides: why a job is unavailable, unwell, or switched over the file."""
    parts = [text for text in (job["unavailable"], job["degraded"]) if text]
    override = job["override"]
    if override is not None:
        parts.append(override_text(override, now))
    elif job["state"] == "disabled":
        parts.append("disabled in the configuration")
    elif job["state"] == "elsewhere":
        parts.append(f'on node "{job["nodes"]}"')
    return "; ".join(parts)


def override_text(override: Answer, now: datetime) -> str:
    """ "disabled by root 2 h ago, until 18:00:00: reason"."""
    verb = "enabled" if override["enabled"] else "disabled"
    text = f"{verb} by {override['actor']} {times.relative(override['since'], now)}"
    if override["until"]:
        text += f", until {times.local(override['until'], now=now)}"
    return text + (f": {override['reason']}" if override["reason"] else "")


def items(run: Answer) -> str:
    """ "42 processed, 1 failed", where the job counted."""
    done, failed = run.get("items_processed"), run.get("items_failed")
    if done is None and failed is None:
        return ""
    return f"{done or 0:,} processed" + (f", {failed:,} failed" if failed else "")


def outcome(run: Answer) -> str:
    """What a run said, or what was wrong with it."""
    told = run.get("error") if run["status"] != "cancelled" else None
    error = (str(told or "").strip().splitlines() or [""])[0]
    message = run.get("message") or ""  # a result's message may be its error
    reason = "" if error and run.get("reason") in _SAID_BY_ERROR else why(run)
    parts = [reason, items(run), message, error]
    return " · ".join(dict.fromkeys(part for part in parts if part))


def short(run_id: str | None) -> str:
    """Enough of a UUIDv7 to type: its milliseconds, and 12 random bits."""
    return (run_id or "")[:SHORTEST]


def shortest(ids: Iterable[str]) -> int:
    """How much of these ids tells them apart: cut where the id has a dash."""
    found = list(ids)
    return next(
        n for n in (SHORTEST, 23, 36) if len({one[:n] for one in found}) == len(set(found)) or n == 36
    )
