"""Reading logs: view, follow, search, export."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from scheduler_daemon.cli import completion, times, wording
from scheduler_daemon.cli.command import Moment, Session, command
from scheduler_daemon.cli.terminal import Terminal, clean

Answer = Mapping[str, Any]
LEVELS = ("error", "warn", "info", "debug")
_STYLES = {"ERROR": ("red", "bold"), "WARN": ("yellow",), "DEBUG": ("dim",)}
_FIELDS = ("id", "at", "level", "module", "job", "run_id", "message", "fields")

_level = click.option("--level", type=click.Choice(LEVELS), help="This level and above.")
_job = click.option("--job", metavar="NAME", shell_complete=completion.jobs, help="Of this job only.")
_run = click.option("--run", metavar="ID", help="Of this run only; the beginning of its id will do.")
_module = click.option("--module", metavar="M", help="Of modules whose name starts so.")
_app = click.option("--app", is_flag=True, help="The application's log (public.logs), not ours.")
_since = click.option("--since", type=Moment(), help='Since then: 1h, 2026-03-29, "2026-03-29 02:30".')
_limit = click.option(
    "-n",
    "--limit",
    "--tail",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="How many lines.",
)


def _filters(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@command("view")
@_filters(_app, _level, _job, _run, _module, _since, _limit)
def view(session: Session, **wanted: Any) -> None:
    """Show the newest log lines of jobs and of the daemon, oldest of them first.

    \b
    Examples:
      systemprompt infra logs view --level error --since 1h
      systemprompt infra logs view --run 01a202c6-8ec0 -n 500
      systemprompt infra logs view --app --level error
    """
    session.show(_asked(session, wanted), _lines)


@command("search")
@click.argument("pattern")
@_filters(_app, _level, _job, _run, _module, _since, _limit)
def search(session: Session, pattern: str, **wanted: Any) -> None:
    """Show the newest lines whose message holds PATTERN (plain text, upper or lower case).

    \b
    Example:
      systemprompt infra logs search "rss feed" --since 1d
    """
    session.show(_asked(session, {**wanted, "pattern": pattern}), _lines)


@command("follow")
@_filters(_level, _job, _run, _module)
@click.option(
    "-n", "--limit", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Lines first."
)
def follow(session: Session, **wanted: Any) -> int:
    """Show log lines as they come, until Ctrl-C. With --json: one JSON object a line.

    \b
    Example:
      systemprompt infra logs follow --job publish_pipeline
    """
    try:
        for event in session.client.events("GET", "/v1/logs/follow", query=_query(wanted)):
            if session.as_json:
                session.terminal.line(json.dumps(event))
            elif event["event"] == "log":
                for line in _line(event, session.terminal):
                    session.terminal.line(line)
            else:
                session.complain(clean(event.get("message") or event["event"]))
            session.terminal.stream.flush()
    except KeyboardInterrupt:
        return 0
    session.complain("the daemon stopped")
    return 1


@command("export")
@_filters(_app, _level, _job, _run, _module, _since)
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["jsonl", "json", "csv"]),
    default="jsonl",
    show_default=True,
    help="One of these.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of the terminal."
)
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=10_000, show_default=True, help="How many lines."
)
def export(session: Session, form: str, output: Path | None, **wanted: Any) -> None:
    """Export log lines for other programs.

    \b
    Example:
      systemprompt infra logs export -f csv --since 1d -o errors.csv --level error
    """
    lines = _asked(session, wanted)["logs"]
    text = _FORMATS["json" if session.as_json else form](lines)
    if output is None:
        sys.stdout.write(text)
        return
    output.write_text(text, encoding="utf-8")
    session.complain(f"{len(lines):,} lines written to {output}")


def _asked(session: Session, wanted: Mapping[str, Any]) -> Answer:
    """Lines of our log, or with --app of the application's, which knows no jobs of ours."""
    query = _query(wanted)
    if not query.pop("app"):
        ours: Answer = session.client.get("/v1/logs", **query)
        return ours
    if any([query.pop("job"), query.pop("run")]):
        raise click.UsageError("--app is the application's log: --job and --run are about ours.")
    logs = session.client.get("/v1/logs/app", **query)["logs"]
    return {"logs": [{**line, "job": None, "run_id": None} for line in logs]}


def _query(wanted: Mapping[str, Any]) -> dict[str, Any]:
    since = wanted.get("since")
    return {**wanted, **({"since": since.isoformat()} if isinstance(since, datetime) else {})}


def _lines(answer: Answer, terminal: Terminal) -> Iterator[str]:
    if not answer["logs"] and terminal.live:
        yield "no lines"
    for line in answer["logs"]:
        yield from _line(line, terminal)


def _line(line: Answer, terminal: Terminal) -> Iterator[str]:
    """Time, level, who, message, fields; what a field has in several lines comes below."""
    level = str(line["level"]).upper()
    rest, below = wording.fields(line["fields"])
    who = line["job"] or line["module"]
    run = f" [{wording.short(line['run_id'])}]" if line["run_id"] else ""
    head = f"{times.instant(line['at']).astimezone():%Y-%m-%d %H:%M:%S}"
    text = f"{terminal.paint(head, 'dim')} {terminal.paint(f'{level:<5}', *_STYLES.get(level, ()))} "
    yield text + f"{clean(who)}{run}: {clean(line['message'])} {terminal.paint(rest, 'dim')}".rstrip()
    yield from (f"    {row}" for row in below)


def _as_jsonl(lines: list[Answer]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _as_json(lines: list[Answer]) -> str:
    return json.dumps(lines, indent=2, ensure_ascii=False) + "\n"


def _as_csv(lines: list[Answer]) -> str:
    """RFC 4180. A cell that a spreadsheet would take for a formula starts with an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(_FIELDS)
    writer.writerows([_cell(line[name]) for name in _FIELDS] for line in lines)
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


_FORMATS: Mapping[str, Callable[[list[Answer]], str]] = {"jsonl": _as_jsonl, "json": _as_json, "csv": _as_csv}
