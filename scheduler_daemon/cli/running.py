"""Running jobs by hand, and watching them; ending runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from scheduler_daemon.cli import completion, wording
from scheduler_daemon.cli.command import Session, command
from scheduler_daemon.cli.progress import Screen
from scheduler_daemon.control.client import segment

Answer = Mapping[str, Any]
INTERRUPTED = 130


@command("run")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completion.jobs)
@click.option(
    "-p", "--parameter", "pairs", metavar="KEY=VALUE", multiple=True, help="For this run; may be repeated."
)
@click.option("--no-wait", is_flag=True, help="Start it, print its id, and do not watch.")
@click.option("--queue", is_flag=True, help="Wait for a run that is in the way, instead of being refused.")
def run(session: Session, names: tuple[str, ...], pairs: tuple[str, ...], no_wait: bool, queue: bool) -> int:
    """Run jobs now, whatever their schedule; several run one after the other.

    Exit code 0 only if every run succeeded. The schedule is not touched.

    \b
    Examples:
      systemprompt infra jobs run publish_pipeline
      systemprompt infra jobs run hello -p name=operator -p times=3 --queue
    """
    body = {"parameters": _parameters(pairs), "queue": queue}
    return run_all(session, names, body, wait=not no_wait)


def run_all(session: Session, names: tuple[str, ...], body: Answer, *, wait: bool) -> int:
    """0 if all succeeded (or, without waiting, were accepted)."""
    from scheduler_daemon.control.client import ProblemError

    worst = 0
    for name in names:
        path = f"/v1/jobs/{segment(name)}/runs"
        try:
            worst = max(worst, _watch(session, path, body) if wait else _start(session, path, body))
        except ProblemError as error:
            if len(names) == 1:
                raise
            session.refused(error)
            worst = 1
    return worst


def _start(session: Session, path: str, body: Answer) -> int:
    answer = session.client.post(path, body)
    waits = f", waits for {answer['blocked_by']}" if answer["blocked_by"] else ""
    session.show(answer, lambda a, t: [f"{a['id']}  {a['job']} {a['status']}{waits}" if t.live else a["id"]])
    return 0


def _watch(session: Session, path: str, body: Answer) -> int:
    screen = Screen(session.terminal, quiet=session.as_json)
    try:
        ended = _until_end(session.client.events("POST", path, body=body), screen)
    except KeyboardInterrupt:
        screen.clear()
        if not _cancel_asked(session, screen):
            session.complain(f"left running: {screen.run}" if screen.run else "interrupted")
            return INTERRUPTED
        ended = _cancelled(session, screen)
    if ended is None:
        session.complain(f"the daemon stopped watching {screen.run}; see: jobs history")
        return 1
    if session.as_json:
        session.json(ended)
    return 0 if ended["status"] == "succeeded" else 1


def _cancelled(session: Session, screen: Screen) -> Answer | None:
    """What came before has been shown already: only the end of it is news."""
    session.client.post(f"/v1/runs/{screen.run}/cancel")
    events = session.client.events("GET", f"/v1/runs/{screen.run}/events")
    return _until_end((event for event in events if event["event"] == "ended"), screen)


def _until_end(events: Any, screen: Screen) -> Answer | None:
    for event in events:
        screen.take(event)
        if event["event"] == "ended":
            ended: Answer = event
            return ended
    return None


def _cancel_asked(session: Session, screen: Screen) -> bool:
    """Ctrl-C: a person is asked; a script's run goes on."""
    if not screen.run or not (session.terminal.live and sys.stdin.isatty()):
        return False
    session.complain(f"run {screen.run} is still under way")
    try:
        answer = click.prompt(
            "Leave it running, or cancel it?",
            type=click.Choice(["leave", "cancel"]),
            default="leave",
            err=True,
        )
    except click.Abort:
        session.complain("")
        return False
    return bool(answer == "cancel")


@command("cancel")
@click.argument("run_id", metavar="RUN", shell_complete=completion.runs)
def cancel(session: Session, run_id: str) -> None:
    """End a run that waits or is under way; RUN is its id, or the beginning of it.

    The job's code is asked to end; if it has not done so after `kill_after`, its worker is killed.

    \b
    Example:
      systemprompt infra jobs cancel 01a202c6-8ec0
    """
    answer = session.client.post(f"/v1/runs/{segment(run_id)}/cancel")
    session.show(answer, lambda a, t: [f"{a['job']}: run {wording.short(a['id'])} is asked to end"])


def _parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE is text that the job's own model reads; KEY:=VALUE is JSON."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        as_json = key.endswith(":")
        key = key.removesuffix(":")
        if not equals or not key:
            raise click.BadParameter(f'"{pair}" is not KEY=VALUE', param_hint="-p")
        try:
            found[key] = json.loads(value) if as_json else value
        except ValueError:
            raise click.BadParameter(f'"{value}" is not JSON', param_hint="-p") from None
    return found
