"""The guide's page on maintenance says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from scheduler_core import extension

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "maintenance.md").read_text()
README = (Path(__file__).parents[1] / "README.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (\S*) \| (\w*) \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)


def parameters() -> list[tuple[str, str, dict[str, Any]]]:
    """(job, parameter, its JSON schema)"""
    found = []
    for job in extension.jobs:
        model: Any = job.parameters
        found += [(job.name, name, told) for name, told in model.model_json_schema()["properties"].items()]
    return found


def written(default: Any) -> str:
    if default is None or isinstance(default, bool):
        return {True: "true", False: "false", None: "null"}[default]
    return f"{default:,}"


@pytest.mark.parametrize(
    ("job", "name", "described"), parameters(), ids=lambda part: part if isinstance(part, str) else ""
)
def test_every_parameter_is_in_the_table(job: str, name: str, described: dict[str, Any]) -> None:
    row = (written(described["default"]), described.get("unit", ""), described["description"])
    told = [
        (default, unit, meaning)
        for parameter, default, unit, jobs, meaning in ROWS
        if parameter == name and (jobs == "all" or f"`{job}`" in jobs)
    ]
    assert told == [row]


@pytest.mark.parametrize("text", [PAGE, README], ids=["guide", "readme"])
def test_every_job_is_named(text: str) -> None:
    assert [job.name for job in extension.jobs if f"`{job.name}`" not in text] == []


def test_the_schedules_are_those_of_the_specification() -> None:
    assert {job.name: job.schedule for job in extension.jobs} == {
        "cleanup_anonymous_users": "0 0 3 * * *",
        "cleanup_empty_contexts": "0 0 * * * *",
        "cleanup_inactive_sessions": "0 0 * * * *",
        "database_cleanup": "0 0 4 * * *",
        "log_cleanup": "0 30 4 * * *",
    }
