"""`simulate`: what would become of every instant, under this configuration and these mishaps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from scheduler_daemon.config import load
from scheduler_daemon.errors import ConfigurationError
from scheduler_daemon.extension import Extension, JobContext
from scheduler_daemon.runner.book import timetable
from scheduler_daemon.testing import Cue, Outage, Play, Simulation, simulate

SPEC = Path(__file__).parents[1] / "data" / "spec-scheduler.yaml"
MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
Configure = Callable[..., Path]


def at(hour: float, day: datetime = MONDAY) -> datetime:
    return day + timedelta(hours=hour)


def job(schedule: str, name: str = "job", **more: Any) -> dict[str, Any]:
    return {"name": name, "extension": "x", "job": "j", "schedule": schedule, "enabled": True, **more}


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def write(*jobs: dict[str, Any], **more: Any) -> Path:
        scheduler = {"jobs": list(jobs), **more.pop("scheduler", {})}
        file = tmp_path / "config.yaml"
        file.write_text(json.dumps({"scheduler": scheduler, **more}))
        return file

    return write


def test_a_year_of_the_specification_s_example_takes_seconds() -> None:
    began = time.process_time()
    year = simulate(SPEC, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert time.process_time() - began < 60

    assert {name: year.tally(name) for name in ("publish_pipeline", "database_cleanup")} == {
        "publish_pipeline": {"succeeded": 365 * 96},
        "database_cleanup": {"succeeded": 365},
    }
    assert year.count("daily_traffic_report") == 730
    assert year.count() == 365 * (2 * 96 + 2 * 24 + 5)
    assert all(one.lateness == timedelta(0) for one in year.dispositions)


def test_the_night_that_the_daemon_was_down_is_caught_up_once() -> None:
    night = Outage(start=at(2.5), end=at(5))
    day = simulate(SPEC, MONDAY, MONDAY + DAY, outages=[night])

    (cleanup,) = day.of("database_cleanup")
    assert (cleanup.kind, cleanup.status) == ("catch_up", "succeeded")
    assert (cleanup.scheduled_for, cleanup.started_at) == (at(4), at(5))
    assert cleanup.lateness == timedelta(hours=1)
    assert day.tally("publish_pipeline") == {"succeeded": 87, "missed daemon_down": 9}
    (missed,) = day.of("publish_pipeline", status="missed")
    assert (missed.scheduled_for, missed.last, missed.count) == (at(2.75), at(4.75), 9)


@pytest.mark.parametrize("reason", ["daemon_down", "database_down", "suspended"])
def test_the_rules_for_misfires_hold_whatever_the_cause(configure: Configure, reason: Any) -> None:
    config = configure(
        job("0 0 * * * *", "latest"),
        job("0 0 * * * *", "skip", misfire="skip"),
        job("0 0 * * * *", "all", misfire="all", overlap="allow"),
        job("0 0 * * * *", "narrow", misfire_window="10m"),
    )
    outage = Outage(start=at(3.25), end=at(7.5), reason=reason)

    day = simulate(config, MONDAY, MONDAY + DAY, outages=[outage])

    missed = f"missed {reason}"
    assert day.tally("latest") == {"succeeded": 21, missed: 3}
    assert day.tally("skip") == {"succeeded": 20, missed: 4}
    assert day.tally("all") == {"succeeded": 24}
    assert day.count("all", kind="catch_up") == 4
    assert day.tally("narrow") == {"succeeded": 20, missed: 4}


@pytest.mark.parametrize(
    ("reason", "first"),
    [
        ("daemon_down", ("lost", "daemon_died", at(5))),
        ("database_down", ("succeeded", None, at(3.5))),
        ("suspended", ("succeeded", None, at(5.5))),
    ],
)
def test_what_runs_when_an_outage_begins_ends_as_it_would(
    configure: Configure, reason: Any, first: tuple[str, str | None, datetime]
) -> None:
    config = configure(job("0 0 3 * * *"))
    outage = Outage(start=at(3.25), end=at(5.25) if reason == "suspended" else at(5), reason=reason)

    day = simulate(
        config, MONDAY, MONDAY + DAY, outages=[outage], plays={"job": Play(takes=timedelta(minutes=30))}
    )

    (run,) = day.dispositions
    assert (run.status, run.reason, run.finished_at) == first
    assert run.started_at == at(3)


def test_a_lost_run_is_run_again_if_its_job_wants_that(configure: Configure) -> None:
    config = configure(job("0 0 3 * * *", on_lost="rerun"))
    outage = Outage(start=at(3.25), end=at(5))
    plays = {"job": Play(takes=timedelta(minutes=30))}

    day = simulate(config, MONDAY, MONDAY + DAY, outages=[outage], plays=plays)

    assert [(one.kind, one.status, one.finished_at) for one in day.dispositions] == [
        ("cron", "lost", at(5)),
        ("retry", "succeeded", at(5.5)),
    ]


@pytest.mark.parametrize(
    ("overlap", "tally"),
    [
        ("skip", {"succeeded": 12, "skipped overlap": 12}),
        ("queue", {"succeeded": 15, "running": 1, "queued": 1, "skipped overlap": 7}),
        ("allow", {"succeeded": 23, "running": 1}),
        ("cancel_previous", {"cancelled cancelled": 23, "running": 1}),
    ],
)
def test_runs_longer_than_their_interval_meet_the_overlap_rule(
    configure: Configure, overlap: str, tally: dict[str, int]
) -> None:
    config = configure(job("0 0 * * * *", overlap=overlap))

    day = simulate(config, MONDAY, MONDAY + DAY, plays={"job": Play(takes=timedelta(minutes=90))})

    assert day.tally() == tally


def test_jobs_with_one_concurrency_key_never_meet(configure: Configure) -> None:
    config = configure(
        job("0 0 * * * *", "one", concurrency="disk", overlap="queue"),
        job("0 0 * * * *", "two", concurrency="disk", overlap="queue"),
    )
    play = Play(takes=timedelta(minutes=20))

    day = simulate(config, MONDAY, MONDAY + DAY, plays={"one": play, "two": play})

    runs = sorted(day.dispositions, key=lambda run: run.started_at or MONDAY)
    assert day.tally() == {"succeeded": 48}
    assert all(a.finished_at <= b.started_at for a, b in pairwise(runs))  # type: ignore[operator]  # all ended


def test_a_failed_run_is_tried_again_with_doubled_delays(configure: Configure) -> None:
    config = configure(job("0 0 12 * * *", retries=3, retry_delay="10m"))

    def third_time_lucky(cue: Cue) -> Play:
        return Play(ends="succeeded" if cue.attempt == 3 else "failed", takes=timedelta(minutes=1))

    day = simulate(config, MONDAY, MONDAY + DAY, plays={"job": third_time_lucky})

    assert [(one.kind, one.attempt, one.status, one.started_at) for one in day.dispositions] == [
        ("cron", 1, "failed", at(12)),
        ("retry", 2, "failed", at(12) + timedelta(minutes=11)),
        ("retry", 3, "succeeded", at(12) + timedelta(minutes=32)),
    ]


def test_a_timeout_ends_a_run(configure: Configure) -> None:
    config = configure(job("0 0 12 * * *", timeout="5m"))
    (run,) = simulate(
        config, MONDAY, MONDAY + DAY, plays={"job": Play(takes=timedelta(hours=3))}
    ).dispositions
    assert (run.status, run.reason, run.finished_at) == (
        "timed_out",
        "timeout",
        at(12) + timedelta(minutes=5),
    )


def test_a_worker_that_is_not_free_makes_runs_late(configure: Configure) -> None:
    config = configure(*(job("0 0 12 * * *", f"job{n}") for n in range(3)), workers={"min": 1, "max": 1})
    play = Play(takes=timedelta(minutes=7))

    day = simulate(config, MONDAY, MONDAY + DAY, plays={f"job{n}": play for n in range(3)})

    assert [one.lateness for one in day.dispositions] == [timedelta(minutes=7 * n) for n in range(3)]


def test_more_than_the_pool_takes_waits_in_the_ledger_and_still_runs(configure: Configure) -> None:
    config = configure(*(job("0 0 12 * * *", f"job{n}") for n in range(300)), workers={"min": 1, "max": 1})

    day = simulate(config, MONDAY, MONDAY + DAY)

    assert day.tally() == {"succeeded": 300}


def test_clocks_change_and_a_nightly_job_runs_every_night(configure: Configure) -> None:
    config = configure(
        job("0 30 2 * * *", "nightly", timezone="America/New_York"),
        job("0 30 2 * * *", "strict", timezone="America/New_York", dst={"gap": "skip"}),
    )

    year = simulate(config, datetime(2026, 1, 1, 5, tzinfo=UTC), datetime(2027, 1, 1, 5, tzinfo=UTC))

    assert year.tally("nightly") == {"succeeded": 365}
    assert year.tally("strict") == {"succeeded": 364, "skipped dst_gap": 1}


def test_what_is_switched_off_is_one_row(configure: Configure) -> None:
    config = configure(job("* * * * * *", enabled=False))
    day = simulate(config, MONDAY, MONDAY + timedelta(minutes=10))
    assert [(one.status, one.reason, one.count) for one in day.dispositions] == [("skipped", "disabled", 600)]

    config = configure(job("0 * * * * *"), scheduler={"enabled": False})
    assert simulate(config, MONDAY, MONDAY + DAY).tally() == {"skipped disabled": 1440}


class Wish(BaseModel, extra="forbid"):
    times: int = 1


def an_extension() -> Extension:
    extension = Extension("x")

    @extension.job(name="j", schedule="@daily", run_on_startup=True, parameters=Wish)
    def j(ctx: JobContext) -> None:
        raise AssertionError("no job runs in a simulation")

    return extension


def test_startup_jobs_run_at_each_start(configure: Configure) -> None:
    config = configure(job("0 0 12 * * *"), job("@daily", "gone", extension="y"))
    outage = Outage(start=at(3), end=at(4))

    day = simulate(config, MONDAY, MONDAY + DAY, outages=[outage], extensions=[an_extension()])

    assert [(one.kind, one.started_at) for one in day.of("job")] == [
        ("startup", at(0)),
        ("startup", at(4)),
        ("cron", at(12)),
    ]
    assert day.tally("gone") == {"skipped unavailable": 1}


def test_a_configuration_that_no_daemon_would_start_with_is_refused(configure: Configure) -> None:
    with pytest.raises(ConfigurationError, match="five fields"):
        simulate(configure(job("0 4 * * *")), MONDAY, MONDAY + DAY)

    config = configure(job("@daily", parameters={"tmies": 2}))
    with pytest.raises(ConfigurationError, match=r"config.yaml:1:\d+: parameters.tmies: extra inputs"):
        simulate(config, MONDAY, MONDAY + DAY, extensions=[an_extension()])


def test_times_that_do_not_fit_are_refused(configure: Configure) -> None:
    config = configure()
    with pytest.raises(ValueError, match="2026-06-01 00:00:00 has no time zone"):
        simulate(config, MONDAY.replace(tzinfo=None), MONDAY + DAY)
    for outages in (
        [Outage(start=at(5), end=at(4))],
        [Outage(start=at(3), end=at(6)), Outage(start=at(5), end=at(7))],
        [Outage(start=at(-1), end=at(1))],
    ):
        with pytest.raises(ValueError, match="outages must follow each other"):
            simulate(config, MONDAY, MONDAY + DAY, outages=outages)


def test_an_outage_that_lasts_leaves_what_it_hides_undecided(configure: Configure) -> None:
    config = configure(job("0 0 * * * *"))
    outage = Outage(start=at(12.5), end=MONDAY + DAY)
    assert simulate(config, MONDAY, MONDAY + DAY, outages=[outage]).tally() == {"succeeded": 13}


async def test_inside_an_event_loop_it_says_what_to_do(configure: Configure) -> None:
    with pytest.raises(RuntimeError, match="needs a plain test function"):
        simulate(configure(), MONDAY, MONDAY + DAY)


SCHEDULES = ("0 */7 * * * *", "30 0 * * * *", "0 0 2,3 * * *", "0 15 1 * * *", "*/20 59 * * * *")
MINUTES = st.integers(min_value=0, max_value=35 * 60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    schedules=st.lists(st.sampled_from(SCHEDULES), min_size=1, max_size=3),
    rules=st.tuples(
        st.sampled_from(["skip", "queue", "allow", "cancel_previous"]),
        st.sampled_from(["latest", "skip", "all"]),
        st.sampled_from(["daemon_down", "database_down", "suspended"]),
    ),
    edges=st.lists(MINUTES, min_size=0, max_size=6, unique=True),
    takes=st.integers(min_value=0, max_value=200),
)
def test_every_instant_has_exactly_one_disposition(
    configure: Configure, schedules: list[str], rules: tuple[str, str, Any], edges: list[int], takes: int
) -> None:
    overlap, misfire, reason = rules
    jobs = [job(text, f"job{n}", overlap=overlap, misfire=misfire) for n, text in enumerate(schedules)]
    config = configure(*jobs, timezone="Europe/Berlin", workers={"min": 1, "max": 2})
    start, end = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)
    moments = [start + timedelta(minutes=minute) for minute in sorted(edges)]
    outages = [
        Outage(start=a, end=b, reason=reason) for a, b in zip(moments[::2], moments[1::2], strict=False)
    ]
    play = Play(takes=timedelta(minutes=takes))

    found = simulate(config, start, end, outages=outages, plays={f"job{n}": play for n in range(3)})

    for spec in load(config).settings.jobs:
        assert_accounted(found, spec, start, end)


def assert_accounted(found: Simulation, spec: Any, start: datetime, end: datetime) -> None:
    table, second = timetable(spec), timedelta(seconds=1)
    planned = list(table.between(start - second, end - second))
    told: list[datetime] = []
    for one in found.of(spec.name):
        if one.scheduled_for is not None and one.last is not None:
            told += table.between(one.scheduled_for - second, one.last)
    assert sorted(told) == planned
    assert sum(one.count for one in found.of(spec.name) if one.scheduled_for is not None) == len(planned)
