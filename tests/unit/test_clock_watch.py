"""ClockWatch and the engine's trigger: what a stepped, suspended or stalled clock makes of instants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from scheduler_daemon.clock import TEST_VARIABLE, Clock
from scheduler_daemon.cron import CronExpression
from scheduler_daemon.engine import ClockWatch, Engine, watch
from scheduler_daemon.engine.timer import LEAD, _HandOver, _Trigger
from scheduler_daemon.model import DstPolicy
from scheduler_daemon.runner.planning import Timetable

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Hands(Clock):
    """A clock that is set by hand, and the monotonic one beside it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.wall, self.monotonic = NOON, 1000.0
        patch.setattr(watch.time, "monotonic", lambda: self.monotonic)

    def now(self) -> datetime:
        return self.wall

    def passes(self, seconds: float, *, wall: float | None = None) -> None:
        self.monotonic += seconds
        self.wall += timedelta(seconds=seconds if wall is None else wall)


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


async def gaps_of(hands: Hands, *passed: tuple[float, float]) -> list[datetime]:
    found: list[datetime] = []
    observer = ClockWatch(hands, found.append)
    await observer.start()
    for seconds, wall in passed:
        hands.passes(seconds, wall=wall)
        observer.check()
    await observer.stop()
    return found


@pytest.mark.parametrize(
    ("seconds", "wall", "gap"),
    [
        (1.0, 1.0, False),
        (1.0, 2.9, False),
        (6.0, 6.0, True),  # the process was stopped, or the loop stalled
        (1.0, 28800.0, True),  # the machine slept: the monotonic clock stood still
        (1.0, -3600.0, False),  # a step backwards is no time in which nothing ran
    ],
)
async def test_a_gap_is_told_once_with_its_beginning(
    patch: pytest.MonkeyPatch, seconds: float, wall: float, gap: bool
) -> None:
    found = await gaps_of(Hands(patch), (1.0, 1.0), (seconds, wall), (0.5, 0.5))
    assert found == ([NOON + timedelta(seconds=1)] if gap else [])


async def test_before_the_start_and_after_the_stop_nothing_is_told(patch: pytest.MonkeyPatch) -> None:
    hands, found = Hands(patch), []
    observer = ClockWatch(hands, found.append)
    hands.passes(100)
    observer.check()
    await observer.stop()
    assert found == []


def test_the_test_clock_is_read_from_its_file_and_a_bad_one_is_no_offset(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clock"
    patch.setenv(TEST_VARIABLE, str(file))
    clock = Clock()
    assert clock.offset() == timedelta(0)
    file.write_text("90.5")
    assert clock.offset() == timedelta(seconds=90.5)
    file.write_text("soon")
    assert clock.offset() == timedelta(0)
    patch.delenv(TEST_VARIABLE)
    assert Clock().offset() == timedelta(0)


def every(schedule: str) -> Timetable:
    return Timetable(
        expression=CronExpression.parse_schedule(schedule), zone=ZoneInfo("UTC"), dst=DstPolicy()
    )


def test_the_trigger_never_returns_an_instant_of_the_past(patch: pytest.MonkeyPatch) -> None:
    """Else APScheduler would enumerate 28,801 instants of one every-second job after eight hours asleep."""
    trigger = _Trigger(every("* * * * * *"), Hands(patch))
    late = NOON + timedelta(hours=8)
    assert trigger.get_next_fire_time(NOON, late) == late + SECOND - LEAD
    assert _Trigger(every("0 0 0 31 2 *"), Hands(patch)).get_next_fire_time(None, NOON) is None


def test_the_wheel_turns_early_and_neither_repeats_nor_leaves_out_an_instant(
    patch: pytest.MonkeyPatch,
) -> None:
    trigger = _Trigger(every("* * * * * *"), Hands(patch))
    noon = NOON - LEAD  # when the wheel turns for it
    for turned in (noon, NOON - timedelta(microseconds=1), NOON, NOON + timedelta(milliseconds=990)):
        assert trigger.get_next_fire_time(noon, turned) == noon + SECOND
    assert trigger.get_next_fire_time(noon, NOON + SECOND) == noon + 2 * SECOND


def test_a_new_plan_does_not_leave_out_an_instant_that_is_about_to_come(patch: pytest.MonkeyPatch) -> None:
    trigger = _Trigger(every("* * * * * *"), Hands(patch))
    just_before = NOON - LEAD / 2
    assert trigger.get_next_fire_time(None, just_before) == NOON - LEAD


def test_after_a_step_back_the_trigger_goes_by_the_clock_not_by_what_it_said(
    patch: pytest.MonkeyPatch,
) -> None:
    trigger = _Trigger(every("* * * * * *"), Hands(patch))
    before_the_step = NOON + timedelta(hours=1) - LEAD
    assert trigger.get_next_fire_time(before_the_step, NOON) == NOON + SECOND - LEAD


async def test_nobody_is_due_before_the_instant() -> None:
    heard: asyncio.Future[datetime] = asyncio.get_running_loop().create_future()
    instant = datetime.now(UTC) + timedelta(milliseconds=20)
    hand_over = _HandOver(lambda names: heard.set_result(datetime.now(UTC)))
    hand_over.submit_job(SimpleNamespace(args=[("a",)]), [instant - LEAD])
    assert not heard.done()
    assert await heard >= instant


async def test_the_engine_says_who_is_due_and_a_new_plan_replaces_the_old() -> None:
    told: list[str] = []
    heard = asyncio.Event()

    def due(names: tuple[str, ...]) -> None:
        told.extend(names)
        heard.set()

    engine = Engine(Clock(), due)
    engine.set_plan({every("0 0 0 1 1 *"): ["never"]})
    await engine.start()
    engine.set_plan({every("* * * * * *"): ["a", "b"], every("0 0 0 1 1 *"): ["never"]})
    await asyncio.wait_for(heard.wait(), 10)
    await engine.stop()
    await engine.stop()
    assert set(told) == {"a", "b"}
