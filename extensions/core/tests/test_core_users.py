"""cleanup_anonymous_users, at the edges of its condition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scheduler_core import batch
from scheduler_core.parameters import AnonymousUserParameters
from scheduler_core.users import clean

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
OLD = 31 * DAY


async def test_an_account_of_exactly_the_retention_is_kept(database: Any, run_core: Any) -> None:
    kept = database.user(age=30 * DAY)
    database.user(age=30 * DAY + SECOND)

    ran = await run_core(clean, AnonymousUserParameters())

    assert database.rows("SELECT id FROM users") == [kept]
    assert ran.message == "removed 1 of 1 anonymous user older than 30 days in 1 batch"
    assert (ran.result.ok, ran.result.items_processed, ran.result.items_failed) == (True, 1, 0)


@pytest.mark.parametrize("roles", [["anonymous", "user"], ["user", "anonymous"], ["user"], ["admin"], []])
async def test_an_upgraded_account_is_kept_whatever_its_age(
    database: Any, run_core: Any, roles: list[str]
) -> None:
    kept = database.user(age=400 * DAY, roles=roles)

    await run_core(clean, AnonymousUserParameters())

    assert database.rows("SELECT id FROM users") == [kept]


async def test_an_open_session_keeps_an_account_and_a_closed_one_does_not(
    database: Any, run_core: Any
) -> None:
    user_with_open, user_with_closed = database.user(age=OLD), database.user(age=OLD)
    database.session(user_id=user_with_open, ended=5 * DAY)
    database.session(user_id=user_with_open)
    closed = database.session(user_id=user_with_closed, ended=5 * DAY)

    await run_core(clean, AnonymousUserParameters())

    assert database.rows("SELECT id FROM users") == [user_with_open]
    assert database.one("SELECT user_id FROM user_sessions WHERE session_id = %s", closed) is None


async def test_the_contexts_of_a_removed_account_go_with_it_and_are_counted(
    database: Any, run_core: Any
) -> None:
    gone, kept = database.user(age=OLD), database.user(age=DAY)
    for user in (gone, gone, gone, kept):
        context = database.context(user=user, age=DAY)
        database.message(database.task(context), context)

    counted = await run_core(clean, AnonymousUserParameters(enforce=False))
    ran = await run_core(clean, AnonymousUserParameters())

    assert counted.message == "would have removed 1 anonymous user (and 3 contexts) older than 30 days"
    assert counted.result.items_processed == 0
    assert ran.message == "removed 1 of 1 anonymous user (and 3 contexts) older than 30 days in 1 batch"
    assert database.rows("SELECT user_id FROM user_contexts") == [kept]
    assert database.one("SELECT count(*) FROM task_messages") == 1


async def test_the_day_of_a_summer_time_change_has_24_hours_too(database: Any, run_core: Any) -> None:
    name = database.one("SELECT current_database()")
    database.execute(f"ALTER DATABASE \"{name}\" SET timezone TO 'Europe/Berlin'")

    now = datetime(2026, 4, 10, 12, tzinfo=UTC)  # 30 days before, Berlin's clocks had an hour still to lose
    kept = database.user(age=30 * DAY, now=now)
    database.user(age=30 * DAY + SECOND, now=now)

    await run_core(clean, AnonymousUserParameters(), now=now)

    assert database.rows("SELECT id FROM users") == [kept]


async def test_a_user_that_another_table_refers_to_without_cascade_is_kept(
    database: Any, run_core: Any
) -> None:
    database.execute("CREATE TABLE invoices (user_id text REFERENCES users (id))")
    kept = database.user(age=OLD)
    database.user(age=OLD)
    database.insert("invoices", user_id=kept)

    ran = await run_core(clean, AnonymousUserParameters())

    assert database.rows("SELECT id FROM users") == [kept]
    assert ran.message == "removed 1 of 1 anonymous user older than 30 days in 1 batch"


async def test_a_user_whose_context_another_table_refers_to_is_left_and_the_others_go(
    database: Any, run_core: Any
) -> None:
    database.execute("CREATE TABLE exports (context_id text REFERENCES user_contexts (context_id))")
    users = [database.user(age=OLD) for _ in range(10)]
    database.insert("exports", context_id=database.context(user=users[3], age=OLD))

    ran = await run_core(clean, AnonymousUserParameters())

    assert database.rows("SELECT id FROM users") == [users[3]]
    assert (ran.result.items_processed, ran.result.items_failed) == (9, 1)
    assert "1 left for the next run" in ran.message


async def test_one_account_with_thousands_of_contexts_and_sessions_goes_in_several_batches(
    database: Any, run_core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the row takes too long for one batch: the trigger sees to that while there is much left."""
    monkeypatch.setattr(batch, "LIMIT_S", 0.3)
    monkeypatch.setattr(batch, "FIRST_DETACHED", 1000)
    database.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  IF (SELECT count(*) FROM user_contexts) + (SELECT count(user_id) FROM user_sessions) > 0"
        "  THEN PERFORM pg_sleep(60); END IF; RETURN OLD; END $$;"
        "CREATE TRIGGER dawdle BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )
    user = database.user(age=OLD)
    for table, key in (("user_contexts", "context_id"), ("user_sessions", "session_id")):
        database.execute(
            f"INSERT INTO {table} ({key}, user_id) SELECT 'x' || n, %s FROM generate_series(1, 2500) n", user
        )
    database.execute("UPDATE user_sessions SET ended_at = now()")

    ran = await run_core(clean, AnonymousUserParameters(batch_size=1000))

    assert database.one("SELECT count(*) FROM users") == 0
    assert database.one("SELECT count(*), count(user_id) FROM user_sessions") == (2500, 0)
    assert "removed 1 of 1 anonymous user (and 2,500 contexts)" in ran.message


async def test_the_brake_stops_a_run_and_the_next_carries_on(database: Any, run_core: Any) -> None:
    for _ in range(5):
        database.user(age=OLD)
    parameters = AnonymousUserParameters(max_rows=3)

    first = await run_core(clean, parameters)
    second = await run_core(clean, parameters)

    assert first.message.endswith("in 1 batch, stopped at max_rows: the next run carries on")
    assert second.message == "removed 2 of 2 anonymous users older than 30 days in 1 batch"
    assert database.one("SELECT count(*) FROM users") == 0
