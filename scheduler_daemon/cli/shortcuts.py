"""Shortcuts to jobs of the core extension."""

from __future__ import annotations

from typing import Any

import click

from scheduler_daemon.cli import times, wording
from scheduler_daemon.cli.command import Session, command
from scheduler_daemon.cli.running import run_all

_dry_run = click.option("--dry-run", is_flag=True, help="Only count what would be removed.")


@command("cleanup-sessions")
@click.option("--hours", type=click.IntRange(1), help="Sessions idle for so long [default: the job's own].")
@_dry_run
def cleanup_sessions(session: Session, hours: int | None, dry_run: bool) -> int:
    """Run the session cleanup now: a shortcut to `jobs run cleanup_inactive_sessions`.

    \b
    Example:
      systemprompt infra jobs cleanup-sessions --hours 4 --dry-run
    """
    return _run(session, "cleanup_inactive_sessions", {"idle_hours": hours}, dry_run=dry_run)


@command("log-cleanup")
@click.option("--days", type=click.IntRange(1), help="Lines older than that [default: the job's own].")
@_dry_run
def log_cleanup(session: Session, days: int | None, dry_run: bool) -> int:
    """Run the log cleanup now, `jobs run log_cleanup`, and prune the daemon's own log with it.

    The daemon prunes its own by itself, too, by `logs.keep`.

    \b
    Example:
      systemprompt infra jobs log-cleanup --days 7
    """
    status = _run(session, "log_cleanup", {"retention_days": days}, dry_run=dry_run)
    pruned = session.client.post("/v1/logs/prune", {"days": days, "dry_run": dry_run})
    if not session.as_json:
        verb = "would have removed" if dry_run else "removed"
        what = f"{wording.counted(pruned['lines'], 'line')} from before {times.local(pruned['before'])}"
        session.terminal.line(f"the daemon's own log: {verb} {what}")
    return status


def _run(session: Session, job: str, wanted: dict[str, int | None], *, dry_run: bool) -> int:
    parameters: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if dry_run:
        parameters["enforce"] = False
    body = {"parameters": parameters, "queue": False}
    return run_all(session, (_name_of(session, job),), body, wait=True)


def _name_of(session: Session, job: str) -> str:
    """An entry of the configuration may call the job otherwise."""
    entries = [one for one in session.client.get("/v1/jobs")["jobs"] if one["extension"] == "core"]
    names = [one["name"] for one in entries if one["job"] == job]
    return job if job in names or not names else str(names[0])
