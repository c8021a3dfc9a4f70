"""log_cleanup."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from scheduler_core.logs import clean
from scheduler_core.parameters import LogParameters

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


async def test_a_line_of_exactly_the_retention_is_kept(database: Any, run_core: Any) -> None:
    kept = database.log(age=30 * DAY)
    database.log(age=30 * DAY + SECOND)

    ran = await run_core(clean, LogParameters())

    assert database.rows("SELECT id FROM logs") == [kept]
    assert ran.message == "removed 1 of 1 log line older than 30 days from public.logs in 1 batch"


async def test_lines_of_jobs_and_of_nobody_are_pruned_by_age_alone(database: Any, run_core: Any) -> None:
    kept = [
        database.log(age=DAY, user_id="system", module="cleanup_inactive_sessions"),
        database.log(age=DAY, session_id="gone", user_id="gone"),
        database.log(age=DAY),
    ]

    await run_core(clean, LogParameters())

    assert database.rows("SELECT id FROM logs ORDER BY 1") == sorted(kept)


async def test_a_partitioned_log_is_pruned_partition_by_partition(bare_database: Any, run_core: Any) -> None:
    bare_database.execute(
        "CREATE TABLE logs (id text, timestamp timestamptz NOT NULL) PARTITION BY HASH (id);"
        "CREATE TABLE logs_0 PARTITION OF logs FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE logs_1 PARTITION OF logs FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
        "INSERT INTO logs SELECT n::text, '2026-11-22 12:00Z'::timestamptz - n * interval '1 day'"
        " FROM generate_series(1, 100) n"
    )

    braked = await run_core(clean, LogParameters(max_rows=60))
    rest = await run_core(clean, LogParameters())

    assert braked.result.items_processed == 60
    assert rest.result.items_processed == 10
    assert bare_database.one("SELECT count(*) FROM logs") == 30


async def test_a_log_whose_times_have_no_zone_is_read_as_utc(bare_database: Any, run_core: Any) -> None:
    bare_database.execute(
        "CREATE TABLE logs (timestamp timestamp);"
        "INSERT INTO logs VALUES ('2026-10-23 12:00:00'), ('2026-10-23 11:59:59')"
    )
    name = bare_database.one("SELECT current_database()")
    bare_database.execute(f"ALTER DATABASE \"{name}\" SET timezone TO 'Pacific/Auckland'")

    ran = await run_core(clean, LogParameters())

    assert bare_database.rows("SELECT timestamp::text FROM logs") == ["2026-10-23 12:00:00"]
    assert ran.result.items_processed == 1


async def test_without_the_table_nothing_is_done_and_the_result_says_why(
    bare_database: Any, run_core: Any
) -> None:
    ran = await run_core(clean, LogParameters())

    assert ran.result.ok
    assert ran.message.endswith("not in this database: table logs")
