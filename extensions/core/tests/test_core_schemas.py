"""Databases that the application made, of any age: what they lack is found out, and named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from scheduler_core import contexts, database, extension, sessions, users
from scheduler_core.parameters import (
    AnonymousUserParameters,
    ContextParameters,
    DatabaseParameters,
    SessionParameters,
)

DAY = timedelta(days=1)
OLD = 31 * DAY

OLDER = """
    CREATE TABLE extension_migrations (id text PRIMARY KEY);
    CREATE TABLE users (
        id text PRIMARY KEY, name varchar(255) UNIQUE, email varchar(255) UNIQUE,
        roles text[] DEFAULT '{user}', created_at timestamp DEFAULT now()
    );
    CREATE TABLE user_sessions (
        session_id text PRIMARY KEY, user_id varchar(255) REFERENCES users ON DELETE SET NULL,
        started_at timestamptz NOT NULL, last_activity_at timestamptz NOT NULL, ended_at timestamptz
    );
    CREATE TABLE user_contexts (
        context_id text PRIMARY KEY, user_id varchar(255) REFERENCES users ON DELETE CASCADE,
        session_id text REFERENCES user_sessions ON DELETE SET NULL, created_at timestamptz
    );
    CREATE TABLE agent_tasks (
        task_id text PRIMARY KEY, context_id text REFERENCES user_contexts ON DELETE CASCADE
    );
    CREATE TABLE task_messages (
        id serial PRIMARY KEY, task_id text REFERENCES agent_tasks ON DELETE CASCADE, message_id text,
        role text, context_id text NOT NULL
    );
    CREATE TABLE logs (
        id text PRIMARY KEY, timestamp timestamptz, level text, module varchar(255), message text
    );
"""
"""An older database of the application: fewer tables and columns than today's, and no index but the keys'."""


def migrate(made: Any) -> None:
    assert extension.migrations is not None
    for file in sorted(Path(extension.migrations).glob("*.sql")):
        made.execute(file.read_text())


def structure(made: Any) -> list[Any]:
    columns: list[Any] = made.rows(
        "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    indexes: list[Any] = made.rows("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
    return columns + indexes


def test_migrations_change_nothing_in_a_database_of_the_application(bare_database: Any) -> None:
    bare_database.execute(OLDER)
    before = structure(bare_database)

    migrate(bare_database)

    assert structure(bare_database) == before


def test_migrations_can_be_applied_twice(database: Any) -> None:
    before = structure(database)

    migrate(database)

    assert structure(database) == before


async def test_users_of_an_older_database(bare_database: Any, run_core: Any) -> None:
    bare_database.execute(OLDER)
    kept, gone = bare_database.user(age=DAY), bare_database.user(age=OLD)
    bare_database.context(user=gone, age=DAY)
    open_session = bare_database.user(age=OLD)
    bare_database.session(user_id=open_session)

    ran = await run_core(users.clean, AnonymousUserParameters())

    assert bare_database.rows("SELECT id FROM users ORDER BY 1") == sorted([kept, open_session])
    assert ran.message == "removed 1 of 1 anonymous user (and 1 context) older than 30 days in 1 batch"


async def test_sessions_of_an_older_database(bare_database: Any, run_core: Any) -> None:
    bare_database.execute(OLDER)
    bare_database.session(idle=2 * DAY)

    ran = await run_core(sessions.clean, SessionParameters())

    assert bare_database.one("SELECT ended_at - last_activity_at FROM user_sessions") == timedelta(hours=1)
    assert ran.message.endswith("not in this database: column user_sessions.duration_seconds")


async def test_contexts_of_an_older_database(bare_database: Any, run_core: Any) -> None:
    bare_database.execute(OLDER)
    user = bare_database.user(age=OLD, roles=["user"])
    bare_database.context(user=user, age=OLD)
    full = bare_database.context(user=user, age=OLD)
    bare_database.message(bare_database.task(full), full)

    ran = await run_core(contexts.clean, ContextParameters())

    assert bare_database.rows("SELECT context_id FROM user_contexts") == [full]
    assert ran.message.endswith(
        "not in this database: column user_contexts.kind, table mcp_tool_executions,"
        " table governance_decisions"
    )


async def test_a_command_line_context_stays_where_its_session_cannot_be_told(
    bare_database: Any, run_core: Any
) -> None:
    bare_database.execute(OLDER)
    bare_database.execute(
        "ALTER TABLE user_contexts ADD kind text; ALTER TABLE user_contexts DROP session_id"
    )
    user = bare_database.user(age=OLD, roles=["user"])
    kept = bare_database.context(user=user, age=OLD, kind="cli_session")
    bare_database.context(user=user, age=OLD, kind="user")
    bare_database.context(user=user, age=OLD)

    await run_core(contexts.clean, ContextParameters())

    assert bare_database.rows("SELECT context_id FROM user_contexts") == [kept]


async def test_without_messages_nobody_can_tell_an_empty_context(bare_database: Any, run_core: Any) -> None:
    bare_database.execute(OLDER)
    bare_database.execute("DROP TABLE task_messages")
    user = bare_database.user(age=OLD, roles=["user"])
    bare_database.context(user=user, age=OLD)

    ran = await run_core(contexts.clean, ContextParameters())

    assert bare_database.one("SELECT count(*) FROM user_contexts") == 1
    assert ran.result.ok
    assert ran.message.startswith("removed nothing: it cannot be done safely without what is missing")
    assert "table task_messages" in ran.message


async def test_every_job_ends_well_on_an_empty_database(bare_database: Any, run_core: Any) -> None:
    for clean, parameters in (
        (users.clean, AnonymousUserParameters()),
        (sessions.clean, SessionParameters()),
        (contexts.clean, ContextParameters()),
        (database.clean, DatabaseParameters()),
    ):
        ran = await run_core(clean, parameters)
        assert ran.result.ok
        assert "not in this database: table " in ran.message


async def test_foreign_keys_without_an_index_are_named_once_their_table_is_large(
    bare_database: Any, run_core: Any
) -> None:
    bare_database.execute(OLDER)
    user = bare_database.user(age=DAY, roles=["user"])
    bare_database.execute(
        "INSERT INTO user_contexts (context_id, user_id, created_at)"
        " SELECT 'c' || n, %s, '2026-11-22' FROM generate_series(1, 5000) n",
        user,
    )

    ran = await run_core(users.clean, AnonymousUserParameters())

    advice = ran.message.split("; advice: ")[1:]
    assert advice == [
        "CREATE INDEX CONCURRENTLY ON user_contexts (user_id):"
        " each removed row reads that table from end to end"
    ]


async def test_without_an_index_on_a_large_table_what_goes_along_is_counted_only_in_advance(
    bare_database: Any, run_core: Any
) -> None:
    bare_database.execute(OLDER)
    for _ in range(3):
        bare_database.user(age=OLD)
    bare_database.execute(
        "INSERT INTO user_contexts (context_id, user_id, created_at)"
        " SELECT 'c' || n, u.id, '2026-11-22' FROM users u, generate_series(1, 6000) n WHERE u.id = 'u1'"
    )

    asked = await run_core(users.clean, AnonymousUserParameters(enforce=False))
    ran = await run_core(users.clean, AnonymousUserParameters())

    assert asked.message.startswith("would have removed 3 anonymous users (and 6,000 contexts) older than")
    assert ran.message.startswith("removed 3 of 3 anonymous users older than 30 days in ")
    assert "; their contexts went uncounted: user_contexts (user_id) has no index; " in ran.message
    assert bare_database.one("SELECT count(*) FROM user_contexts") == 0
