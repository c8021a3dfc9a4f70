"""A short run of the chaos suite; `make chaos` is a long one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "suite.py"


@pytest.mark.timeout(600)
def test_kills_stops_cuts_and_clock_steps_leave_the_accounts_balanced() -> None:
    done = subprocess.run(
        [sys.executable, SUITE, "--seconds", "15", "--seed", "2026"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.match(r"0 unaccounted, 0 doubled, (\d+) lost of (\d+) killed ", done.stdout.splitlines()[-1])
    assert said is not None, done.stdout
    assert said[1] == said[2]
