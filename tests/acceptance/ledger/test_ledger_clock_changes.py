"""Daylight saving, as a daemon lives through it: New York's clock goes from 02:00 to 03:00 and back."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import Any

from .conftest import Daemon, Stage, job

SPRING = datetime(2027, 3, 14, 7, tzinfo=UTC)
AUTUMN = datetime(2027, 11, 7, 6, tzinfo=UTC)
"""06:00 UTC is 01:00 for the second time."""


def at(daemon: Daemon, moment: datetime, *jobs: dict[str, Any]) -> Daemon:
    """A daemon that is up shortly before the moment."""
    daemon.configure(*jobs, timezone="America/New_York")
    daemon.set_clock((moment - datetime.now(UTC)).total_seconds() - 60)
    daemon.start()
    daemon.set_clock((moment - datetime.now(UTC)).total_seconds() - 1.5)
    daemon.send(signal.SIGHUP)  # the timers that are set already count by the clock of before
    return daemon


def ran(stage: Stage, name: str) -> list[datetime]:
    rows = stage.rows("job = %(job)s AND planned AND started_at IS NOT NULL", job=name)
    return [row["scheduled_for"] for row in rows]


def test_in_the_gap_a_fixed_time_fires_right_after_it_or_leaves_a_row(stage: Stage) -> None:
    fixed = "0 10,20,30 2 * * *"
    daemon = at(
        stage.daemon(),
        SPRING,
        job("after", fixed, job="quick"),
        job("skip", fixed, job="quick", dst={"gap": "skip"}),
        job("elapsing", "0 */10 2 * * *", job="quick"),
        job("ticks", job="quick"),
    )
    stage.until(lambda: SPRING in ran(stage, "after"))
    assert daemon.program("systemprompt", "infra", "jobs", "audit").returncode == 0
    swallowed = stage.rows("job = 'skip' AND reason = 'dst_gap'")
    assert [row["scheduled_for"] for row in swallowed] == [SPRING] * 3
    assert "02:10:00 does not exist" in swallowed[0]["message"]
    stage.until(lambda: [moment for moment in ran(stage, "ticks") if moment > SPRING])
    assert ran(stage, "after") == [SPRING]
    assert ran(stage, "skip") == ran(stage, "elapsing") == []


def test_in_the_overlap_a_fixed_time_fires_as_its_policy_says(stage: Stage) -> None:
    fixed = "0 0 1 * * *"
    policies = ("first", "second", "both")
    at(
        stage.daemon(),
        AUTUMN,
        *(job(name, fixed, job="quick", dst={"overlap": name}) for name in policies),
        job("elapsing", "0 0 * * * *", job="quick"),
        job("ticks", job="quick"),
    )
    stage.until(lambda: AUTUMN in ran(stage, "second"))
    stage.until(lambda: AUTUMN in ran(stage, "both") and AUTUMN in ran(stage, "elapsing"))
    stage.until(lambda: [moment for moment in ran(stage, "ticks") if moment > AUTUMN])
    assert ran(stage, "first") == []
