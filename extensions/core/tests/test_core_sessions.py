"""cleanup_inactive_sessions, at the edges of its two conditions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from scheduler_core.parameters import SessionParameters
from scheduler_core.sessions import clean

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


async def test_a_session_idle_for_exactly_the_limit_stays_open(database: Any, run_core: Any) -> None:
    at_limit = database.session(idle=HOUR)
    past_limit = database.session(idle=HOUR + SECOND)

    ran = await run_core(clean, SessionParameters())

    assert database.rows("SELECT session_id FROM user_sessions WHERE ended_at IS NULL") == [at_limit]
    assert database.rows("SELECT session_id FROM user_sessions WHERE ended_at IS NOT NULL") == [past_limit]
    assert ran.message.startswith("ended 1 of 1 session idle for over 1 hour in 1 batch; removed no sessions")
    assert (ran.result.items_processed, ran.result.items_failed) == (1, 0)


async def test_an_idle_session_ends_when_its_idle_limit_had_passed(database: Any, run_core: Any) -> None:
    database.session(idle=5 * HOUR, lasted=timedelta(minutes=10))

    await run_core(clean, SessionParameters(idle_hours=2))

    ended, last, seconds = database.one(
        "SELECT ended_at, last_activity_at, duration_seconds FROM user_sessions"
    )
    assert ended - last == 2 * HOUR
    assert seconds == 2 * 3600 + 600


async def test_a_duration_that_the_application_wrote_is_kept(database: Any, run_core: Any) -> None:
    database.session(idle=5 * HOUR, duration_seconds=42)

    await run_core(clean, SessionParameters())

    assert database.one("SELECT duration_seconds FROM user_sessions") == 42


async def test_a_session_that_ended_exactly_at_the_retention_is_kept(database: Any, run_core: Any) -> None:
    kept = database.session(idle=95 * DAY, ended=90 * DAY)
    database.session(idle=95 * DAY, ended=90 * DAY + SECOND)

    ran = await run_core(clean, SessionParameters())

    assert database.rows("SELECT session_id FROM user_sessions") == [kept]
    assert "removed 1 of 1 session that ended over 90 days ago in 1 batch" in ran.message


async def test_an_open_session_of_any_age_stays_while_it_is_active(database: Any, run_core: Any) -> None:
    active = database.session(idle=timedelta(minutes=59), lasted=400 * DAY)

    await run_core(clean, SessionParameters(retention_days=1))

    assert database.rows("SELECT session_id FROM user_sessions WHERE ended_at IS NULL") == [active]


async def test_a_long_forgotten_session_is_ended_and_removed_in_one_run(database: Any, run_core: Any) -> None:
    database.session(idle=200 * DAY)

    counted = await run_core(clean, SessionParameters(enforce=False))
    assert database.one("SELECT count(*) FROM user_sessions WHERE ended_at IS NULL") == 1
    ran = await run_core(clean, SessionParameters())

    assert database.one("SELECT count(*) FROM user_sessions") == 0
    assert counted.message == (
        "would have ended 1 session idle for over 1 hour; "
        "would have removed 1 session that ended over 90 days ago"
    )
    assert ran.message.startswith("ended 1 of 1 session")


async def test_contexts_of_a_removed_session_stay_without_it(database: Any, run_core: Any) -> None:
    user = database.user(age=DAY, roles=["user"])
    session = database.session(idle=200 * DAY, ended=199 * DAY)
    context = database.context(user=user, age=DAY, session_id=session)

    await run_core(clean, SessionParameters())

    assert database.one("SELECT context_id, session_id FROM user_contexts") == (context, None)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
async def test_batches_end_and_remove_every_candidate(database: Any, run_core: Any, batch_size: int) -> None:
    for _ in range(25):
        database.session(idle=2 * HOUR)
        database.session(idle=100 * DAY, ended=99 * DAY)

    ran = await run_core(clean, SessionParameters(batch_size=batch_size))

    assert database.one("SELECT count(*) FILTER (WHERE ended_at IS NULL), count(*) FROM user_sessions") == (
        0,
        25,
    )
    assert ran.result.items_processed == 50
    assert ran.ctx.reports[-1] == (25, 25, "sessions removed")


async def test_the_server_clock_counts_not_ours(database: Any, run_core: Any) -> None:
    database.execute(
        "INSERT INTO user_sessions (session_id, last_activity_at) VALUES ('s', now() - interval '61 minutes')"
    )

    await run_core(clean, SessionParameters(), now=None)

    assert database.one("SELECT ended_at IS NOT NULL FROM user_sessions") is True
