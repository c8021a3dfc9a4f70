"""How many runs a worker may be given, by how long the last ones took."""

from __future__ import annotations

import pytest

from scheduler_daemon.runner.pace import LONGEST_LINE, SHORTEST_LINE, Pace


def after(seconds: float, *, runs: int = 5_000, processors: int = 2) -> Pace:
    pace = Pace(processors)
    for _ in range(runs):
        pace.took(seconds)
    return pace


@pytest.mark.parametrize(
    ("seconds", "line"), [(0.0, LONGEST_LINE), (0.0001, LONGEST_LINE), (0.001, 250), (30.0, SHORTEST_LINE)]
)
def test_the_shorter_runs_are_the_more_wait_with_a_worker(seconds: float, line: int) -> None:
    assert after(seconds).line == pytest.approx(line, abs=1)


def test_one_slow_run_among_quick_ones_changes_little() -> None:
    pace = after(0.0001)
    pace.took(0.2)
    assert pace.line > SHORTEST_LINE


def test_long_runs_are_divided_evenly() -> None:
    pace = after(1.0)
    assert [pace.share(waiting, 8) for waiting in (1, 8, 9, 100)] == [1, 1, 2, 13]


def test_short_runs_keep_each_processor_busy_and_wake_no_more_workers_than_that() -> None:
    pace = after(0.0001)
    assert pace.share(8, 8) == 1  # there is one for each
    assert pace.share(100, 8) == 50  # two processors: two workers
    assert pace.share(1_000, 8) == 125  # more than a spell of work: everybody
    assert after(0.0001, processors=16).share(100, 8) == 13


def test_nothing_is_known_before_the_first_run() -> None:
    pace = Pace(2)
    assert pace.line == SHORTEST_LINE
    assert pace.share(16, 8) == 2
