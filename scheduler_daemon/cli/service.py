"""`scheduler-daemon`: the service itself, and what needs no running one."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scheduler_daemon.cli.command import Lazy
from scheduler_daemon.cli.options import config_option, find_config

if TYPE_CHECKING:
    from scheduler_daemon.operations import House

ROOM = "scheduler_daemon.cli.upkeep"
SHOWN = 25
YOUNG_OBJECTS = 20_000
"""So many are made before the collector looks: by default 700, and a large configuration makes a million."""


@click.group(
    cls=Lazy,
    lazy={
        "backup": (f"{ROOM}:backup", "Write the whole database to a file."),
        "restore": (f"{ROOM}:restore", "Fill the database from such a file."),
        "accept": (f"{ROOM}:accept", "Let jobs run on a restored or copied database."),
        "upgrade-database": (
            f"{ROOM}:upgrade_database",
            "Bring the embedded database to a newer PostgreSQL.",
        ),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="scheduler-daemon")
def main() -> None:
    """Run background jobs on cron schedules, and account for every planned instant.

    \b
    Example:
      scheduler-daemon run --config config/config.yaml
    """
    _use_locked_time_zones()


def _use_locked_time_zones() -> None:
    """Zones as the lock file's tzdata has them, not as the machine does: revisions name its version."""
    import zoneinfo

    os.environ["PYTHONTZPATH"] = ""
    zoneinfo.reset_tzpath(())


@main.command()
@config_option
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def run(config: str | None, log_level: str, log_format: str) -> None:
    """Run the daemon in the foreground, until Ctrl-C or SIGTERM.

    Exit codes: 0 stopped in order, 78 configuration, 75 database or state directory not to be had, 70 a
    fault of the daemon's own.
    """
    # Before anything slow: an early SIGHUP must not end the process, its default.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from scheduler_daemon.init import be_init, first_process

    contained = first_process()
    if contained:
        be_init()
    import structlog

    faulthandler.enable()  # so that a watchdog's SIGABRT tells where it hung
    from scheduler_daemon.config import load
    from scheduler_daemon.daemon import Daemon
    from scheduler_daemon.errors import SchedulerError
    from scheduler_daemon.logs import configure

    gc.set_threshold(YOUNG_OBJECTS)
    file = find_config(config)
    stream = sys.stdout if contained else sys.stderr
    tap = configure(level=log_level.upper(), as_json=log_format == "json", stream=stream)
    for_people = log_format == "text" and tap.journald is None
    try:
        loaded = load(file)
        tap.redactor.learn(loaded.secrets)
        for warning in loaded.warnings:
            click.echo(str(warning), err=True)
        announce = _announce if for_people else _announce_briefly
        asyncio.run(Daemon(loaded, tap=tap, announce=announce).run())
    except SchedulerError as error:
        _fail(error)
    except Exception:  # told by the log, which hides secrets, and not by the interpreter, which does not
        structlog.get_logger(__name__).exception("the daemon ends by a fault of its own")
        sys.exit(SchedulerError.exit_code)


@main.command()
@config_option
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
def check(config: str | None, strict: bool) -> None:
    """Tell everything that is wrong or doubtful in the configuration; no daemon is needed.

    Exit codes: 0 clean or warnings only (--strict: 1), 1 errors.
    """
    from scheduler_daemon.cli.checking import check_configuration

    sys.exit(check_configuration(find_config(config), strict=strict))


@main.command()
@config_option
def migrate(config: str | None) -> None:
    """Bring the database's tables up to date: the daemon's own, then those of the extensions."""
    from scheduler_daemon.errors import SchedulerError
    from scheduler_daemon.preparation import migrate_once

    try:
        applied = asyncio.run(migrate_once(_load(config)))
    except SchedulerError as error:
        _fail(error)
    for one in applied:
        click.echo(f"applied {one.owner} {one.version:04d} {one.name} ({one.duration_s * 1000:.0f} ms)")
    if not applied:
        click.echo("nothing to apply")


@main.command("new-extension")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="The folder to write it into [default: the current one].",
)
def new_extension(name: str, into: Path) -> None:
    """Write a package with a job, a test and a migration: an extension to start from.

    \b
    Example:
      scheduler-daemon new-extension my_extension
    """
    from scheduler_daemon.cli.scaffold import ScaffoldError, next_steps, write_extension

    try:
        names = write_extension(name, into)
    except ScaffoldError as error:
        raise click.ClickException(str(error)) from None
    click.echo(next_steps(names, into))


def _load(config: str | None) -> Any:
    from scheduler_daemon.config import load

    return load(find_config(config))


def _fail(error: Any) -> None:
    click.echo(str(error), err=True)
    sys.exit(error.exit_code)


def _announce_briefly(house: House) -> None:
    """Under systemd, or for machines: a line like any other."""
    import structlog

    log = structlog.get_logger(__name__)
    log.info(
        "ready",
        version=house.node.version,
        jobs=len(house.edition.bindings),
        configuration=str(house.edition.settings.file),
        database=house.database,
    )


def _announce(house: House) -> None:
    """A few calm lines: what is where, and what comes next."""
    settings, now = house.edition.settings, house.clock.now()
    click.echo()
    click.echo(f"scheduler-daemon {house.node.version} is ready (pid {house.node.pid}).")
    click.echo(f"  configuration  {settings.file}")
    click.echo(f"  database       {house.database}")
    click.echo(f"  socket         {settings.control.socket}")
    if (site := _site(house)) is not None:
        click.echo(f"  site           {site}   (look at it: {_client()} infra site preview)")
    for name, message in house.runner.startup_messages.items():
        click.echo(f"  {name}: {message}")
    click.echo()
    click.echo("Jobs, and when each fires next:")
    rows = [_row(house, binding, now) for binding in house.edition.bindings[:SHOWN]]
    width = max((len(row[0]) for row in rows), default=0)
    for name, text in rows:
        click.echo(f"  {name:<{width}}  {text}")
    if (more := len(house.edition.bindings) - len(rows)) > 0:
        click.echo(f"  and {more:,} more")
    click.echo()
    click.echo(f"Look around from a second terminal:  {_client()} infra jobs list")
    click.echo("Stop with Ctrl-C.")


def _client() -> str:
    """The command as it can be typed here: by its name where that is found, else beside this program."""
    if shutil.which("systemprompt"):
        return "systemprompt"
    client = Path(sys.executable).with_name("systemprompt")
    return str(client.relative_to(Path.cwd()) if client.is_relative_to(Path.cwd()) else client)


def _site(house: House) -> Path | None:
    """Where the web extension publishes, if it is installed and has."""
    settings = house.edition.settings
    if not any(e.name == "web" and e.error is None for e in house.edition.catalogue.extensions):
        return None
    output = settings.base_dir / (settings.extensions.get("web") or {}).get("output", "web/dist")
    return output if output.exists() else None


def _row(house: House, binding: Any, now: Any) -> tuple[str, str]:
    from zoneinfo import ZoneInfo

    name = binding.job.name
    job = house.book.jobs.get(name)
    if binding.reason is not None:
        return name, f"unavailable: {binding.reason}"
    if job is None:
        return name, f'planned on node "{binding.job.nodes}"'
    if not house.book.effectively_enabled(name, now):
        return name, "disabled"
    instant = job.table.next_after(now)
    if instant is None:
        return name, "never fires"
    local = instant.astimezone(ZoneInfo(binding.job.timezone))
    return name, f"{local:%Y-%m-%d %H:%M:%S} {binding.job.timezone}   {job.table.expression.describe()}"
