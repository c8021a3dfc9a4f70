"""docs/writing-a-job.md shows the example as it is, and the limits as they are."""

from __future__ import annotations

import re
from pathlib import Path

from scheduler_daemon.jobplane.context import STEP_LIMIT
from scheduler_daemon.jobplane.journal import LINES_PER_RUN
from scheduler_daemon.jobplane.text import LINE_LIMIT, MESSAGE_LIMIT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing-a-job.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_listing_is_the_example() -> None:
    source = (ROOT / "extensions/example/scheduler_example/__init__.py").read_text()

    assert source.endswith(BLOCKS[0])


def test_the_limits_are_those_of_the_code() -> None:
    for number in (LINES_PER_RUN, LINE_LIMIT, MESSAGE_LIMIT, STEP_LIMIT):
        assert f"{number:,}" in PAGE
