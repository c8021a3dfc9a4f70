"""Synthetic traffic, as a person asks for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from scheduler_web import seed


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command; returns its exit status."""
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["seed", *arguments])
        try:
            return seed.main()
        except SystemExit as exit_:
            return int(str(exit_.code))

    return run


def test_fills_a_database_once(bare_world: Any, ask: Any, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ("--database", bare_world.url, "--events", "300", "--days", "3", "--contents", "5")
    assert ask(*plan) == 0
    told = capsys.readouterr().out
    (events,) = bare_world.rows("SELECT count(*) FROM engagement_events")[0]
    assert f" {events} events, 5 contents" in told
    assert bare_world.rows("SELECT count(*) FROM markdown_content WHERE updated_at > published_at") == [(0,)]
    assert ask(*plan) == 1
    assert "that traffic is there already: --seed 2 makes other" in capsys.readouterr().err
    assert ask(*plan, "--seed", "2") == 0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("--state-dir", "/nowhere"), 2, "no daemon keeps a database of its own in /nowhere"),
        (("--database", "nonsense"), 1, 'missing "=" after "nonsense"'),
        (("--days", "0"), 2, "'0' is not a number from 1 to 3,650"),
        (("--until", "yesterday"), 2, "'yesterday' is not a time such as"),
    ],
)
def test_says_what_is_wrong(
    ask: Any, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, told: str
) -> None:
    assert ask(*arguments) == status
    assert told in capsys.readouterr().err


def test_finds_the_server_of_a_daemon(tmp_path: Path) -> None:
    folder = tmp_path / "postgres/data"
    folder.mkdir(parents=True)
    (folder / "postmaster.pid").write_text(f"1\n{folder}\n1795868163\n5433\n/run/a b\n\n")
    assert seed.embedded(tmp_path) == "postgresql://scheduler_jobs@/scheduler?host=%2Frun%2Fa%20b&port=5433"
    assert seed.embedded(tmp_path / "postgres") is None
