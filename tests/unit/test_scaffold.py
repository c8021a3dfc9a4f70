"""`scheduler-daemon new-extension`: what it writes, what it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from scheduler_daemon.cli.scaffold import LONGEST, Names, ScaffoldError, write_extension
from scheduler_daemon.config import load

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).parent / "scheduler-daemon"
LEFT_BY_TOOLS = re.compile(r"__pycache__|\.egg-info|^build/|_cache/")


def files(folder: Path) -> dict[str, bytes]:
    found = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    return {name: content for name, content in found.items() if not LEFT_BY_TOOLS.search(name)}


def new_extension(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "new-extension", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_the_example_is_exactly_what_it_writes(tmp_path: Path) -> None:
    write_extension("example", tmp_path)

    assert files(tmp_path / "example") == files(ROOT / "extensions" / "example")


def test_it_passes_its_own_tests_untouched(tmp_path: Path) -> None:
    done = new_extension("my-2nd_extension", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    tested = subprocess.run(
        command,
        cwd=tmp_path / "my-2nd_extension",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "3 passed" in tested.stdout


def test_its_names_fit_each_other(tmp_path: Path) -> None:
    names = write_extension("my-2nd_extension", tmp_path)
    project = tomllib.loads((tmp_path / "my-2nd_extension" / "pyproject.toml").read_text())

    assert project["project"]["name"] == "scheduler-my-2nd-extension"
    assert project["project"]["entry-points"]["scheduler_daemon.extensions"] == {
        "my-2nd_extension": "scheduler_my_2nd_extension:extension"
    }
    assert (tmp_path / "my-2nd_extension" / names.module / "migrations").is_dir()
    assert names.job == "my_2nd_extension_hello"


def test_the_entry_that_it_shows_is_one(tmp_path: Path) -> None:
    shown = new_extension("mine", "--into", tmp_path / "deep" / "down", cwd=tmp_path).stdout
    entry = re.search(r"^     - name: .*?\n\n", shown, re.DOTALL | re.MULTILINE)
    assert entry
    config = tmp_path / "config.yaml"
    config.write_text("scheduler:\n  jobs:\n" + textwrap.indent(entry[0], "  "))

    assert [(job.name, job.extension, job.job) for job in load(config).settings.jobs] == [
        ("mine_hello", "mine", "mine_hello")
    ]
    assert f"install {tmp_path}/deep/down/mine" in shown


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("My Extension", "did you mean my_extension?"),
        ("reports!", "did you mean reports?"),
        ("7days", "did you mean days?"),
        ("-x", "did you mean x?"),
        ("ends_", "did you mean ends?"),
        ("a" * (LONGEST + 1), "did you mean " + "a" * LONGEST),
        ("../up", "did you mean up?"),
        ("", "at most 40"),
        ("größe", "did you mean gr_e?"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_the_nearest_that_can(
    tmp_path: Path, name: str, hint: str
) -> None:
    with pytest.raises(ScaffoldError, match=re.escape(hint)):
        write_extension(name, tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["daemon", "core", "web"])
def test_the_names_of_the_daemon_s_own_packages_are_taken(name: str) -> None:
    with pytest.raises(ScaffoldError, match=f"scheduler-{name} is a package of the daemon's own"):
        Names.of(name)


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("folder", "file", "link"):
        done = new_extension(name, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr == (
            f"Error: {name} is there already: choose another name, or another folder with --into\n"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ScaffoldError, match="cannot be written: Not a directory"):
        write_extension("mine", tmp_path / "file" / "below")
