"""Where the configuration is, for the commands that need no running daemon."""

from __future__ import annotations

import os
from pathlib import Path

import click

CONFIG_PLACES = (
    "config/config.yaml",
    "services/scheduler/config.yaml",
    "/etc/scheduler-daemon/config.yaml",
)


def find_config(given: str | None) -> Path:
    """The option, then $SCHEDULER_DAEMON_CONFIG, then the usual places."""
    named = given or os.environ.get("SCHEDULER_DAEMON_CONFIG")
    if named:
        return Path(named)
    for place in CONFIG_PLACES:
        if Path(place).exists():
            return Path(place)
    tried = ", ".join(CONFIG_PLACES)
    raise click.UsageError(f"no configuration found (tried {tried}); name one with --config")


config_option = click.option(
    "--config", "config", metavar="FILE", help="The configuration file [default: config/config.yaml]."
)
