"""How rows are removed: beside an application that locks, changes and adds rows at the worst moment."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from scheduler_core import batch, contexts, logs, sessions, sweep, users
from scheduler_core.batch import adapted
from scheduler_core.parameters import (
    AnonymousUserParameters,
    ContextParameters,
    LogParameters,
    SessionParameters,
)

DAY = timedelta(days=1)
OLD = 31 * DAY


@pytest.fixture
def walking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table counts as one with many candidates."""
    monkeypatch.setattr(sweep, "FEW", 1)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may take its time: nothing is cut in two because this machine is busy."""
    monkeypatch.setattr(batch, "LIMIT_S", 60.0)


@pytest.mark.usefixtures("patient")
async def test_a_context_that_gets_its_first_task_while_it_is_being_removed_stays(
    database: Any, run_core: Any
) -> None:
    """The removal has taken its snapshot, and waits in a trigger; then the application commits a task."""
    user = database.user(age=OLD, roles=["user"])
    made = [database.context(user=user, age=OLD) for _ in range(3)]
    database.execute(
        "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  PERFORM pg_advisory_lock(1);"
        "  WHILE NOT pg_try_advisory_lock_shared(2) LOOP PERFORM pg_sleep(0.001); END LOOP;"
        "  PERFORM pg_advisory_unlock(1), pg_advisory_unlock_shared(2); RETURN NULL; END $$;"
        "CREATE TRIGGER pause BEFORE DELETE ON user_contexts EXECUTE FUNCTION pause()"
    )
    database.execute("SELECT pg_advisory_lock(2)")

    running = asyncio.create_task(run_core(contexts.clean, ContextParameters()))
    async with asyncio.timeout(30):
        while not database.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1"):
            await asyncio.sleep(0.001)
    task = database.task(made[1])
    database.execute("SELECT pg_advisory_unlock(2)")
    ran = await running

    assert database.rows("SELECT context_id FROM user_contexts") == [made[1]]
    assert database.rows("SELECT task_id FROM agent_tasks") == [task]
    assert ran.message.startswith("removed 2 of 2 empty contexts")


@pytest.mark.parametrize("few", [1, 10_000])
async def test_a_row_that_the_application_has_locked_is_left_and_the_rest_goes(
    database: Any, run_core: Any, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(sweep, "FEW", few)
    made = [database.user(age=OLD) for _ in range(20)]
    with psycopg.connect(database.url) as application:
        application.execute("UPDATE users SET full_name = 'changing' WHERE id = %s", [made[7]])

        ran = await run_core(users.clean, AnonymousUserParameters())

    assert database.rows("SELECT id FROM users") == [made[7]]
    assert ran.message == (
        "removed 19 of 20 anonymous users older than 30 days in 1 batch,"
        " 1 left for the next run: the application holds on to them"
    )
    assert (ran.result.items_processed, ran.result.items_failed) == (19, 1)


async def test_a_locked_row_that_the_cascade_would_reach_keeps_only_its_own_branch(
    database: Any, run_core: Any
) -> None:
    made = [database.user(age=OLD) for _ in range(20)]
    context = database.context(user=made[3], age=OLD)
    with psycopg.connect(database.url) as application:
        application.execute("UPDATE user_contexts SET name = 'x' WHERE context_id = %s", [context])

        ran = await run_core(users.clean, AnonymousUserParameters())

    assert database.rows("SELECT id FROM users") == [made[3]]
    assert ran.result.items_processed == 19


async def test_an_account_that_is_upgraded_under_our_eyes_stays(database: Any, run_core: Any) -> None:
    made = [database.user(age=OLD) for _ in range(6)]

    def upgrade(ctx: Any) -> None:
        if len(ctx.reports) == 1:
            database.execute("UPDATE users SET roles = '{anonymous,user}' WHERE id = %s", made[4])

    await run_core(users.clean, AnonymousUserParameters(batch_size=2), after_progress=upgrade)

    assert database.rows("SELECT id FROM users") == [made[4]]


@pytest.mark.usefixtures("walking")
async def test_a_walk_removes_the_same_rows_as_a_list(database: Any, run_core: Any) -> None:
    database.execute(
        "INSERT INTO logs (id, timestamp, level, module, message)"
        " SELECT 'l' || n, now() - interval '1 day' * (n % 60), 'INFO', 'm', repeat('x', n % 500)"
        " FROM generate_series(0, 5999) n"
    )

    ran = await run_core(logs.clean, LogParameters(batch_size=100), now=None)

    old = "SELECT count(*) FROM logs WHERE timestamp < now() - interval '30 days'"
    assert (database.one("SELECT count(*) FROM logs"), database.one(old)) == (3000, 0)
    assert ran.result.items_processed == 3000
    done, total, note = ran.ctx.reports[-1]
    assert done == total
    assert note == "3,000 log lines removed"


@pytest.mark.usefixtures("walking")
async def test_a_walk_obeys_the_brake_to_the_row(database: Any, run_core: Any) -> None:
    for _ in range(300):
        database.log(age=OLD)

    ran = await run_core(logs.clean, LogParameters(batch_size=10, max_rows=123))

    assert database.one("SELECT count(*) FROM logs") == 300 - 123
    assert ran.message.endswith("stopped at max_rows: the next run carries on")


@pytest.mark.usefixtures("walking")
async def test_without_an_index_on_the_evidence_a_walk_goes_in_strides(database: Any, run_core: Any) -> None:
    database.execute("DROP INDEX task_messages_context_id")
    user = database.user(age=OLD, roles=["user"])
    database.execute(
        "INSERT INTO user_contexts (context_id, user_id, created_at)"
        " SELECT 'c' || n, %s, '2026-01-01' FROM generate_series(1, 3000) n",
        user,
    )
    task = database.task("c1")
    database.execute(
        "INSERT INTO task_messages (task_id, message_id, role, context_id)"
        " SELECT %s, 'm' || n, 'user', 'c' || n FROM generate_series(3, 3000, 3) n, generate_series(1, 5)",
        task,
    )

    ran = await run_core(contexts.clean, ContextParameters(batch_size=100))

    assert ran.result.items_processed == 3000 - 1000 - 1
    assert database.one("SELECT count(*) FROM user_contexts") == 1001


async def test_a_cancelled_run_has_removed_whole_batches_and_the_next_carries_on(
    database: Any, run_core: Any
) -> None:
    for _ in range(10):
        user = database.user(age=OLD)
        for _ in range(2):
            database.context(user=user, age=OLD)

    def cancel(ctx: Any) -> None:
        ctx.cancelled = True

    parameters = AnonymousUserParameters(batch_size=3)
    with pytest.raises(asyncio.CancelledError):
        await run_core(users.clean, parameters, after_progress=cancel)
    assert database.one("SELECT count(*), (SELECT count(*) FROM user_contexts) FROM users") == (7, 14)
    ran = await run_core(users.clean, parameters)

    assert ran.message.startswith("removed 7 of 7 anonymous users (and 14 contexts)")


@pytest.mark.usefixtures("patient")
async def test_a_run_that_is_cancelled_in_the_middle_of_a_batch_undoes_that_batch(
    database: Any, run_core: Any
) -> None:
    for _ in range(5):
        database.session(idle=2 * DAY)
    database.execute(
        "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  PERFORM pg_advisory_lock(3), pg_sleep(600); RETURN NULL; END $$;"
        "CREATE TRIGGER pause AFTER UPDATE ON user_sessions EXECUTE FUNCTION pause()"
    )

    running = asyncio.create_task(run_core(sessions.clean, SessionParameters()))
    async with asyncio.timeout(30):
        while not database.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 3"):
            await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert database.one("SELECT count(*) FROM user_sessions WHERE ended_at IS NULL") == 5
    async with asyncio.timeout(30):  # the server ends the transaction in its own time
        while database.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"):
            await asyncio.sleep(0.001)


async def test_the_connection_is_given_back_as_it_was(database: Any, run_core: Any) -> None:
    from psycopg_pool import AsyncConnectionPool
    from scheduler_core.maintenance import maintenance

    settings = "SELECT array_agg(name || '=' || setting ORDER BY name) FROM pg_settings"
    async with AsyncConnectionPool(database.url, min_size=1, max_size=1, open=False) as pool:
        async with pool.connection() as connection:
            before = await (await connection.execute(settings)).fetchone()
        database.log(age=OLD)

        class Given:
            parameters = LogParameters()
            cancelled = False

            def db_pool(self) -> Any:
                return pool

            def progress(self, *told: Any) -> None: ...

        given: Any = Given()
        async with maintenance(given) as run:
            await logs.clean(run)
        async with pool.connection() as connection:
            assert not connection.autocommit
            after = await (await connection.execute(settings)).fetchone()
    assert after == before


def test_a_batch_grows_while_it_is_short_and_never_beyond_its_rows() -> None:
    assert adapted(10, 0.001, removed=0, rows=1000, most=4096) == 20
    assert adapted(10, 0.001, removed=800, rows=1000, most=4096) == 12
    assert adapted(10, 0.04, removed=100, rows=1000, most=4096) == 2
    assert adapted(10, 0.008, removed=2000, rows=1000, most=4096) == 5
    assert adapted(4096, 0.001, removed=0, rows=1000, most=4096) == 4096
    assert adapted(1, 10.0, removed=1, rows=1000, most=4096) == 1
