"""When nothing could run, and how far back an outage reaches."""

from __future__ import annotations

from datetime import timedelta

from scheduler_daemon.clock import Clock
from scheduler_daemon.runner.planning import Outage
from scheduler_daemon.runner.readiness import BEGINNING, Readiness

SECOND = timedelta(seconds=1)


def test_an_outage_reaches_back_to_what_was_last_settled() -> None:
    """A claim may wait for its answer for a minute before the database counts as away."""
    readiness = Readiness(Clock())
    told: list[Outage] = []
    readiness.on_end = told.append
    settled = readiness.settled = Clock().now() - 60 * SECOND
    away = Clock().now()
    readiness.hold_for("database_down", "away", since=away)
    (held,) = readiness.account(away + SECOND).outages
    assert (held.start, held.end) == (settled, away + SECOND)
    readiness.release("database_down")
    assert readiness.outages[-1].start == settled
    assert told[-1].start == away


def test_only_what_a_copy_missed_is_final() -> None:
    readiness = Readiness(Clock())
    readiness.hold_for("restored", "not accepted", since=BEGINNING)
    readiness.hold_for("clock_skew", "off")
    assert {o.reason: o.final for o in readiness.account(Clock().now()).outages} == {
        "restored": True,
        "clock_skew": False,
    }
