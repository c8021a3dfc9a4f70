"""`pip check` on the environment that `jobplane.python` names: packages that do not fit each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIMIT_S = 60.0
_NO_PIP = "No module named pip"


def misfits(python: Path) -> list[str]:
    """What pip says is broken there, a line each. Where it has no pip of its own, ours looks."""
    done = _pip(python, "check")
    if done is not None and _NO_PIP in done.stderr:
        done = _pip(Path(sys.executable), "--python", str(python), "check")
    if done is None or (done.returncode and not done.stdout.strip()):
        why = "it did not end" if done is None else (done.stderr.strip().splitlines() or ["no word why"])[-1]
        return [f"`pip check` cannot be run there: {why}"]
    return done.stdout.strip().splitlines() if done.returncode else []


def _pip(python: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    command = [str(python), "-P", "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return None
