"""database_cleanup: expired rows, VACUUM, indexes, advice; each part on its own feet."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from scheduler_core import budget, horizon, indexes, needless, vacuum
from scheduler_core.database import clean
from scheduler_core.parameters import DatabaseParameters

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def make_table(database: Any, name: str, *, rows: int, dead: int) -> None:
    """A table with so many dead rows at its end, and the statistics know of them."""
    database.execute(f"CREATE TABLE {name} AS SELECT n FROM generate_series(1, {rows}) n")
    database.execute(f"DELETE FROM {name} WHERE n > {rows - dead}")
    database.execute("SELECT pg_stat_force_next_flush()")
    database.execute("SELECT 1")


def make_broken_index(database: Any, name: str) -> None:
    """An index that a unique build left invalid, on table t whose column `same` holds nothing but 1."""
    database.execute("CREATE TABLE IF NOT EXISTS t AS SELECT n, 1 AS same FROM generate_series(1, 100) n")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON t (same)")


def indexes_of(database: Any, table: str) -> list[tuple[str, bool]]:
    """(name, valid)"""
    query = (
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = %s::regclass ORDER BY 1"
    )
    found: list[tuple[str, bool]] = database.rows(query, table)
    return found


EXPIRING = [
    ("oauth_refresh_tokens", "token_id", "expires_at"),
    ("oauth_auth_codes", "code", "expires_at"),
    ("oauth_state_bindings", "state_token_hash", "expires_at"),
    ("oauth_jti_revocations", "jti", "exp"),
    ("mcp_sessions", "session_id", "expires_at"),
]


@pytest.mark.parametrize(("table", "key", "column"), EXPIRING)
async def test_expired_rows_go_after_their_grace(
    database: Any, run_core: Any, now: Any, table: str, key: str, column: str
) -> None:
    for name, moment in {
        "future": now + DAY,
        "at grace": now - 5 * MINUTE,
        "past": now - 5 * MINUTE - SECOND,
    }.items():
        database.insert(table, **{key: name, column: moment})

    ran = await run_core(clean, DatabaseParameters())

    assert database.rows(f"SELECT {key} FROM {table} ORDER BY 1") == ["at grace", "future"]
    assert f"removed 1 expired row (1 of {table})" in ran.message


async def test_expiry_in_unix_time_is_understood(bare_database: Any, run_core: Any, now: Any) -> None:
    bare_database.execute("CREATE TABLE oauth_jti_revocations (jti text, exp bigint)")
    for name, moment in {"past": now - DAY, "future": now + DAY}.items():
        bare_database.insert("oauth_jti_revocations", jti=name, exp=int(moment.timestamp()))

    await run_core(clean, DatabaseParameters())

    assert bare_database.rows("SELECT jti FROM oauth_jti_revocations") == ["future"]


async def test_expiry_of_an_unknown_kind_is_left_alone_and_named(bare_database: Any, run_core: Any) -> None:
    bare_database.execute(
        "CREATE TABLE oauth_auth_codes (code text, expires_at text);"
        "INSERT INTO oauth_auth_codes VALUES ('a', '1')"
    )

    ran = await run_core(clean, DatabaseParameters())

    assert bare_database.rows("SELECT code FROM oauth_auth_codes") == ["a"]
    assert "column oauth_auth_codes.expires_at as a point in time (it is text)" in ran.message
    assert "table mcp_sessions" in ran.message


async def test_the_log_is_pruned_by_age_and_the_lines_of_jobs_survive(database: Any, run_core: Any) -> None:
    database.log(age=31 * DAY, user_id="system")
    kept = [database.log(age=DAY, user_id="system"), database.log(age=DAY, session_id="gone")]

    ran = await run_core(clean, DatabaseParameters())

    assert database.rows("SELECT id FROM logs ORDER BY 1") == kept
    assert "removed 1 of 1 log line older than 30 days from public.logs in 1 batch" in ran.message


async def test_only_tables_that_need_it_are_vacuumed_the_neediest_first(database: Any, run_core: Any) -> None:
    for table, dead in (("calm", 100), ("needy", 2000), ("neediest", 4900)):
        make_table(database, table, rows=5000, dead=dead)

    ran = await run_core(clean, DatabaseParameters())

    assert "vacuumed 2 of 2 tables: neediest (4,900 dead rows, 216.0 KB won), needy (2,000" in ran.message
    assert database.rows(
        "SELECT relname::text FROM pg_stat_user_tables WHERE vacuum_count > 0 AND analyze_count > 0"
        " ORDER BY 1"
    ) == ["neediest", "needy"]


async def test_rows_that_an_open_transaction_sees_are_reported(
    database: Any, run_core: Any, now: Any
) -> None:
    database.execute("CREATE TABLE needy AS SELECT n FROM generate_series(1, 5000) n")
    database.execute("ALTER TABLE needy SET (vacuum_truncate = off)")  # it would try to for 5 s
    with psycopg.connect(database.url, application_name="a report") as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM needy")
        database.execute("DELETE FROM needy WHERE n <= 4000")
        database.execute("SELECT pg_stat_force_next_flush()")
        database.execute("SELECT 1")

        later = database.one("SELECT now()") + timedelta(hours=2)
        ran = await run_core(clean, DatabaseParameters(), now=later)

    assert "needy (0 dead rows, 4,000 still visible to somebody" in ran.message
    assert "(a report) has had a transaction open since" in ran.message
    assert [level for level, line in ran.ctx.logger.lines if "a report" in line] == ["warning"]


async def test_an_invalid_index_is_rebuilt_and_a_leftover_removed(database: Any, run_core: Any) -> None:
    make_broken_index(database, "t_same")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("REINDEX INDEX CONCURRENTLY t_same")
    database.execute("DELETE FROM t WHERE n > 1")
    assert indexes_of(database, "t") == [("t_same", False), ("t_same_ccnew", False)]

    ran = await run_core(clean, DatabaseParameters())

    assert indexes_of(database, "t") == [("t_same", True)]
    assert "removed leftover of a rebuild: t_same_ccnew (0 bytes won)" in ran.message
    assert "rebuilt index: t_same (" in ran.message


async def test_a_rebuild_that_fails_leaves_nothing_behind_and_is_told(database: Any, run_core: Any) -> None:
    make_broken_index(database, "t_same")

    ran = await run_core(clean, DatabaseParameters())

    assert indexes_of(database, "t") == [("t_same", False)]
    assert 'rebuilt index: t_same (could not create unique index "t_same_ccnew")' in ran.message
    assert (ran.result.ok, ran.result.items_failed) == (True, 1)


async def test_at_most_so_many_indexes_are_rebuilt_in_a_run(database: Any, run_core: Any) -> None:
    for name in ("t_a", "t_b", "t_c"):
        make_broken_index(database, name)
    database.execute("DELETE FROM t WHERE n > 1")

    ran = await run_core(clean, DatabaseParameters(max_reindex=2))

    assert [valid for _, valid in indexes_of(database, "t")].count(False) == 1
    assert "1 more to rebuild: the next run carries on" in ran.message


async def test_needless_indexes_are_named_and_stay(
    database: Any, run_core: Any, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needless, "UNUSED_BYTES", 0)
    database.execute(
        "CREATE TABLE t (id serial PRIMARY KEY, a int, b int);"
        "CREATE INDEX t_a ON t (a); CREATE INDEX t_a_again ON t (a); CREATE INDEX t_a_desc ON t (a DESC);"
        "CREATE UNIQUE INDEX t_b ON t (b); CREATE INDEX t_id ON t (id)"
    )

    ran = await run_core(clean, DatabaseParameters(), now=database.one("SELECT now()") + 31 * DAY)

    assert "advice: DROP INDEX CONCURRENTLY t_a_again: the same as t_a, 8.0 KB" in ran.message
    assert "advice: DROP INDEX CONCURRENTLY t_id: the same as t_pkey" in ran.message
    assert "advice: DROP INDEX CONCURRENTLY t_a_desc: unused here since 20" in ran.message
    assert "CONCURRENTLY t_b" not in ran.message
    assert database.one("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass") == 6


async def test_an_old_database_is_warned_of_the_end_of_its_transaction_numbers(
    database: Any, run_core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(horizon, "WARN_AGE", 10)

    ran = await run_core(clean, DatabaseParameters())

    assert "warning: the oldest row is " in ran.message
    assert "VACUUM (FREEZE) " in ran.message


async def test_a_part_that_fails_does_not_stop_the_others(database: Any, run_core: Any) -> None:
    database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE DELETE ON logs EXECUTE FUNCTION refuse()"
    )
    database.log(age=31 * DAY)
    database.insert("oauth_auth_codes", code="old", expires_at="2020-01-01")

    ran = await run_core(clean, DatabaseParameters())

    assert not ran.result.ok
    assert ran.message.startswith("logs failed: no")
    assert "removed 1 expired row (1 of oauth_auth_codes)" in ran.message
    assert [step.name for step in ran.ctx.steps if step.failed] == ["logs"]


async def test_without_enforce_the_result_says_what_would_change(database: Any, run_core: Any) -> None:
    database.log(age=31 * DAY)
    database.insert("oauth_auth_codes", code="old", expires_at="2020-01-01")
    make_table(database, "needy", rows=5000, dead=4990)

    ran = await run_core(clean, DatabaseParameters(enforce=False))

    assert database.one("SELECT (SELECT count(*) FROM logs), (SELECT count(*) FROM oauth_auth_codes)") == (
        1,
        1,
    )
    assert database.one("SELECT sum(vacuum_count) FROM pg_stat_user_tables") == 0
    assert "would have removed 1 log line older than 30 days" in ran.message
    assert "would have removed 1 expired row (1 of oauth_auth_codes)" in ran.message
    assert "would have vacuumed needy (4,990 dead rows)" in ran.message
    assert ran.result.items_processed == 0


async def test_maintenance_stops_where_its_time_ends(
    database: Any, run_core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget.Budget, "left_s", property(lambda self: 0.0))
    make_table(database, "needy", rows=5000, dead=4990)

    ran = await run_core(clean, DatabaseParameters())

    assert "vacuumed 0 of 1 table: needy (no time left)" in ran.message


async def test_somebody_elses_table_is_named_and_not_touched(database: Any, run_core: Any) -> None:
    make_table(database, "needy", rows=5000, dead=4990)
    database.execute(
        "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN;"
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest"
    )
    database.url = database.url.replace("://postgres@", "://guest@")

    ran = await run_core(clean, DatabaseParameters())

    assert "vacuumed 0 of 1 table: needy (not ours to vacuum)" in ran.message


@pytest.mark.parametrize("kind", ["vacuum", "rebuild"])
async def test_maintenance_gives_way_to_a_change_of_the_table(
    database: Any, run_core: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """An ALTER TABLE that waited for us would in its turn make every query wait."""
    if kind == "vacuum":
        make_table(database, "t", rows=50_000, dead=49_000)
        monkeypatch.setattr(vacuum, "THROTTLE", {"vacuum_cost_delay": "100ms", "vacuum_cost_limit": "1"})
        expected = "vacuumed 0 of 1 table: t (gave way to somebody who wanted to change it)"
    else:
        make_broken_index(database, "t_same")
        database.execute("DELETE FROM t WHERE n > 1")
        monkeypatch.setattr(indexes, "CLEAR_UP_S", 0.1)
        expected = "rebuilt index: t_same (gave way to somebody who wanted to change its table)"

    held = (
        "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND mode = 'ShareUpdateExclusiveLock'"
    )
    with psycopg.connect(database.url) as reader:
        if kind == "rebuild":
            reader.execute("SELECT count(*) FROM t")  # the rebuilding waits for its end
        running = asyncio.create_task(run_core(clean, DatabaseParameters()))
        async with asyncio.timeout(30):
            while not database.one(held):
                await asyncio.sleep(0.001)
        with psycopg.connect(database.url, autocommit=True) as application:
            altering = asyncio.create_task(asyncio.to_thread(application.execute, "ALTER TABLE t ADD x int"))
            async with asyncio.timeout(30):
                ran = await running
            reader.rollback()
            await altering

    assert expected in ran.message
    assert ran.result.ok
    if kind == "rebuild":
        await run_core(clean, DatabaseParameters())
        assert indexes_of(database, "t") == [("t_same", True)]


async def test_the_tables_of_the_daemon_are_not_ours(database: Any, run_core: Any, now: Any) -> None:
    database.execute("CREATE SCHEMA IF NOT EXISTS scheduler")
    make_table(database, "scheduler.busy", rows=5000, dead=4000)
    database.execute("CREATE INDEX a ON scheduler.busy (n); CREATE INDEX b ON scheduler.busy (n)")

    ran = await run_core(clean, DatabaseParameters())

    assert "scheduler." not in ran.message
    assert ran.result.items_failed == 0
