"""Nothing that a job's condition does not name is ever removed, and all that it names is.

Small worlds at the edges of every condition; what has to be left is reckoned here in Python, from the words
of the conditions and not from the SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scheduler_core import contexts, logs, sessions, sweep, users
from scheduler_core.parameters import (
    AnonymousUserParameters,
    ContextParameters,
    LogParameters,
    SessionParameters,
)

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TABLES = (
    "users",
    "user_sessions",
    "user_contexts",
    "agent_tasks",
    "task_messages",
    "mcp_tool_executions",
    "governance_decisions",
    "logs",
)

around = st.sampled_from([-SECOND, timedelta(0), SECOND])


def ages(*edges: timedelta) -> st.SearchStrategy[timedelta]:
    """At the edges, a second before and after them, and far from them."""
    return st.builds(
        lambda edge, off: edge + off, st.sampled_from([DAY * 0 + SECOND, *edges, 400 * DAY]), around
    )


@dataclass(frozen=True)
class User:
    age: timedelta
    roles: list[str]


@dataclass(frozen=True)
class Session:
    user: int | None
    idle: timedelta
    ended: timedelta | None


@dataclass(frozen=True)
class Conversation:
    user: int
    age: timedelta
    kind: str
    session: int | None
    contents: frozenset[str]


@dataclass(frozen=True)
class World:
    users: list[User]
    sessions: list[Session]
    conversations: list[Conversation]
    logs: list[timedelta]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    roles = st.sampled_from([["anonymous"], ["anonymous", "user"], ["user"], []])
    people = draw(st.lists(st.builds(User, ages(30 * DAY), roles), min_size=1, max_size=6))
    someone = st.integers(0, len(people) - 1)
    visits = draw(
        st.lists(
            st.builds(Session, st.none() | someone, ages(HOUR, 90 * DAY), st.none() | ages(90 * DAY)),
            max_size=6,
        )
    )
    visit = st.integers(0, len(visits) - 1) if visits else st.none()
    contents = st.frozensets(st.sampled_from(["task", "message", "execution", "decision"]), max_size=2)
    kinds = st.sampled_from(["user", "cli_session", "evaluation"])
    talks = st.builds(Conversation, someone, ages(24 * HOUR), kinds, st.none() | visit, contents)
    return World(
        people, visits, draw(st.lists(talks, max_size=6)), draw(st.lists(ages(30 * DAY), max_size=4))
    )


def build(database: Any, world: World, now: Any) -> None:
    """Make the world's rows: their keys are u0, s0, c0, l0 …"""
    for table in TABLES:
        database.execute(f"DELETE FROM {table}")
    for number, user in enumerate(world.users):
        name = f"u{number}"
        database.insert("users", id=name, name=name, email=name, roles=user.roles, created_at=now - user.age)
    for number, session in enumerate(world.sessions):
        database.insert(
            "user_sessions",
            session_id=f"s{number}",
            user_id=None if session.user is None else f"u{session.user}",
            started_at=now - session.idle - HOUR,
            last_activity_at=now - session.idle,
            ended_at=None if session.ended is None else now - session.ended,
        )
    for number, talk in enumerate(world.conversations):
        build_conversation(database, f"c{number}", talk, now)
    for number, age in enumerate(world.logs):
        database.insert("logs", id=f"l{number}", timestamp=now - age, level="INFO", module="m", message="m")


def build_conversation(database: Any, context: str, talk: Conversation, now: Any) -> None:
    database.insert(
        "user_contexts",
        context_id=context,
        user_id=f"u{talk.user}",
        session_id=None if talk.session is None else f"s{talk.session}",
        kind=talk.kind,
        created_at=now - talk.age,
    )
    if talk.contents & {"task", "message"}:
        database.insert("agent_tasks", task_id=f"t{context}", context_id=context)
    if "message" in talk.contents:
        database.message(f"t{context}", context)
    if "execution" in talk.contents:
        tool = {"mcp_execution_id": f"x{context}", "tool_name": "t", "server_name": "s"}
        database.insert("mcp_tool_executions", context_id=context, **tool)
    if "decision" in talk.contents:
        database.insert("governance_decisions", id=f"g{context}", decision="allow", context_id=context)


def keys(database: Any) -> dict[str, set[str]]:
    """Table → keys of its rows."""
    columns = ("id", "session_id", "context_id", "task_id", "context_id", "mcp_execution_id", "id", "id")
    return {
        table: set(database.rows(f"SELECT {column} FROM {table}"))
        for table, column in zip(TABLES, columns, strict=True)
    }


def ended_ago(session: Session) -> timedelta | None:
    """Once it is looked after; None: it stays open."""
    if session.ended is not None:
        return session.ended
    return session.idle - HOUR if session.idle > HOUR else None


def contents_of(world: World, kept: set[str]) -> dict[str, set[str]]:
    """What is in the kept contexts; executions and decisions do not go with theirs."""
    talks = {f"c{number}": talk for number, talk in enumerate(world.conversations)}
    return {
        "user_contexts": kept,
        "agent_tasks": {f"t{c}" for c in kept if talks[c].contents & {"task", "message"}},
        "task_messages": {c for c in kept if "message" in talks[c].contents},
    }


checked = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
strides = st.sampled_from([1, 10_000])
sizes = st.sampled_from([1, 2, 1000])


@checked
@given(world=worlds(), few=strides, size=sizes)
async def test_users(database: Any, run_core: Any, now: Any, world: World, few: int, size: int) -> None:
    build(database, world, now)
    before = keys(database)
    opened = {session.user for session in world.sessions if session.ended is None}
    kept = {
        number
        for number, user in enumerate(world.users)
        if user.roles != ["anonymous"] or user.age <= 30 * DAY or number in opened
    }
    talks = {f"c{number}" for number, talk in enumerate(world.conversations) if talk.user in kept}

    with patch.object(sweep, "FEW", few):
        ran = await run_core(users.clean, AnonymousUserParameters(batch_size=size))

    assert keys(database) == {
        **before,
        "users": {f"u{number}" for number in kept},
        **contents_of(world, talks),
    }
    assert ran.result.items_processed == len(world.users) - len(kept)
    assert dict(database.rows("SELECT session_id, user_id FROM user_sessions")) == {
        f"s{number}": f"u{session.user}" if session.user in kept else None
        for number, session in enumerate(world.sessions)
    }


@checked
@given(world=worlds(), few=strides, size=sizes)
async def test_contexts(database: Any, run_core: Any, now: Any, world: World, few: int, size: int) -> None:
    build(database, world, now)
    before = keys(database)
    opened = {number for number, session in enumerate(world.sessions) if session.ended is None}
    kept = {
        f"c{number}"
        for number, talk in enumerate(world.conversations)
        if talk.age <= 24 * HOUR or talk.contents or (talk.kind == "cli_session" and talk.session in opened)
    }

    with patch.object(sweep, "FEW", few):
        await run_core(contexts.clean, ContextParameters(batch_size=size))

    assert keys(database) == {**before, "user_contexts": kept}


@checked
@given(world=worlds(), few=strides, size=sizes)
async def test_sessions(database: Any, run_core: Any, now: Any, world: World, few: int, size: int) -> None:
    build(database, world, now)
    before = keys(database)
    ended = {
        f"s{number}": (session.idle - HOUR if session.idle > HOUR else None)
        if session.ended is None
        else session.ended
        for number, session in enumerate(world.sessions)
    }
    kept = {name: ago for name, ago in ended.items() if ago is None or ago <= 90 * DAY}

    with patch.object(sweep, "FEW", few):
        await run_core(sessions.clean, SessionParameters(batch_size=size))

    assert keys(database) == {**before, "user_sessions": set(kept)}
    found = dict(database.rows("SELECT session_id, ended_at FROM user_sessions"))
    assert found == {name: None if ago is None else now - ago for name, ago in kept.items()}


@checked
@given(world=worlds(), few=strides, size=sizes)
async def test_logs(database: Any, run_core: Any, now: Any, world: World, few: int, size: int) -> None:
    build(database, world, now)
    before = keys(database)

    with patch.object(sweep, "FEW", few):
        await run_core(logs.clean, LogParameters(batch_size=size))

    kept = {f"l{number}" for number, age in enumerate(world.logs) if age <= 30 * DAY}
    assert keys(database) == {**before, "logs": kept}


@checked
@given(world=worlds())
async def test_without_enforce_nothing_is_removed(
    database: Any, run_core: Any, now: Any, world: World
) -> None:
    build(database, world, now)
    before = keys(database)

    for clean, parameters in (
        (users.clean, AnonymousUserParameters(enforce=False)),
        (contexts.clean, ContextParameters(enforce=False)),
        (sessions.clean, SessionParameters(enforce=False)),
        (logs.clean, LogParameters(enforce=False)),
    ):
        ran = await run_core(clean, parameters)
        assert (ran.result.items_processed, ran.result.items_failed) == (0, 0)

    assert keys(database) == before
    assert database.one("SELECT count(*) FROM user_sessions WHERE ended_at IS NULL") == sum(
        session.ended is None for session in world.sessions
    )
