"""Questions that take more than a look: why, timeline, audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from scheduler_daemon.cli import chart, completion, times, wording
from scheduler_daemon.cli.command import Moment, Session, command
from scheduler_daemon.cli.table import Cell, fits, pairs, table
from scheduler_daemon.cli.terminal import Terminal, clean
from scheduler_daemon.control.client import segment

Answer = Mapping[str, Any]
HOURS = click.FloatRange(0.1, 24 * 31)
_FOUND = ("unaccounted", "doubled", "unplanned")
_GOOD = ("succeeded", "running", "queued", "future", "not_due_yet")


@command("why")
@click.argument("name", shell_complete=completion.jobs)
@click.option("--at", metavar="TIME", help="When, in the job's zone: a date, a time, or 2h (so long ago).")
def why(session: Session, name: str, at: str | None) -> None:
    """Tell why a job ran, or did not run, at a time, or when it was last due; from the ledger.

    \b
    Examples:
      systemprompt infra jobs why daily_traffic_report
      systemprompt infra jobs why daily_traffic_report --at "2026-03-29 02:30"
    """
    query = {"at": _asked(at)}
    session.show(session.client.get(f"/v1/jobs/{segment(name)}/why", **query), _why)


def _asked(at: str | None) -> str | None:
    """A duration is a time before now; anything else is read by the daemon, in the job's zone."""
    if at is None:
        return None
    try:
        return (datetime.now(UTC).replace(microsecond=0) - times.duration(at)).isoformat()
    except (ValueError, OverflowError):
        return at


def _why(answer: Answer, terminal: Terminal) -> Iterator[str]:
    now = times.instant(answer["now"])
    when = answer["instant"] or answer["moment"]
    head = f"{answer['job']}, {_there(when, answer)} ({times.relative(when, now)})"
    head = answer["job"] if answer["verdict"] == "not_due_yet" else head
    good = answer["verdict"].partition(":")[0] in _GOOD
    yield terminal.paint(head, "bold")
    for line in terminal.wrap(clean(answer["answer"])):
        yield terminal.paint(line, "green" if good else "yellow")
    if answer["evidence"]:
        yield ""
        yield terminal.paint("Evidence", "bold")
        for one in answer["evidence"]:
            yield from terminal.wrap(clean(one["text"]), f"  {_bullet(terminal)} ", "    ")
    yield ""
    yield terminal.paint("In force" if answer["verdict"] == "not_due_yet" else "In force then", "bold")
    yield from (f"  {line}" for line in pairs(terminal, list(_in_force(answer))))
    if answer["advice"]:
        yield ""
        yield terminal.paint("What to do", "bold")
        for advice in answer["advice"]:
            yield from terminal.wrap(clean(advice), f"  {_bullet(terminal)} ", "    ")


def _there(moment: str, answer: Answer) -> str:
    """In the job's zone: that is where its schedule is at home."""
    return f"{times.instant(moment).astimezone(ZoneInfo(answer['timezone'])):%Y-%m-%d %H:%M:%S %Z}"


def _bullet(terminal: Terminal) -> str:
    return "•" if terminal.unicode else "-"


def _in_force(answer: Answer) -> Iterator[tuple[str, Cell]]:
    revision = answer["revision"]
    if answer["schedule"]:
        yield "schedule", f"{answer['schedule']} ({answer['schedule_text']})"
    yield "time zone", answer["timezone"] + (f" ({answer['dst']})" if answer["dst"] else "")
    if revision:
        yield "revision", f"{revision['hash'][:12]}, from {_there(revision['in_force_from'], answer)}"
    if answer["enabled_in_file"] is not None:
        yield "in the file", "enabled" if answer["enabled_in_file"] else "disabled"
    for name, one in (("before", answer["previous"]), ("after", answer["following"])):
        if one:
            coming = times.instant(one["instant"]) > times.instant(answer["now"])
            nothing = ("nothing yet" if coming else "not recorded", "dim")
            status = wording.status(one) if one["status"] else nothing
            yield name, (f"{_there(one['instant'], answer)}, {status[0]}", *status[1:])


@command("timeline")
@click.option(
    "--hours",
    type=click.FloatRange(0.1, 24 * 31),
    default=24,
    show_default=True,
    help="So many back, and ahead.",
)
@click.option("--job", metavar="NAME", shell_complete=completion.jobs, help="Of this job only.")
def timeline(session: Session, hours: float, job: str | None) -> None:
    """Draw what became of every job's instants, what comes, and where many fire together.

    \b
    Example:
      systemprompt infra jobs timeline --hours 6
    """
    names = [job] if job else [one["name"] for one in session.client.get("/v1/jobs")["jobs"]]
    query = {"hours": hours, "buckets": chart.buckets(session.terminal, names), "job": job}
    session.show(session.client.get("/v1/timeline", **query), chart.draw)


@command("audit")
@click.option("--job", metavar="NAME", shell_complete=completion.jobs, help="Of this job only.")
@click.option("--since", type=Moment(), help='Since then: 2d, 2026-03-29, "2026-03-29 02:30".')
def audit(session: Session, job: str | None, since: datetime | None) -> int:
    """Check that every planned instant is accounted for exactly once.

    The plan is computed anew from the configurations that were in force. Exit code 1 if anything is found.

    \b
    Example:
      systemprompt infra jobs audit --since 7d
    """
    answer = session.client.get("/v1/audit", job=job, since=since.isoformat() if since else None)
    session.show(answer, _audit)
    return 0 if answer["clean"] else 1


def _audit(answer: Answer, terminal: Terminal) -> Iterator[str]:
    heads: tuple[str, ...] = ("JOB", "FROM", "TO", "PLANNED", "ACCOUNTED", "MISSING", "DOUBLED", "UNPLANNED")
    rows = [_audited(one) for one in answer["jobs"]]
    if not fits(terminal, heads, rows):  # from when to when is in --json; the figures must be whole
        heads, rows = (heads[0], *heads[3:]), [(row[0], *row[3:]) for row in rows]
    yield from table(terminal, heads, rows, give=0)
    for one in answer["jobs"]:
        for finding in one["findings"]:
            yield terminal.paint(f"{one['job']}: {clean(finding)}", "red")
    planned = sum(one["planned"] for one in answer["jobs"])
    verdict = "every one has exactly one disposition" if answer["clean"] else "not all are accounted for"
    yield ""
    yield terminal.paint(f"{planned:,} planned instants: {verdict}", "green" if answer["clean"] else "red")


def _audited(one: Answer) -> tuple[Cell, ...]:
    bad = [(f"{one[name]:,}", *(("red", "bold") if one[name] else ())) for name in _FOUND]
    return (
        (one["job"], "bold"),
        times.local(one["start"]),
        times.local(one["end"]),
        f"{one['planned']:,}",
        f"{one['accounted']:,}",
        *bad,
    )
