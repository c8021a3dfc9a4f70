"""`why`: every disposition that an instant can have, with the evidence that the ledger holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler_daemon.errors import RequestError, UnknownJobError
from scheduler_daemon.operations import Switch

Home = Any
BERLIN = {"timezone": "Europe/Berlin"}


def told(why: Any, what: str) -> str:
    """The evidence of one kind."""
    return " / ".join(one.text for one in why.evidence if one.what == what)


async def test_a_run_that_went_well(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {})
    await home.until("2026-03-01 02:30:00.100")
    run = home.end(
        "nightly", "succeeded", "2026-03-01 02:30:00.250", "2026-03-01 02:30:01.250", message="all good"
    )
    why = await home.why()
    assert (why.verdict, why.run.id) == ("succeeded", str(run))
    assert why.answer == "It ran and succeeded in 1.0 s: all good"
    assert why.instant == datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
    assert f"run {run} started at 2026-03-01 02:30:00 UTC, 250 ms after its time" in told(why, "run")
    assert (why.schedule, why.enabled_in_file) == ("0 30 2 * * *", True)
    assert why.previous is None
    assert why.following.instant == utc("2026-03-02 02:30:00")
    assert why.following.status is None


@pytest.mark.parametrize(
    ("status", "answer", "advice"),
    [
        ("failed", "It ran, and failed in 1.0 s: no disk", "logs view --run"),
        ("timed_out", "It ran, and timed out after 1.0 s: no disk", "timeout:"),
        ("lost", "It ran, and was lost after 1.0 s: no disk", "on_lost: rerun"),
    ],
)
async def test_a_run_that_went_badly(home: Home, status: str, answer: str, advice: str) -> None:
    await home.move_in("2026-03-01 00:00:00", {})
    await home.until("2026-03-01 02:30:00.100")
    home.end("nightly", status, "2026-03-01 02:30:00", "2026-03-01 02:30:01", error="no disk\nat line 3")
    why = await home.why("02:30")
    assert (why.verdict, why.answer) == (status, answer)
    assert any(advice in one for one in why.advice)


async def test_an_overlap_names_the_run_in_the_way(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {"schedule": "0 * * * * *"})
    await home.until("2026-03-01 00:01:00.100")
    await home.until("2026-03-01 00:02:00.100")
    blocker = home.end("nightly", "succeeded", "2026-03-01 00:01:00", "2026-03-01 00:02:30")
    why = await home.why("2026-03-01 00:02")
    assert why.verdict == "skipped:overlap"
    assert told(why, "blocker") == (
        f"in its way was run {blocker} of nightly (cron): 2026-03-01 00:01:00 UTC to 2026-03-01 00:02:30 UTC,"
        " succeeded"
    )
    assert "overlap: queue" in why.advice[0]
    assert (why.previous.status, why.previous.run) == ("succeeded", str(blocker))


async def test_an_operator_who_disabled_it_is_named_with_reason_and_end(home: Home, boss: Any) -> None:
    await home.move_in("2026-03-01 00:00:00", {"schedule": "0 0 * * * *"})
    home.clock.set(datetime(2026, 3, 1, 0, 30, tzinfo=UTC))
    switch = Switch(enabled=False, reason="moving house", lasting=timedelta(days=400))
    await home.operations.jobs.switch("nightly", switch, boss)
    await home.until("2026-03-01 02:10:00")
    home.sql("UPDATE scheduler.actions SET at = '2026-03-01 00:30:00+00'")
    why = await home.why("2026-03-01 01:00")
    assert why.verdict == "skipped:disabled"
    assert why.answer == "It did not run: it was disabled by boss"
    action = told(why, "action")
    assert "boss (uid 1000, pid 4711) disabled it at 2026-03-01 00:30:00 UTC" in action
    assert "until 2027-04-05 00:30:00 UTC" in action
    assert "because: moving house" in action
    assert "the same holds for 2 instants, 2026-03-01 01:00:00 UTC to 2026-03-01 02:00:00 UTC" in told(
        why, "span"
    )


async def test_a_switch_after_the_instant_is_no_evidence(home: Home, boss: Any) -> None:
    """Disabled in the file then, disabled by an operator later: the file was it."""
    await home.move_in("2026-03-01 00:00:00", {"schedule": "0 0 * * * *", "enabled": False})
    await home.until("2026-03-01 01:10:00")
    await home.operations.jobs.switch("nightly", Switch(enabled=False), boss)
    why = await home.why("2026-03-01 01:00")
    assert why.verdict == "skipped:disabled"
    assert "enabled was false in revision" in told(why, "configuration")
    assert why.enabled_in_file is False
    assert not told(why, "action")


async def test_a_scheduler_that_is_switched_off(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {"schedule": "0 0 * * * *"}, scheduler={"enabled": False})
    await home.until("2026-03-01 01:10:00")
    why = await home.why("2026-03-01 01:00")
    assert "scheduler.enabled was false" in told(why, "configuration")


async def test_a_missing_extension_then_and_its_state_now(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {"schedule": "0 0 * * * *", "extension": "gone"})
    await home.until("2026-03-01 01:00:01")
    why = await home.why("2026-03-01 01:00")
    assert why.verdict == "skipped:unavailable"
    assert why.answer == 'It did not run: the extension "gone" is not installed'
    assert told(why, "today").startswith("it still is unavailable")
    await home.reload({"schedule": "0 0 * * * *"})
    again = await home.why("2026-03-01 01:00")
    assert told(again, "today") == "by now it is available"


async def test_a_night_without_daemon_is_told_from_to(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {})
    last = utc("2026-03-01 01:00:00")
    home.sql("UPDATE scheduler.nodes SET heartbeat_at = %s, stopped_at = NULL", last)
    home.clock.set(utc("2026-03-01 06:00:00"))
    (node,) = await home.house.presence.nodes()
    home.house.runner.dispatcher.readiness.began(home.clock.now(), alone=True)
    await home.operations.scheduler.note_start(node)
    home.sql("UPDATE scheduler.actions SET at = '2026-03-01 06:00:00+00'")
    await home.house.runner.dispatcher.settle()
    why = await home.why("2026-03-01 02:30")
    assert (why.verdict, why.answer) == ("missed:daemon_down", "It did not run: no daemon was running")
    assert told(why, "outage") == (
        "the daemon gave its last sign of life at 2026-03-01 01:00:00 UTC; "
        "the next one started at 2026-03-01 06:00:00 UTC"
    )
    assert "misfire was skip, within 24 h" in told(why, "rule")
    assert "jobs run nightly" in why.advice[-1]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("database_down", "the database was away"),
        ("suspended", "the machine was suspended, or its clock was set forward"),
        ("clock_skew", "this machine's clock was too far off the database's"),
    ],
)
async def test_an_outage_is_told_from_to(home: Home, reason: str, cause: str) -> None:
    await home.move_in("2026-03-01 00:00:00", {})
    home.sql("ALTER TABLE scheduler.actions ALTER at SET DEFAULT '2026-03-01 03:00:00+00'")
    await home.outage("2026-03-01 02:00:00", "2026-03-01 03:00:00", reason)
    why = await home.why("2026-03-01 02:30")
    assert (why.verdict, why.answer) == (f"missed:{reason}", f"It did not run: {cause}")
    assert told(why, "outage") == f"{cause}, from 2026-03-01 02:00:00 UTC to 2026-03-01 03:00:00 UTC"


async def test_what_was_missed_points_to_the_run_that_caught_up(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {"schedule": "0 0 * * * *", "misfire": "latest"})
    await home.outage("2026-03-01 00:30:00", "2026-03-01 03:30:00", "suspended")
    run = home.end("nightly", "succeeded", "2026-03-01 03:30:01", "2026-03-01 03:30:02")
    why = await home.why("2026-03-01 02:00")
    assert why.verdict == "missed:suspended"
    assert f"the next instant that ran was run {run}" in told(why, "resumed")
    caught_up = await home.why("2026-03-01 03:00")
    assert caught_up.verdict == "succeeded"
    assert "it was caught up" in told(caught_up, "rule")


async def test_a_time_that_the_clock_jumped_over_fires_right_after_it(home: Home) -> None:
    await home.move_in("2026-03-28 12:00:00", BERLIN)
    await home.until("2026-03-29 01:00:00.200")
    home.end("nightly", "succeeded", "2026-03-29 01:00:00", "2026-03-29 01:00:01")
    why = await home.why("2026-03-29 02:30")
    assert why.verdict == "succeeded"
    assert why.instant == utc("2026-03-29 01:00:00")
    assert told(why, "clock") == (
        "2026-03-29 02:30:00 did not exist in Europe/Berlin: "
        "the clock went straight to 2026-03-29 03:00:00 CEST"
    )
    assert "fire once, right after it" in told(why, "rule")


async def test_under_gap_skip_the_swallowed_instant_has_its_row(home: Home) -> None:
    await home.move_in("2026-03-28 12:00:00", {**BERLIN, "dst": {"gap": "skip"}})
    await home.until("2026-03-29 02:00:00")
    why = await home.why("2026-03-29 02:30")
    assert why.verdict == "skipped:dst_gap"
    assert "02:30:00 does not exist" in why.answer
    assert "dst: {gap: after}" in why.advice[0]


async def test_an_elapsing_schedule_has_no_instants_in_the_jump(home: Home) -> None:
    await home.move_in("2026-03-28 12:00:00", {**BERLIN, "schedule": "0 */15 * * * *", "enabled": False})
    await home.until("2026-03-29 03:00:00")
    why = await home.why("2026-03-29 02:10")
    assert "has no instants in the jump" in told(why, "rule")


async def test_a_time_that_came_twice_fires_once(home: Home) -> None:
    await home.move_in("2026-10-24 12:00:00", BERLIN)
    await home.until("2026-10-25 00:30:00.200")
    home.end("nightly", "succeeded", "2026-10-25 00:30:00", "2026-10-25 00:30:01")
    await home.until("2026-10-25 03:00:00")
    why = await home.why("2026-10-25 02:30")
    assert (why.verdict, why.instant) == ("succeeded", utc("2026-10-25 00:30:00"))
    assert "showed this time twice, 1 h apart" in told(why, "clock")
    assert told(why, "rule") == "a schedule with a fixed time fires the first time only"
    second = await home.why("2026-10-25T02:30:00+01:00")
    assert second.verdict == "not_planned"


async def test_the_schedule_in_force_then_counts_not_todays(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {"schedule": "0 0 1 * * *"})
    await home.until("2026-03-01 01:00:00.100")
    home.end("nightly", "succeeded", "2026-03-01 01:00:00", "2026-03-01 01:00:01")
    home.clock.set(utc("2026-03-01 12:00:00"))
    await home.reload({"schedule": "0 0 2 * * *"})
    then = await home.why("2026-03-01 01:00")
    assert (then.verdict, then.schedule) == ("succeeded", "0 0 1 * * *")
    assert then.following.instant == utc("2026-03-02 02:00:00")
    not_yet = await home.why("2026-03-01 02:00")
    assert not_yet.verdict == "not_planned"
    assert "today's schedule 0 0 2 * * * has one then, but it was not in force yet" in told(not_yet, "today")
    assert not_yet.previous.instant == utc("2026-03-01 01:00:00")


async def test_a_job_that_was_not_in_the_configuration_then(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {"name": "other"})
    home.clock.set(utc("2026-03-02 00:00:00"))
    await home.reload({"name": "other"}, {})
    why = await home.why("2026-03-01 02:30")
    assert why.verdict == "not_in_configuration"
    assert "it came with revision" in told(why, "configuration")
    home.clock.set(utc("2026-03-03 00:00:00"))
    await home.reload({})
    gone = await home.why("2026-03-03 02:30", job="other")
    assert gone.verdict == "not_in_configuration"
    assert "it was there before, in revision" in told(gone, "configuration")
    assert gone.advice == ["add an entry to scheduler.jobs and reload"]


async def test_before_the_ledger_began_nobody_knows(home: Home) -> None:
    await home.move_in("2026-03-01 12:00:00", {})
    why = await home.why("2026-02-01 02:30")
    assert why.verdict == "before_records"
    assert "the first one was in force from 2026-03-01 12:00:00 UTC" in why.answer
    assert why.following.instant == utc("2026-03-02 02:30:00")


async def test_a_job_that_has_not_been_due_yet_is_told_so(home: Home, boss: Any) -> None:
    await home.move_in("2026-03-01 12:00:00", {})
    home.clock.set(utc("2026-03-01 12:10:00"))
    why = await home.why()
    assert why.verdict == "not_due_yet"
    assert why.answer == ("It has not been due yet: the configuration names it since 2026-03-01 12:00:00 UTC")
    assert why.following.instant == utc("2026-03-02 02:30:00")
    assert "jobs next nightly" in why.advice[0]
    await home.operations.jobs.switch("nightly", Switch(enabled=False), boss)
    assert told(await home.why(), "today") == "it is disabled, and would be skipped"


async def test_between_two_entries_the_nearest_instants_are_theirs(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {})
    await home.until("2026-03-01 12:00:00")
    await home.reload({"name": "other"})
    home.clock.set(utc("2026-03-02 12:00:00"))
    await home.reload({})
    why = await home.why("2026-03-02 02:30")
    assert why.verdict == "not_in_configuration"
    assert (why.previous.instant, why.following.instant) == (
        utc("2026-03-01 02:30:00"),
        utc("2026-03-03 02:30:00"),
    )


async def test_an_instant_before_the_first_entry_is_no_neighbour(home: Home) -> None:
    await home.move_in("2026-03-01 12:00:00", {})
    home.clock.set(utc("2026-03-01 13:00:00"))
    await home.reload({"timeout": "5m"})
    await home.until("2026-03-02 02:30:01")
    why = await home.why("2026-03-02 02:30")
    assert why.previous is None
    assert why.following.instant == utc("2026-03-03 02:30:00")


async def test_what_was_pruned_is_said_to_be(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {"enabled": False})
    await home.until("2026-03-01 02:30:01")
    home.sql("UPDATE scheduler.schedules SET audited_from = '2026-03-01 02:30:00+00'")
    home.sql("DELETE FROM scheduler.runs")
    why = await home.why("2026-03-01 02:30")
    assert why.verdict == "before_records"
    assert "history.keep" in why.advice[0]


async def test_a_hole_in_the_ledger_is_admitted(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {"enabled": False})
    await home.until("2026-03-01 02:30:01")
    home.sql("DELETE FROM scheduler.runs")
    why = await home.why("2026-03-01 02:30")
    assert why.verdict == "unaccounted"
    assert "jobs audit --job nightly" in why.advice[0]


async def test_what_is_due_and_held_names_what_holds_it(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {})
    why = "this machine's clock is +9.0 s off the database's"
    home.house.runner.dispatcher.readiness.hold_for("clock_skew", why)
    await home.until("2026-03-01 02:31:00")
    why = await home.why()
    assert why.verdict == "pending"
    assert "+9.0 s" in told(why, "held")


async def test_what_is_still_to_come_says_whether_it_would_run(home: Home, boss: Any) -> None:
    await home.move_in("2026-03-01 00:00:00", {})
    why = await home.why("2026-03-01 02:30")
    assert why.verdict == "future"
    await home.operations.jobs.switch("nightly", Switch(enabled=False), boss)
    assert "disabled" in told(await home.why("2026-03-01 02:30"), "today")


async def test_a_whole_day_is_summed_up_and_the_worst_is_told(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {"schedule": "0 0 */6 * * *"})
    await home.until("2026-03-01 06:00:00.100")
    home.end("nightly", "succeeded", "2026-03-01 06:00:00", "2026-03-01 06:00:01")
    await home.outage("2026-03-01 11:00:00", "2026-03-01 13:00:00", "suspended")
    await home.until("2026-03-01 18:00:00.100")
    home.end("nightly", "succeeded", "2026-03-01 18:00:00", "2026-03-01 18:00:01")
    why = await home.why("2026-03-01")
    assert why.verdict == "missed:suspended"
    assert why.instant == utc("2026-03-01 12:00:00")
    assert told(why, "tally").startswith("3 instants are meant (2 succeeded, 1 missed)")


async def test_a_run_by_hand_at_that_time_is_mentioned(home: Home, boss: Any) -> None:
    await home.move_in("2026-03-01 00:00:00", {})
    home.clock.set(utc("2026-03-01 03:00:00.500"))
    await home.house.runner.dispatcher.settle()
    home.end("nightly", "succeeded", "2026-03-01 02:30:00", "2026-03-01 02:30:01")
    started = await home.operations.jobs.run("nightly", {}, queue=False, actor=boss)
    why = await home.why("2026-03-01 03:00")
    assert why.verdict == "not_planned"
    assert f"run {started.id} of nightly (manual by boss)" in told(why, "other")


async def test_an_unknown_job_and_a_strange_time_are_refused(home: Home) -> None:
    await home.move_in("2026-03-01 00:00:00", {})
    with pytest.raises(UnknownJobError, match="did you mean nightly"):
        await home.why(job="nightl")
    for text in ("tomorrow", "2026-13-01", "25:00", "1850-01-01", "2026-03-29T02:30:00+99:00"):
        with pytest.raises(RequestError):
            await home.why(text)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
