"""Completion for shells: of commands and options by Click, of names by asking the daemon."""

from __future__ import annotations

from typing import Any

import click

from scheduler_daemon.cli.command import Session, command

PATIENCE_S = 1.0
SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_SYSTEMPROMPT_COMPLETE"


def jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of jobs; none where no daemon answers."""
    del param
    return [name for name in _names(ctx, "/v1/jobs", "jobs", "name") if name.startswith(incomplete)]


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of runs that wait or are under way."""
    del param
    found = _names(ctx, "/v1/runs?status=running&status=queued", "runs", "id")
    return [run for run in found if run.startswith(incomplete)]


def _names(ctx: click.Context, path: str, collection: str, key: str) -> list[str]:
    from scheduler_daemon.control.client import Client, DeniedError, NoDaemonError, ProblemError

    socket = ctx.params.get("socket") or ctx.find_root().params.get("socket")
    try:
        answer: Any = Client.find(socket).get(path)
    except (NoDaemonError, DeniedError, ProblemError):
        return []
    return [str(one[key]) for one in answer[collection]]


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def script(session: Session, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      systemprompt completion bash > /etc/bash_completion.d/systemprompt
      systemprompt completion zsh > "${fpath[1]}/_systemprompt"
      systemprompt completion fish > ~/.config/fish/completions/systemprompt.fish
    """
    from click.shell_completion import get_completion_class

    from scheduler_daemon.cli.main import main

    kind = get_completion_class(shell)
    assert kind is not None
    session.terminal.line(kind(main, {}, "systemprompt", VARIABLE).source())
