"""The pages on the command line and the control API name what is there, and nothing else."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from scheduler_daemon import errors
from scheduler_daemon.cli.main import main as systemprompt
from scheduler_daemon.control import app, protocol
from scheduler_daemon.control.door import MAX_CONNECTIONS, MAX_PER_UID
from scheduler_daemon.control.routes import routes

DOCS = Path(__file__).parents[2] / "docs"
API, CLI = (DOCS / "control-api.md").read_text(), (DOCS / "cli.md").read_text()


class Anything:
    """Stands where the routes only keep a reference."""

    def __getattr__(self, name: str) -> Any:
        return self


def test_every_route_is_documented_and_every_documented_route_exists() -> None:
    documented = set(re.findall(r"^\| `(GET|POST) ([^ `]+)` \|", API, re.MULTILINE))
    operations: Any = Anything()
    assert {(one.method, one.path) for one in routes(operations)} == documented


def test_every_code_of_a_refusal_is_documented_with_its_status() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \| (\d{3})[, \d]* \|", API, re.MULTILINE)
    documented = {code: int(status) for code, status in listed}
    own = [errors.RequestError, *errors.RequestError.__subclasses__()]
    for error in own:
        assert documented[error.code] == error.status, error
    assert set(app._CODES.values()) <= set(documented)


def test_the_limits_are_those_of_the_code() -> None:
    limits = API.partition("## Limits")[2]
    assert f"{protocol.REQUEST_DEADLINE_S:.0f} seconds" in limits
    assert f"{protocol.MAX_HEAD_BYTES // 1024} KiB and {protocol.MAX_HEAD_LINES} lines" in limits
    assert f"{MAX_CONNECTIONS} connections, and {MAX_PER_UID} of one user" in limits


COMMANDS = sorted(set(re.findall(r"^(systemprompt .+)$", CLI + API, re.MULTILINE)))


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_is_one_that_the_cli_takes(line: str) -> None:
    """Parsed, not run."""
    words = shlex.split(line)[1:]
    command: click.Command = systemprompt
    context = click.Context(command)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
        context = click.Context(command, parent=context)
    command.make_context(line, words)
