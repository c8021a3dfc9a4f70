"""What is told, when, and how often. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_daemon.model import Outcome, RunStatus
from scheduler_daemon.notify.channels import discord_document
from scheduler_daemon.notify.notices import LINES, SENT, Notice, compose, from_json, to_json
from scheduler_daemon.notify.quiet import quiet_until
from scheduler_daemon.notify.sentinel import Memory, Sentinel
from scheduler_daemon.reporting import Event, NotificationSettings, QuietHours

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
SETTINGS = NotificationSettings()


def outcome(
    status: RunStatus = RunStatus.FAILED, *, items: int | None = None, error: str = "boom"
) -> Outcome:
    return Outcome(
        run_id="r1",
        status=status,
        finished_at=NOON,
        items_processed=items,
        error=None if status is RunStatus.SUCCEEDED else error,
    )


GOOD = outcome(RunStatus.SUCCEEDED)


class Watch:
    """A sentinel with its notices, in words."""

    def __init__(self, settings: NotificationSettings = SETTINGS, memory: Memory | None = None) -> None:
        self.told: list[Notice] = []
        self.sentinel = Sentinel(self.told.append, settings, memory)

    def said(self) -> list[str]:
        words = [f"{n.event.value} {n.subject}: {n.text}" for n in self.told]
        self.told.clear()
        return words


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_a_job_that_fails_is_told_once_and_again_when_it_is_well(watch: Watch) -> None:
    for minute in range(3):
        watch.sentinel.run_ended("publish", outcome(), NOON + 60 * minute)
    assert watch.said() == ["failed publish: failed: boom"]
    watch.sentinel.run_ended("publish", GOOD, NOON + 180)
    assert watch.said() == ["recovered publish: is well again after 3 min and 3 failed runs"]
    watch.sentinel.run_ended("publish", GOOD, NOON + 240)
    assert watch.said() == []


def test_what_goes_on_is_told_again_after_a_day(watch: Watch) -> None:
    for hour in range(25):
        watch.sentinel.run_ended("publish", outcome(), NOON + hour * HOUR)
    assert watch.said() == [
        "failed publish: failed: boom",
        "failed publish: still so, since 2026-05-01 12:00 UTC, 25 times: failed: boom",
    ]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (RunStatus.TIMED_OUT, "timed out: boom"),
        (RunStatus.LOST, "lost: boom"),
        (RunStatus.CANCELLED, None),
    ],
)
def test_each_bad_end_is_told_and_a_cancellation_is_none(
    watch: Watch, status: RunStatus, text: str | None
) -> None:
    watch.sentinel.run_ended("a", outcome(status), NOON)
    assert watch.said() == ([f"failed a: {text}"] if text else [])


def test_only_the_first_line_of_an_error_is_told(watch: Watch) -> None:
    watch.sentinel.run_ended("a", outcome(error="  first\nsecond"), NOON)
    assert watch.said() == ["failed a: failed: first"]


def test_a_late_start_is_told_once(watch: Watch) -> None:
    watch.sentinel.run_started("a", 299, NOON, "r1")
    watch.sentinel.run_started("a", 400, NOON, "r1")
    watch.sentinel.run_started("a", 4000, NOON, "r2")
    assert watch.said() == ["late a: started 6 min late"]


def test_missed_runs_are_told_with_their_cause(watch: Watch) -> None:
    watch.sentinel.missed("a", 1, "daemon_down", NOON)
    watch.sentinel.missed("b", 14, "database_down", NOON)
    watch.sentinel.missed("b", 1, "database_down", NOON + 1)
    assert watch.said() == [
        "missed a: a planned run was missed: no daemon was running",
        "missed b: 14 planned runs were missed: the database was away",
    ]


def test_missing_again_after_an_hour_is_news(watch: Watch) -> None:
    watch.sentinel.missed("a", 1, "overload", NOON)
    watch.sentinel.conditions({}, NOON + 2 * HOUR)
    watch.sentinel.missed("a", 1, "overload", NOON + 2 * HOUR)
    assert len(watch.said()) == 2


def test_conditions_are_told_when_they_begin_and_end(watch: Watch) -> None:
    away = {(Event.DATABASE, ""): "the database is away since 12:00"}
    for second in range(0, 600, 5):
        watch.sentinel.conditions(away, NOON + second)
    watch.sentinel.conditions({}, NOON + 600)
    assert watch.said() == [
        "database : the database is away since 12:00",
        "recovered : over after 10 min: the database is away since 12:00",
    ]


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([3, 1, 4, 1, 5, 0], True),
        ([3, 1, 4, 1, 0], False),
        ([0, 3, 1, 4, 1, 5, 9, 0], False),
        ([3, 1, 4, 1, 5, None], False),
        ([3, 1, 4, 1, 5, 0, 2, 0], True),
    ],
)
def test_an_empty_result_is_told_where_it_never_was(
    watch: Watch, items: list[int | None], told: bool
) -> None:
    for number, count in enumerate(items):
        watch.sentinel.run_ended("a", outcome(RunStatus.SUCCEEDED, items=count), NOON + number)
    expected = ["empty a: succeeded with nothing to show, which it never did in 5 runs"]
    assert watch.said() == (expected if told else [])


def test_nothing_is_told_that_nobody_wants(watch: Watch) -> None:
    watch.sentinel.settings = replace(SETTINGS, events=frozenset({Event.DATABASE}))
    watch.sentinel.run_ended("a", outcome(), NOON)
    watch.sentinel.conditions({(Event.DATABASE, ""): "away"}, NOON)
    watch.sentinel.conditions({}, NOON + 1)
    assert watch.said() == ["database : away"]


def test_memory_outlives_a_restart(watch: Watch) -> None:
    watch.sentinel.run_ended("a", outcome(), NOON)
    for number in range(5):
        watch.sentinel.run_ended("b", outcome(RunStatus.SUCCEEDED, items=9), NOON + number)
    again = Watch(memory=Memory.from_json(watch.sentinel.memory.to_json()))
    again.sentinel.run_ended("a", outcome(), NOON + 60)
    again.sentinel.run_ended("a", GOOD, NOON + 120)
    again.sentinel.run_ended("b", outcome(RunStatus.SUCCEEDED, items=0), NOON + 120)
    assert [words.split(":")[0] for words in again.said()] == ["recovered a", "empty b"]


def test_a_job_that_left_the_configuration_has_no_troubles(watch: Watch) -> None:
    watch.sentinel.run_ended("a", outcome(), NOON)
    watch.sentinel.conditions({(Event.DEGRADED, "extension x"): "gone"}, NOON)
    watch.sentinel.forget(frozenset({"b"}))
    assert list(watch.sentinel.memory.troubles) == [(Event.DEGRADED, "extension x")]


# --- messages ---


def notice(event: Event = Event.FAILED, subject: str = "a", text: str = "boom") -> Notice:
    return Notice(event=event, subject=subject, text=text, at=NOON)


def test_a_broken_database_is_one_line_and_not_fifty() -> None:
    refused = [notice(subject=f"job{n}", text=f"failed: connection {n} refused") for n in range(50)]
    message = compose([*refused, notice(Event.DATABASE, "", "the database is away")], node="n1", at=NOON)
    assert message.lines == (
        "the database is away",
        "50 jobs: failed: connection 0 refused (job0, job1, job2 and 47 more)",
    )
    assert message.title == "1 database, 50 failed"
    assert message.level == "bad"
    assert (len(message.notices), message.total) == (SENT, 51)


def test_one_notice_is_its_own_title() -> None:
    message = compose([notice(Event.RECOVERED, "a", "is well again")], node="n1", at=NOON)
    assert (message.title, message.level) == ("a: is well again", "good")
    assert discord_document(message)["embeds"][0]["description"] == ""


def test_what_could_not_be_kept_is_counted() -> None:
    message = compose([notice()], node="n1", at=NOON, left_out=7)
    assert message.lines[-1] == "7 notices before these were dropped"
    assert message.total == 8


def test_a_message_has_a_limit() -> None:
    message = compose([notice(text="x" * 400 + chr(97 + n)) for n in range(26)], node="n", at=NOON)
    assert len(message.lines) == LINES
    assert message.lines[-1] == "and 7 more"
    embed = discord_document(message)["embeds"][0]
    assert len(embed["description"]) <= 4096
    assert len(embed["title"]) <= 256


def test_discord_shows_text_as_it_is_and_mentions_nobody() -> None:
    document = discord_document(compose([notice(subject="a_b_c", text="@everyone **x**")], node="n", at=NOON))
    assert document["embeds"][0]["title"] == r"a\_b\_c: @everyone \*\*x\*\*"
    assert document["allowed_mentions"] == {"parse": []}


def test_messages_survive_the_disk() -> None:
    message = compose([notice(), notice(Event.DISK, "", "full")], node="n", at=NOON, left_out=1)
    assert from_json(to_json(message)) == message


# --- quiet hours ---

NIGHT = QuietHours(start=time(22), end=time(7), zone="Europe/Berlin")
LUNCH = QuietHours(start=time(12), end=time(13, 30), zone="UTC")


@pytest.mark.parametrize(
    ("hours", "moment", "until"),
    [
        (NIGHT, "2026-05-01T19:59:59+00:00", None),
        (NIGHT, "2026-05-01T20:00:00+00:00", "2026-05-02T05:00:00+00:00"),
        (NIGHT, "2026-05-02T04:59:59+00:00", "2026-05-02T05:00:00+00:00"),
        (NIGHT, "2026-05-02T05:00:00+00:00", None),
        (LUNCH, "2026-05-01T12:00:00+00:00", "2026-05-01T13:30:00+00:00"),
        (LUNCH, "2026-05-01T13:30:00+00:00", None),
        (NIGHT, "2026-10-25T00:30:00+00:00", "2026-10-25T06:00:00+00:00"),  # the clock goes back that night
        (NIGHT, "2026-03-29T00:30:00+00:00", "2026-03-29T05:00:00+00:00"),  # and forward in this one
        (None, "2026-05-01T12:00:00+00:00", None),
    ],
)
def test_quiet_hours_by_the_clock_on_the_wall(
    hours: QuietHours | None, moment: str, until: str | None
) -> None:
    expected = until and datetime.fromisoformat(until)
    assert quiet_until(hours, datetime.fromisoformat(moment)) == expected


def times() -> Iterator[time]:
    for hour in range(24):
        yield time(hour)
        yield time(hour, 30)


@given(
    st.sampled_from(list(times())),
    st.sampled_from(list(times())),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC", "Australia/Lord_Howe"]),
)
def test_quiet_hours_end_and_always_in_the_future(start: time, end: time, naive: datetime, zone: str) -> None:
    if start == end:
        return
    moment = naive.replace(tzinfo=UTC)
    until = quiet_until(QuietHours(start=start, end=end, zone=zone), moment)
    assert until is None or moment < until <= moment + timedelta(hours=25)
