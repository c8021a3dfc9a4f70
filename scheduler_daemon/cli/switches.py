"""Switching jobs on and off, over what the file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import click

from scheduler_daemon.cli import completion, wording
from scheduler_daemon.cli.command import Duration, Session, command
from scheduler_daemon.cli.terminal import Terminal, clean
from scheduler_daemon.control.client import segment

Answer = Mapping[str, Any]
_lasting = click.option("--for", "lasting", type=Duration(), help="For so long only: 30m, 2h, 1d12h.")
_reason = click.option("--reason", metavar="TEXT", help="Why; shown to everyone who looks.")
_name = click.argument("name", shell_complete=completion.jobs)


@command("enable")
@_name
@_reason
@_lasting
@click.option("--reset", is_flag=True, help="Return to what the file says.")
def enable(session: Session, name: str, reason: str | None, lasting: timedelta | None, reset: bool) -> None:
    """Enable a job at once, whatever the file says; it lasts across restarts and reloads.

    \b
    Examples:
      systemprompt infra jobs enable hello
      systemprompt infra jobs enable hello --reset
    """
    if reset and (reason or lasting):
        raise click.UsageError("--reset takes neither --reason nor --for")
    if reset:
        session.show(session.client.post(f"/v1/jobs/{segment(name)}/reset"), _switched)
    else:
        _switch(session, name, "enable", (reason, lasting))


@command("disable")
@_name
@_reason
@_lasting
def disable(session: Session, name: str, reason: str | None, lasting: timedelta | None) -> None:
    """Disable a job at once: its instants are skipped, and can be seen in its history.

    It lasts across restarts and reloads. A run that is under way goes on (see `cancel`); the job can
    still be run by hand.

    \b
    Example:
      systemprompt infra jobs disable hello --reason "moving house" --for 2h
    """
    _switch(session, name, "disable", (reason, lasting))


@command("rewind")
@_name
def rewind(session: Session, name: str) -> None:
    """Account for a job anew from now on, where a clock that ran ahead left it accounted for until later.

    Until then nothing of it would fire; `scheduler status` says so of such a job.

    \b
    Example:
      systemprompt infra jobs rewind hello
    """
    session.show(session.client.post(f"/v1/jobs/{segment(name)}/rewind"), _switched)


def _switch(session: Session, name: str, verb: str, how: tuple[str | None, timedelta | None]) -> None:
    reason, lasting = how
    body = {"reason": reason, "lasting_s": lasting.total_seconds() if lasting else None}
    given = {key: value for key, value in body.items() if value is not None}
    session.show(session.client.post(f"/v1/jobs/{segment(name)}/{verb}", given), _switched)


def _switched(job: Answer, terminal: Terminal) -> Iterator[str]:
    now = datetime.now().astimezone()
    state = "enabled" if job["enabled"] else "disabled"
    origin = "" if job["override"] else ", as the file says"
    yield f"{terminal.paint(job['name'], 'bold')} is {state}{origin}"
    if note := wording.note(job, now):
        for line in terminal.wrap(clean(note), "  "):
            yield terminal.paint(line, "yellow")
    if job["next_fire"]:
        yield f"  next fire: {wording.next_fire(job, now)}"
    if job["live_runs"] and not job["enabled"]:
        live = ", ".join(map(wording.short, job["live_runs"]))
        yield f"  still under way: {live} (end it with: jobs cancel)"
