"""Every command explains itself; none costs more to import than it must."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from scheduler_daemon.cli.command import Command
from scheduler_daemon.cli.main import main


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = list(leaves(main))


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_every_command_has_an_example_and_json(path: tuple[str, ...], command: click.Command) -> None:
    assert isinstance(command, Command)
    done = CliRunner().invoke(main, [*path, "--help"])
    assert done.exit_code == 0
    shown = " ".join(path).removeprefix("infra ") if "site" in path else " ".join(path)
    assert re.search(rf"Examples?:\n +systemprompt {shown}\b", done.output), done.output
    assert "--json" in done.output
    assert max(map(len, done.output.splitlines())) <= 80
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name  # type: ignore[attr-defined]


def test_the_tree_holds_the_commands_of_the_specification() -> None:
    jobs = {path[2] for path, _ in LEAVES if path[:2] == ("infra", "jobs")}
    assert jobs >= {
        "list", "show", "run", "history", "enable", "disable", "cleanup-sessions", "log-cleanup",
        "cancel", "next", "timeline", "why", "audit",
    }  # fmt: skip
    assert {path[2] for path, _ in LEAVES if path[:2] == ("infra", "logs")} == {
        "view",
        "follow",
        "search",
        "export",
    }


@pytest.mark.parametrize(
    "heavy", ["pydantic", "fastapi", "uvicorn", "psycopg", "rich", "yaml", "asyncio", "structlog"]
)
def test_the_way_of_a_list_imports_nothing_heavy(heavy: str) -> None:
    code = (
        "import sys; from scheduler_daemon.cli import jobs, main; "
        "from scheduler_daemon.control import client; "
        f"sys.exit({heavy!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_of_the_whole_imports_no_command() -> None:
    code = (
        "import sys; from scheduler_daemon.cli.main import main; main(['--help'], standalone_mode=False); "
        "sys.exit(any(name in sys.modules for name in "
        "('scheduler_daemon.cli.jobs', 'http.client', 'scheduler_daemon.control.client')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_a_command_that_is_mistyped_is_answered_with_the_nearest() -> None:
    done = CliRunner().invoke(main, ["infra", "jobs", "histroy"])
    assert done.exit_code == 2
    assert "Did you mean history?" in done.output
