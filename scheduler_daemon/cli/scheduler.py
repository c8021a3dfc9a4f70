"""The scheduler as a whole: status, check, reload, revisions, actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from scheduler_daemon.cli import actions as acts
from scheduler_daemon.cli import plan, times, wording
from scheduler_daemon.cli.command import Session, command
from scheduler_daemon.cli.table import Cell, pairs, table
from scheduler_daemon.cli.terminal import Terminal, clean

Answer = Mapping[str, Any]
_limit = click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many."
)


@command("status")
def status(session: Session) -> None:
    """Show how the daemon does: database, workers, what is due and not handled, what is degraded.

    \b
    Example:
      systemprompt infra scheduler status
    """
    session.show(session.client.get("/v1/status"), _status)


def _status(answer: Answer, terminal: Terminal) -> Iterator[str]:
    now = times.instant(answer["now"])
    well: Cell = ("degraded", "yellow", "bold") if answer["degraded"] else ("all is well", "green")
    yield from pairs(terminal, [("scheduler-daemon", well), *_facts(answer, now), *_figures(answer)])
    for heading, lines in (
        ("Degraded", [terminal.paint(line, "yellow") for line in _wrapped(answer["degraded"], terminal)]),
        ("Workers", [f"  {_worker(worker)}" for worker in answer["workers"] if worker["run"]]),
        ("Other nodes", [f"  {_node(node, answer, now)}" for node in answer["nodes"] if not node["this"]]),
    ):
        if lines:
            yield ""
            yield terminal.paint(heading, "bold")
            yield from lines


def _wrapped(lines: Sequence[str], terminal: Terminal) -> list[str]:
    return [part for line in lines for part in terminal.wrap(clean(line), "  ", "    ")]


def _facts(answer: Answer, now: datetime) -> list[tuple[str, Cell]]:
    away = answer["database_away_since"]
    oldest = answer["oldest_unhandled"]
    return [
        ("version", answer["version"]),
        (
            "up",
            f"{times.span(answer['uptime_s'])}, pid {answer['pid']}"
            + ("" if answer["ready"] else ", starting"),
        ),
        ("node", f"{answer['node']} ({answer['node_id']})"),
        ("configuration", f"{answer['configuration']} (revision {answer['revision'][:12]})"),
        ("state", answer["state_dir"]),
        (
            "scheduler",
            "enabled" if answer["scheduler_enabled"] else ("disabled: every instant is skipped", "yellow"),
        ),
        (
            "database",
            (f"away since {times.local(away, now=now)}", "red", "bold") if away else answer["database"],
        ),
        (
            "not yet handled",
            (f"{answer['oldest_unhandled_job']} of {times.local(oldest, now=now)}", "red", "bold")
            if oldest
            else "nothing",
        ),
        ("clock", f"{answer['clock_skew_s']:+.3f} s off the database's"),
    ]


def _figures(answer: Answer) -> list[tuple[str, Cell]]:
    busy = sum(1 for worker in answer["workers"] if worker["run"])
    spooled = answer["spool_bytes"]
    return [
        ("jobs", str(answer["jobs"])),
        ("runs", f"{answer['running']} running, {answer['queued']} waiting"),
        ("workers", f"{len(answer['workers'])} of at most {answer['workers_max']}, {busy} busy"),
        ("disk", f"{answer['disk_free_bytes'] / 1e9:.1f} GB free"),
        ("spool", (f"{spooled:,} bytes wait for the database", "yellow") if spooled else ""),
        ("extensions", ", ".join(_extension(one) for one in answer["extensions"])),
    ]


def _extension(extension: Answer) -> str:
    fault = " (faulty)" if extension["jobs"] else " (unavailable)"
    return f"{extension['name']} {extension['version']}" + (fault if extension["error"] else "")


def _worker(worker: Answer) -> str:
    since = times.span(worker["running_s"])
    return f"pid {worker['pid']}: {worker['job']}, run {wording.short(worker['run'])}, for {since}"


def _node(node: Answer, answer: Answer, now: datetime) -> str:
    if node["stopped_at"]:
        return f"{node['name']}: stopped {times.relative(node['stopped_at'], now)}"
    other = "" if node["revision"] == answer["revision"] else f", revision {(node['revision'] or '?')[:12]}"
    alive = times.relative(node["heartbeat_at"], now)
    return f"{node['name']}: pid {node['pid']}, last sign of life {alive}{other}"


@command("check")
@click.option("--config", metavar="FILE", help="The configuration file [default: the running daemon's].")
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
def check(session: Session, config: str | None, strict: bool) -> int:
    """Tell everything that is wrong or doubtful in the configuration, as it is written now.

    Exit codes: 0 clean or warnings only (--strict: 1), 1 errors.

    \b
    Example:
      systemprompt infra scheduler check --strict
    """
    from scheduler_daemon.cli.checking import check_configuration

    file = Path(config or session.client.get("/v1/status")["configuration"])
    return check_configuration(file, strict=strict)


@command("reload")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would change; change nothing.")
def reload(session: Session, only_plan: bool) -> int:
    """Put the configuration in force as it is written now; an invalid one changes nothing.

    Exit codes: 0 done, 1 refused. With --plan: 0 nothing would change, 4 something would, 1 refused.

    \b
    Examples:
      systemprompt infra scheduler reload --plan
      systemprompt infra scheduler reload
    """
    if not only_plan:
        session.show(session.client.post("/v1/reload"), _reloaded)
        return 0
    answer = session.client.post("/v1/reload/plan")
    session.show(answer, plan.describe)
    return plan.WOULD_CHANGE if answer["changes"] else 0


def _reloaded(answer: Answer, terminal: Terminal) -> Iterator[str]:
    yield f"revision {answer['revision'][:12]} is in force: {wording.counted(answer['jobs'], 'job')}"
    for why in answer["degraded"]:
        yield terminal.paint(f"  {clean(why)}", "yellow")


@command("revisions")
@_limit
def revisions(session: Session, limit: int) -> None:
    """Show which configuration was in force when, newest first.

    \b
    Example:
      systemprompt infra scheduler revisions -n 5
    """
    session.show(session.client.get("/v1/revisions", limit=limit), _revisions)


def _revisions(answer: Answer, terminal: Terminal) -> Iterator[str]:
    now = datetime.now().astimezone()
    rows = [
        (
            str(one["id"]),
            one["hash"][:12],
            f"{times.local(one['in_force_from'], now=now)} ({times.relative(one['in_force_from'], now)})",
            "unreadable" if one["jobs"] is None else str(one["jobs"]),
            one["tzdata"] or "",
        )
        for one in answer["revisions"]
    ]
    yield from table(terminal, ("ID", "REVISION", "IN FORCE FROM", "JOBS", "TZDATA"), rows)


@command("actions")
@_limit
def actions(session: Session, limit: int) -> None:
    """Show who did what through the socket, newest first.

    \b
    Example:
      systemprompt infra scheduler actions -n 50
    """
    session.show(session.client.get("/v1/actions", limit=limit), acts.lines)
