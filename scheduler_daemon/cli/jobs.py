"""Looking at jobs: list, show, next, history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import click

from scheduler_daemon.cli import completion, parameters, times, wording
from scheduler_daemon.cli.command import Moment, Session, command
from scheduler_daemon.cli.table import Cell, fits, pairs, spilling, table
from scheduler_daemon.cli.terminal import Terminal, clean, clean_block
from scheduler_daemon.control.client import segment

Answer = Mapping[str, Any]
HEADS = ("NAME", "EXTENSION", "SCHEDULE", "MEANING", "STATE", "LAST RUN", "NEXT FIRE")
MEANING = HEADS.index("MEANING")
STEPS_OF, STEPS_SHOWN = 5, 30
"""Of how many runs, and how many, steps are listed at most."""
RUN_STATUSES = (
    "queued", "running", "succeeded", "failed", "timed_out", "cancelled", "lost", "skipped", "missed",
)  # fmt: skip


@command("list")
def list_jobs(session: Session) -> None:
    """List all jobs: the schedule in force, its state, the last run, the next fire.

    \b
    Example:
      systemprompt infra jobs list
    """
    session.show(session.client.get("/v1/jobs"), _list)


def _list(answer: Answer, terminal: Terminal) -> Iterator[str]:
    now = times.instant(answer["now"])
    if answer["stale"]:
        yield terminal.paint(f"from memory, without last runs: {answer['stale']}", "yellow", "bold")
    rows = [_row(job, now) for job in answer["jobs"]]
    notes = [wording.note(job, now) for job in answer["jobs"]]
    if terminal.width is None:
        yield from table(
            terminal, (*HEADS, "NOTE"), [(*row, note) for row, note in zip(rows, notes, strict=True)]
        )
    elif fits(terminal, HEADS, rows, give=MEANING):
        head, *lines = table(terminal, HEADS, rows, give=MEANING)
        yield head
        for line, note in zip(lines, notes, strict=True):
            yield line
            yield from _noted(note, terminal)
    else:
        yield from _stacked(rows, notes, terminal)


def _row(job: Answer, now: datetime) -> tuple[Cell, ...]:
    state = wording.state(job)
    unscheduled = job["state"] == "not scheduled"
    return (
        (job["name"], *(state[1:] if job["state"] == "unavailable" or job["degraded"] else ("bold",))),
        job["extension"],
        ("-", "dim") if unscheduled else job["schedule"],
        ("-", "dim") if unscheduled else job["schedule_text"],
        state,
        wording.last_run(job, now),
        wording.next_fire(job, now) or ("-", "dim"),
    )


def _stacked(rows: list[tuple[Cell, ...]], notes: list[str], terminal: Terminal) -> Iterator[str]:
    """Where a line is too narrow, a job takes two: what it is, and how it does."""
    what = table(terminal, HEADS[:4], [row[:4] for row in rows])
    how = table(terminal, HEADS[4:], [(row[4], row[5], row[6]) for row in rows])
    indent = "    "
    yield next(what)
    yield indent + next(how)
    for first, second, note in zip(what, how, notes, strict=True):
        yield first
        yield indent + second
        yield from _noted(note, terminal)


def _noted(note: str, terminal: Terminal) -> Iterator[str]:
    for line in terminal.wrap(clean(note), "    "):
        yield terminal.paint(line, "yellow")


@command("show")
@click.argument("name", shell_complete=completion.jobs)
def show(session: Session, name: str) -> None:
    """Show one job: what it runs, when, under which rules, and its last runs.

    \b
    Example:
      systemprompt infra jobs show publish_pipeline
    """
    session.show(session.client.get(f"/v1/jobs/{segment(name)}"), _show)


def _show(job: Answer, terminal: Terminal) -> Iterator[str]:
    now = datetime.now().astimezone()
    yield terminal.paint(job["name"], "bold")
    if job["description"]:
        yield from clean_block(job["description"])
    yield ""
    yield from pairs(terminal, [*_facts(job, now), *_rules(job)])
    if known := list(parameters.rows(job["parameters_schema"])):
        yield ""
        yield from spilling(terminal, parameters.HEADS, known)
    if job["next_fires"]:
        yield ""
        yield terminal.paint("Next fires", "bold")
        for fire in job["next_fires"]:
            yield f"  {_fire(fire, now, job['timezone'])}"
    if job["recent_runs"]:
        yield ""
        yield from runs_table(job["recent_runs"], terminal, now)
        yield from _step_times(job["recent_runs"], terminal, now)


def _step_times(runs: list[Answer], terminal: Terminal, now: datetime) -> Iterator[str]:
    """A line for each step, a column for each of the last runs that had any, as many as the width takes."""
    told = [run for run in runs if run["steps"]][:STEPS_OF]
    names = list(dict.fromkeys(step["name"] for run in told for step in run["steps"]))
    shown = names[:STEPS_SHOWN]
    while told:
        heads = ["STEP", *(times.local(run["started_at"], now=now) for run in told)]
        rows = [(name, *(_step_cell(run, name) for run in told)) for name in shown]
        if len(told) == 1 or fits(terminal, heads, rows):
            yield ""
            yield from table(terminal, heads, rows, give=0)
            if len(names) > len(shown):
                yield f"and {len(names) - len(shown):,} more steps"
            return
        told.pop()


def _step_cell(run: Answer, name: str) -> Cell:
    """What the steps of this name took together."""
    steps = [step for step in run["steps"] if step["name"] == name]
    if not steps:
        return ""
    took = times.took(sum(step["duration_s"] for step in steps) * 1000)
    return (f"{took} failed", "red") if any(step["status"] == "failed" for step in steps) else took


def _facts(job: Answer, now: datetime) -> list[tuple[str, Cell]]:
    override = job["override"]
    in_file = "enabled" if job["enabled_in_file"] else "disabled"
    in_force = "" if job["state"] == "not scheduled" else job["schedule"]
    return [
        ("state", wording.state(job)),
        ("unavailable", (job["unavailable"] or "", "red")),
        ("degraded", (job["degraded"] or "", "yellow")),
        ("code", f"{job['extension']}.{job['job']}"),
        ("schedule", f"{in_force} ({job['schedule_text']})" if in_force else ""),
        ("code's default", job["code_schedule"] if job["code_schedule"] != in_force else ""),
        ("time zone", job["timezone"]),
        ("on startup", "runs, too" if job["run_on_startup"] else ""),
        ("in the file", f"{in_file}, at {job['position']}" if job["position"] else ""),
        ("by an operator", (wording.override_text(override, now), "yellow") if override else ""),
        ("last run", wording.last_run(job, now)),
        ("running now", ", ".join(job["live_runs"])),
    ]


def _rules(job: Answer) -> list[tuple[str, Cell]]:
    """Rules that differ from the defaults are worth a line; the overlap and misfire rules always."""
    window = times.span(job["misfire_window_s"])
    retries = f"{job['retries']}, after {times.span(job['retry_delay_s'])}, doubled each time"
    memory = job["memory_limit"]
    dst = f"gap {job['dst_gap']}, overlap {job['dst_overlap']}"
    return [
        (
            "overlap",
            job["overlap"] + (f", with {job['concurrency']}" if job["concurrency"] != job["name"] else ""),
        ),
        ("misfire", f"{job['misfire']}, within {window}"),
        ("dst", dst if dst != "gap after, overlap first" else ""),
        ("timeout", f"{job['timeout_s']:g} s" if job["timeout_s"] else "none"),
        ("retries", retries if job["retries"] else ""),
        ("on lost", job["on_lost"] if job["on_lost"] != "fail" else ""),
        ("memory limit", f"{memory / 1024**2:,.0f} MiB" if memory else ""),
        ("nodes", job["nodes"] if job["nodes"] != "any" else ""),
        ("tags", ", ".join(job["tags"])),
        ("parameters", ", ".join(f"{name}={value}" for name, value in job["parameters"].items())),
    ]


@command("next")
@click.argument("name", shell_complete=completion.jobs)
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
@click.option("--from", "start", type=Moment(), help="After this time instead of now.")
def next_fires(session: Session, name: str, count: int, start: datetime | None) -> None:
    """Show when a job's schedule fires next, whether or not it is enabled.

    \b
    Example:
      systemprompt infra jobs next daily_traffic_report -n 4 --from 2026-03-28
    """
    query = {"count": count, "from": start.isoformat() if start else None}
    session.show(session.client.get(f"/v1/jobs/{segment(name)}/next", **query), _next)


def _next(answer: Answer, terminal: Terminal) -> Iterator[str]:
    now = datetime.now().astimezone()
    if not answer["scheduled"]:
        yield f"{answer['job']} is not scheduled: no entry of the configuration names it"
        return
    if terminal.live:
        yield f"{terminal.paint(answer['job'], 'bold')}: {answer['schedule']}   {answer['schedule_text']}"
        if not answer["enabled"]:
            yield terminal.paint("it is disabled: these instants will be skipped", "yellow")
    if not answer["fires"]:
        yield "it never fires again"
    for fire in answer["fires"]:
        yield _fire(fire, now, answer["timezone"])


def _fire(fire: str, now: datetime, zone: str) -> str:
    """With the day's name, which people check a schedule by; and by the job's clock where that differs."""
    from zoneinfo import ZoneInfo

    here = times.instant(fire).astimezone()
    there = here.astimezone(ZoneInfo(zone))
    home = f"   ({there:%a %H:%M:%S %Z})" if there.utcoffset() != here.utcoffset() else ""
    return f"{here:%a %Y-%m-%d %H:%M:%S %Z}   {times.relative(fire, now)}{home}"


_status = click.option(
    "--status",
    type=click.Choice(RUN_STATUSES),
    metavar="STATUS",
    multiple=True,
    help="Of this status only (failed, skipped, …); may be repeated.",
)


@command("history")
@click.option("--job", metavar="NAME", shell_complete=completion.jobs, help="Of this job only.")
@_status
@click.option("--since", type=Moment(), help='Since then: 2h, 2026-03-29, "2026-03-29 02:30".')
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many."
)
def history(
    session: Session, job: str | None, status: tuple[str, ...], since: datetime | None, limit: int
) -> None:
    """Show what ran, what did not run, and how it ended; newest first.

    \b
    Examples:
      systemprompt infra jobs history --job publish_pipeline
      systemprompt infra jobs history --status failed --status lost --since 2d
    """
    query = {
        "job": job,
        "status": status or None,
        "since": since.isoformat() if since else None,
        "limit": limit,
    }
    session.show(session.client.get("/v1/runs", **query), _history)


def _history(answer: Answer, terminal: Terminal) -> Iterator[str]:
    if not answer["runs"] and terminal.live:
        yield "nothing yet"
        return
    yield from runs_table(answer["runs"], terminal, datetime.now().astimezone())


def runs_table(runs: list[Answer], terminal: Terminal, now: datetime) -> Iterator[str]:
    """One line a run; a span of instants that did not run says how many."""
    heads = ("RUN", "JOB", "KIND", "WHEN", "STATUS", "TOOK", "OUTCOME")
    width = wording.shortest(run["id"] for run in runs)
    yield from spilling(terminal, heads, [_run_row(run, now, width) for run in runs], give=1)


def _run_row(run: Answer, now: datetime, width: int) -> tuple[Cell, ...]:
    when = times.local(run["scheduled_for"] or run["started_at"] or run["claimed_at"], now=now)
    outcome = wording.outcome(run)
    if run["instants"] > 1:
        outcome = f"{run['instants']:,} instants, to {times.local(run['last_for'], now=now)} · {outcome}"
    return (
        (run["id"][:width], "dim"),
        (run["job"], "bold"),
        run["kind"].replace("_", " "),
        when,
        wording.status(run),
        times.took(run["duration_ms"]),
        outcome,
    )
