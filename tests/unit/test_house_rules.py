"""Rules of the house that no linter checks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENSION_CODE = sorted(ROOT.glob("extensions/*/scheduler_*/**/*.py"))


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("file", EXTENSION_CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_an_extension_imports_nothing_of_ours_but_the_contract(file: Path) -> None:
    ours = {name for name in imported(file) if name.split(".")[0] == "scheduler_daemon"}
    assert ours <= {"scheduler_daemon.extension"}


def test_the_lock_file_names_no_registry() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--hash=sha256:" in text
