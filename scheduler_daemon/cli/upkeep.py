"""`scheduler-daemon backup`, `restore`, `accept`, `upgrade-database`: work on the database itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from scheduler_daemon.cli.options import config_option, find_config

Work = Callable[[Any], Coroutine[Any, Any, Any]]
_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.command()
@_file
@config_option
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def backup(file: Path, config: str | None, force: bool) -> None:
    """Write the whole database to FILE, the application's tables too. The daemon may go on meanwhile.

    FILE appears once it is complete and has been read back. pg_restore understands it.

    \b
    Example:
      scheduler-daemon backup /var/backups/scheduler-$(date +%F).dump
    """
    from scheduler_daemon import maintenance

    made = _done(config, lambda settings: maintenance.back_up(settings, file.absolute(), overwrite=force))
    click.echo(f"{file}: {made.size / 1e6:.1f} MB, {made.tables} tables")


@click.command()
@_file
@config_option
@click.option("--replace", is_flag=True, help="Where the database is not empty: put this one in its place.")
def restore(file: Path, config: str | None, replace: bool) -> None:
    """Fill the database from FILE, wholly or not at all. The daemon must be stopped.

    With --replace the present database stays, under another name. Nothing runs on the restored one until
    `scheduler-daemon accept`, so that a copy does not do the original's work.

    \b
    Example:
      scheduler-daemon restore /var/backups/scheduler-2026-11-22.dump --replace
    """
    from scheduler_daemon import maintenance

    absolute = file.absolute()
    found, old = _done(config, lambda settings: maintenance.restore(settings, absolute, replace=replace))
    click.echo(f"{file}: {found.tables} tables restored")
    if old is not None:
        click.echo(f'the database before it stays as "{old}"')
    click.echo("nothing runs on it until you say that it is the real one: scheduler-daemon accept")


@click.command()
@config_option
def accept(config: str | None) -> None:
    """Say that this database, restored or copied, is the real one: its jobs run from now on.

    \b
    Example:
      scheduler-daemon accept
    """
    from scheduler_daemon import maintenance
    from scheduler_daemon.ledger.history import Actor

    actor = Actor(uid=os.getuid(), user_name=_user(), pid=os.getpid())
    was_held = _done(config, lambda settings: maintenance.accept(settings, actor))
    click.echo("accepted: its jobs run from now on" if was_held else "nothing to accept: it is the real one")


@click.command("upgrade-database")
@config_option
def upgrade_database(config: str | None) -> None:
    """Bring the embedded database to the newest PostgreSQL here. The daemon must be stopped.

    The old files stay beside the new ones, until you remove them.

    \b
    Example:
      scheduler-daemon upgrade-database
    """
    from scheduler_daemon import maintenance

    old = _done(config, maintenance.upgrade_database)
    if old is None:
        click.echo("nothing to do: it is of the newest version here")
    else:
        click.echo(f"done; once all is well, remove the old files: rm -r {old}")


def _done(config: str | None, work: Work) -> Any:
    from scheduler_daemon.config import load
    from scheduler_daemon.errors import SchedulerError
    from scheduler_daemon.logs import configure

    configure(level="INFO", as_json=False)
    try:
        return asyncio.run(work(load(find_config(config)).settings))
    except SchedulerError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
