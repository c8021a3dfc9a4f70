"""What docs/cron.md shows is what the engine says."""

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from scheduler_daemon.cron import CronError, CronExpression, lint
from scheduler_daemon.model import DstPolicy

PAGE = (Path(__file__).parents[2] / "docs" / "cron.md").read_text(encoding="utf-8")


def table(heading: str) -> list[tuple[str, ...]]:
    """The rows below the table head `heading`, without marks of code."""
    _, body = PAGE.split(f"{heading}\n", 1)
    rows = []
    for line in body.splitlines()[1:]:
        if not line.startswith("|"):
            break
        rows.append(tuple(cell.strip().strip("`") for cell in line.strip("|").split("|")))
    return rows


def test_every_schedule_of_the_first_table_reads_as_it_says() -> None:
    rows = table("| schedule | in English |")
    assert len(rows) > 10
    assert [(text, CronExpression.parse_schedule(text).describe()) for text, _ in rows] == rows


def test_every_mistake_gets_the_answer_that_is_shown() -> None:
    rows = table("| you wrote | the answer |")
    assert len(rows) > 3
    for text, answer in rows:
        with pytest.raises(CronError, match=f"^{re.escape(answer)}$"):
            CronExpression.parse_schedule(text)


def test_the_two_days_in_new_york() -> None:
    zone = ZoneInfo("America/New_York")

    def shown(text: str, day: int, month: int) -> list[str]:
        start, end = datetime(2026, month, day, tzinfo=zone), datetime(2026, month, day + 1, tzinfo=zone)
        found = CronExpression.parse(text).between(start.astimezone(UTC), end.astimezone(UTC), zone)
        return [instant.astimezone(zone).strftime("%H:%M %Z") for instant in found]

    for text, spring, autumn in table("| schedule | 8 March | 1 November |"):
        for cell, found in ((spring, shown(text, 8, 3)), (autumn, shown(text, 1, 11))):
            if times := re.search(r"(\d+) times", cell):
                assert len(found) == int(times[1])
            else:
                *listed, zone_name = re.split(r",? ", cell.split(", once")[0].split(", not")[0])
                assert found == [f"{time} {zone_name}" for time in listed]


def test_the_warning_that_is_shown() -> None:
    expression = CronExpression.parse("0 30 2 * * *")
    now = datetime(2026, 11, 22, tzinfo=UTC)
    (warning,) = lint(expression, ZoneInfo("America/New_York"), DstPolicy(), now)
    assert f"\n{warning}\n" in PAGE
