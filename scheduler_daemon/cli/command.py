"""What every command has: --json, --socket, an example in its help, and the exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

import click

from scheduler_daemon.cli.terminal import Terminal, clean, clean_block, stdout

NO_DAEMON = 3
START = "scheduler-daemon run --config config/config.yaml"
Answer = Mapping[str, Any]


class Session:
    """One invocation: where the daemon is, and how to print."""

    def __init__(self, *, socket: str | None, as_json: bool) -> None:
        self.as_json = as_json
        self.terminal: Terminal = stdout()
        self._socket = socket
        self._client: Any = None

    @property
    def client(self) -> Any:
        """Found at first use. Raises what control.client.Client.find raises."""
        if self._client is None:
            from scheduler_daemon.control.client import Client

            self._client = Client.find(self._socket)
        return self._client

    def show(self, answer: Any, lines: Callable[[Any, Terminal], Iterable[str]]) -> None:
        """The answer as JSON, or as the lines that are made of it."""
        if self.as_json:
            self.json(answer)
            return
        for line in lines(answer, self.terminal):
            self.terminal.line(line)

    def json(self, answer: Any) -> None:
        self.terminal.line(json.dumps(answer, indent=2, ensure_ascii=not self.terminal.unicode))

    def refused(self, error: Any) -> None:
        """A problem document: whole as JSON, or in its own words."""
        if self.as_json:
            self.json(error.document)
        else:
            self.complain("\n".join(clean_block(error)))

    def complain(self, message: str) -> None:
        click.echo(message, err=True)


class Command(click.Command):
    """A leaf. Its function takes the Session first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print the daemon's answer as JSON."),
            click.Option(["--socket"], metavar="PATH", help="The daemon's control socket."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        as_json = ctx.params.pop("as_json")
        ctx.obj = Session(
            socket=ctx.params.pop("socket") or ctx.find_root().params.get("socket"), as_json=as_json
        )
        try:
            assert self.callback is not None
            code = ctx.invoke(self.callback, ctx.obj, **ctx.params)
            sys.stdout.flush()
        except BrokenPipeError:
            _forget_stdout()
            code = 0
        except click.ClickException:
            raise
        except Exception as error:
            code = _failed(ctx.obj, error)
        ctx.exit(code or 0)


class Lazy(click.Group):
    """A group whose commands are imported when they are called: {name: ("module:attribute", short help)}."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        command.short_help = self._lazy[cmd_name][1]
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=3, cutoff=0.6)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, one.get_short_help_str(80)) for name, one in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows + [(name, text) for name, (_, text) in self._lazy.items()])


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """A decorator: the function becomes a leaf of that name; its docstring is the help."""
    settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})

    def decorate(function: Callable[..., Any]) -> Command:
        made: Command = click.command(name, cls=Command, **settings)(function)
        return made

    return decorate


class Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        from scheduler_daemon.cli import times

        try:
            lasting = value if isinstance(value, timedelta) else times.duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not lasting:
            self.fail(f'"{value}" is no time at all', param, ctx)
        return lasting


class Moment(click.ParamType[datetime]):
    """A duration back from now, or a date or time."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        from scheduler_daemon.cli import times

        try:
            return value if isinstance(value, datetime) else times.moment(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _failed(session: Session, error: Exception) -> int:
    """What went wrong, in a line; an error that is not ours is not hidden."""
    from scheduler_daemon.control.client import DeniedError, NoDaemonError, ProblemError

    if isinstance(error, ProblemError):
        session.refused(error)
        return 1
    if isinstance(error, NoDaemonError):
        session.complain(f"{clean(error)}; start one with: {START}")
        return NO_DAEMON
    if isinstance(error, DeniedError):
        session.complain(clean(error))
        return 1
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else "cannot write: "
        session.complain(clean(f"{named}{error.strerror or error}"))
        _forget_stdout()
        return 1
    raise error


def _forget_stdout() -> None:
    """Whoever read our output has enough of it: let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
