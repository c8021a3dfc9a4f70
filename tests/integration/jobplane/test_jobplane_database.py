"""What a run's connections are called, and that nothing of one run meets the next."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

DATABASE = True
JOBS = """
NAME = "SELECT current_setting('application_name'), current_setting('statement_timeout'), pg_backend_pid()"

def job(function):
    return extension.job(name=function.__name__, schedule="0 0 * * * *")(function)

def says(text): return JobResult.success().with_message(str(text))

@job
async def named(ctx):
    async with ctx.db_pool().connection() as conn:
        return says(await (await conn.execute(NAME)).fetchone())

@job
def named_sync(ctx):
    with ctx.sync_db() as conn:
        return says(conn.execute(NAME).fetchone())

@job
async def leaves_state(ctx):
    async with ctx.db_pool().connection() as conn:
        await conn.execute("SET search_path TO nowhere")
        await conn.execute("CREATE TEMP TABLE IF NOT EXISTS left_behind (n int)")
        await conn.execute("SELECT pg_advisory_lock(4711)")

@job
async def sees_state(ctx):
    async with ctx.db_pool().connection() as conn:
        cursor = await conn.execute(
            "SELECT current_setting('search_path'), to_regclass('pg_temp.left_behind') IS NULL,"
            " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')")
        return says(await cursor.fetchone())

@job
def leaves_state_sync(ctx):
    with ctx.sync_db() as conn:
        conn.execute("SET search_path TO nowhere")

@job
def sees_state_sync(ctx):
    with ctx.sync_db() as conn:
        return says(conn.execute("SHOW search_path").fetchone()[0])

@job
async def slow(ctx):
    async with ctx.db_pool().connection() as conn:
        await conn.execute("SELECT pg_sleep(60)")

@job
async def keeps_connection(ctx):
    await ctx.db_pool().getconn()

@job
async def closes_pool(ctx):
    async with ctx.db_pool() as pool:
        async with pool.connection() as conn:
            await conn.execute("SELECT 1")

@job
def wrong_kind(ctx): ctx.db_pool()

@job
def commits(ctx):
    with ctx.sync_db() as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        conn.commit()
        conn.execute("INSERT INTO kept VALUES (1)")
    with ctx.sync_db() as conn:
        return says(conn.execute("SELECT count(*) FROM kept").fetchone()[0])

@job
def rolls_back(ctx):
    with ctx.sync_db() as conn:
        conn.execute("CREATE TABLE never (n int)")
        raise ValueError("no")
"""


@pytest.mark.parametrize("job", ["named", "named_sync"])
async def test_connections_are_named_after_the_run_and_kept(worker: Any, job: str) -> None:
    first = await worker.result(job, run_id="one")
    second = await worker.result(job, run_id="two", timeout_s=90.0)

    name, timeout, pid = first["message"].strip("()").split(", ")
    assert (name, timeout) == ("'run:one'", "'0'")
    assert second["message"] == f"('run:two', '90s', {pid})"


@pytest.mark.parametrize("job", ["named", "named_sync"])
async def test_one_connection_serves_many_runs_without_a_word(worker: Any, job: str) -> None:
    outcomes = [await worker.result(job, run_id=f"m{n}") for n in range(40)]
    pids = {(outcome["message"] or outcome["error"]).split(", ")[-1] for outcome in outcomes}

    assert len(pids) == 1
    assert not worker.all("log")


async def test_an_idle_connection_does_not_keep_the_name_of_a_run(
    worker: Any, scheduler_postgres: str
) -> None:
    await worker.result("named_sync")
    await worker.result("named", run_id="r2")

    async with await psycopg.AsyncConnection.connect(scheduler_postgres) as conn:
        cursor = await conn.execute("SELECT application_name FROM pg_stat_activity")
        names = {name for (name,) in await cursor.fetchall()}
    assert "scheduler worker, idle" in names
    assert not names & {"run:r1", "run:r2"}


async def test_the_state_of_a_session_ends_with_its_checkout(worker: Any) -> None:
    await worker.result("leaves_state")
    outcome = await worker.result("sees_state", run_id="r2")

    assert outcome["message"] == "('\"$user\", public', True, 0)"
    await worker.result("leaves_state_sync", run_id="r3")
    assert (await worker.result("sees_state_sync", run_id="r4"))["message"] == '"$user", public'


async def test_a_run_s_timeout_is_its_statements_timeout(worker: Any) -> None:
    outcome = await worker.result("slow", timeout_s=0.05)

    assert outcome["error"].startswith("QueryCanceled: canceling statement due to statement timeout")


async def test_a_query_can_be_found_and_ended_by_its_run(worker: Any, scheduler_postgres: str) -> None:
    worker.run("slow", run_id="findme")
    async with await psycopg.AsyncConnection.connect(scheduler_postgres, autocommit=True) as conn:
        for _ in range(500):
            cursor = await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'run:findme' AND state = 'active'"
            )
            if await cursor.fetchone():
                break
            await conn.execute("SELECT pg_sleep(0.01)")
    assert (await worker.outcome("findme"))["error"].startswith("AdminShutdown")
    assert (await worker.result("named", run_id="r2"))["status"] == "succeeded"


async def test_connections_that_a_run_keeps_are_closed(worker: Any) -> None:
    for number in range(6):
        outcome = await worker.result("keeps_connection", run_id=f"k{number}")
        assert outcome["status"] == "succeeded"
        lines = worker.lines(f"k{number}")
        assert "closed 1 database connections that the run kept" in lines
        assert not any("tasks" in line for line in lines)


async def test_a_job_that_closes_the_pool_closes_only_its_own(worker: Any) -> None:
    await worker.result("closes_pool")
    assert (await worker.result("named", run_id="r2"))["status"] == "succeeded"


async def test_a_plain_function_is_told_which_connection_to_use(worker: Any) -> None:
    outcome = await worker.result("wrong_kind")

    assert "use ctx.sync_db()" in outcome["error"]


async def test_a_plain_function_commits_at_the_end_or_rolls_back(worker: Any) -> None:
    assert (await worker.result("commits"))["message"] == "1"
    assert (await worker.result("rolls_back", run_id="r2"))["error"] == "ValueError: no"
    assert (await worker.result("rolls_back", run_id="r3"))["error"] == "ValueError: no"
