"""cleanup_empty_contexts: what counts as empty, and what never goes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from scheduler_core.contexts import clean
from scheduler_core.parameters import ContextParameters

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
OLD = 25 * HOUR


@pytest.fixture
def user(database: Any) -> str:
    made: str = database.user(age=OLD, roles=["user"])
    return made


def contexts(database: Any) -> list[str]:
    found: list[str] = database.rows("SELECT context_id FROM user_contexts ORDER BY 1")
    return found


async def test_a_context_of_exactly_the_retention_is_kept(database: Any, run_core: Any, user: str) -> None:
    kept = database.context(user=user, age=24 * HOUR)
    database.context(user=user, age=24 * HOUR + SECOND)

    ran = await run_core(clean, ContextParameters())

    assert contexts(database) == [kept]
    assert ran.message == "removed 1 of 1 empty context older than 24 hours in 1 batch"


async def test_a_task_without_a_message_keeps_its_context(database: Any, run_core: Any, user: str) -> None:
    kept = database.context(user=user, age=OLD)
    database.task(kept)

    await run_core(clean, ContextParameters())

    assert contexts(database) == [kept]


async def test_a_message_filed_under_another_context_of_its_task_keeps_it(
    database: Any, run_core: Any, user: str
) -> None:
    of_task, of_message = database.context(user=user, age=OLD), database.context(user=user, age=OLD)
    database.message(database.task(of_task), of_message)

    await run_core(clean, ContextParameters())

    assert contexts(database) == [of_task, of_message]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("mcp_tool_executions", {"mcp_execution_id": "x", "tool_name": "t", "server_name": "s"}),
        ("governance_decisions", {"id": "x", "decision": "deny"}),
    ],
)
async def test_an_execution_or_a_decision_keeps_a_context(
    database: Any, run_core: Any, user: str, table: str, row: dict[str, str]
) -> None:
    kept = database.context(user=user, age=OLD)
    database.insert(table, context_id=kept, **row)

    await run_core(clean, ContextParameters())

    assert contexts(database) == [kept]


async def test_a_command_line_context_lives_as_long_as_its_session(
    database: Any, run_core: Any, user: str
) -> None:
    open_session, closed_session = database.session(), database.session(ended=HOUR)
    live = database.context(user=user, age=OLD, kind="cli_session", session_id=open_session)
    database.context(user=user, age=OLD, kind="cli_session", session_id=closed_session)
    database.context(user=user, age=OLD, kind="cli_session")
    database.context(user=user, age=OLD, kind="user", session_id=open_session)

    ran = await run_core(clean, ContextParameters())

    assert contexts(database) == [live]
    assert ran.result.items_processed == 3


async def test_a_context_that_fills_up_between_find_and_removal_is_kept(
    database: Any, run_core: Any, user: str
) -> None:
    made = [database.context(user=user, age=OLD) for _ in range(3)]

    def fill(ctx: Any) -> None:
        if len(ctx.reports) == 1:
            database.task(made[1])

    ran = await run_core(clean, ContextParameters(batch_size=1), after_progress=fill)

    assert contexts(database) == [made[1]]
    assert "removed 2 of 2 empty contexts" in ran.message


async def test_without_an_index_on_messages_the_result_advises_one(
    database: Any, run_core: Any, user: str
) -> None:
    database.execute("DROP INDEX task_messages_context_id")
    full, empty = database.context(user=user, age=OLD), database.context(user=user, age=OLD)
    other = database.context(user=user, age=OLD)
    task = database.task(other)
    database.message(task, full)
    database.execute(
        "INSERT INTO task_messages (task_id, message_id, role, context_id)"
        " SELECT %s, 'm' || n, 'user', %s FROM generate_series(1, 3000) n",
        task,
        other,
    )

    ran = await run_core(clean, ContextParameters())

    assert contexts(database) == sorted([full, other])
    assert empty not in contexts(database)
    assert "advice: CREATE INDEX CONCURRENTLY ON task_messages (context_id)" in ran.message
