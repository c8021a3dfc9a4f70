"""Generated users, sessions, conversations and logs, the same for the same seed.

    python -m scheduler_core.seed --users 100000 --database postgresql:///application

Everything hangs together: accounts of every kind and age, with sessions that ended, fell idle or are open,
and contexts that are empty, have a task but no message, or hold a conversation.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import Connection, sql

Row = tuple[Any, ...]

ROLES = (["anonymous"], ["anonymous", "user"], ["user"], ["user", "admin"])
ROLE_WEIGHTS = (70, 12, 17, 1)
SESSIONS_PER_USER = (0, 1, 1, 1, 2, 4)
CONTEXTS_PER_USER = (0, 0, 1, 1, 2, 4)
LEVELS = ("ERROR", "WARN", "INFO", "DEBUG")
LEVEL_WEIGHTS = (1, 4, 75, 20)
MODULES = ("api", "agent", "content", "oauth", "mcp", "scheduler")
EMPTY, TASK_ONLY, CONVERSATION = 0.45, 0.10, 0.45
"""Shares of contexts; the last is the rest."""

COLUMNS = {
    "users": ("id", "name", "email", "roles", "created_at", "updated_at"),
    "user_sessions": (
        "session_id",
        "user_id",
        "started_at",
        "last_activity_at",
        "ended_at",
        "duration_seconds",
        "expires_at",
        "user_type",
        "request_count",
    ),
    "user_contexts": ("context_id", "user_id", "session_id", "name", "kind", "created_at", "updated_at"),
    "agent_tasks": ("task_id", "context_id", "status", "user_id", "created_at", "updated_at"),
    "task_messages": (
        "task_id",
        "message_id",
        "role",
        "context_id",
        "sequence_number",
        "created_at",
        "updated_at",
    ),
    "mcp_tool_executions": (
        "mcp_execution_id",
        "tool_name",
        "server_name",
        "status",
        "context_id",
        "started_at",
        "created_at",
    ),
    "governance_decisions": ("id", "tool_name", "decision", "context_id", "created_at"),
    "logs": ("id", "timestamp", "level", "module", "message", "user_id"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much to make: `users`, and `logs` lines; ages are spread over `days` before `now` (aware)."""

    users: int
    logs: int
    days: int = 120
    seed: int = 1
    now: datetime


class Generator:
    """Rows by table, in an order in which every row finds what it refers to."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = Random(plan.seed)  # noqa: S311  # test data, not a secret
        self._users: list[tuple[str, datetime, list[str]]] = []
        self._sessions: dict[str, list[str]] = {}
        self._contexts: list[tuple[str, str, datetime]] = []
        self._tasks: list[tuple[str, str, datetime]] = []

    def tables(self) -> Iterator[tuple[str, Iterable[Row]]]:
        yield "users", self._make_users()
        yield "user_sessions", self._make_sessions()
        yield "user_contexts", self._make_contexts()
        yield "agent_tasks", self._make_tasks()
        yield "task_messages", self._make_messages()
        yield "mcp_tool_executions", self._make_executions()
        yield "governance_decisions", self._make_decisions()
        yield "logs", self._make_logs()

    def _make_users(self) -> Iterator[Row]:
        for number in range(self._plan.users):
            user, created = self._id("u", number), self._before(self._plan.now)
            roles = self._random.choices(ROLES, ROLE_WEIGHTS)[0]
            self._users.append((user, created, roles))
            yield user, user, f"{user}@example.org", roles, created, created

    def _make_sessions(self) -> Iterator[Row]:
        number = 0
        for user, created, roles in self._users:
            for _ in range(self._random.choice(SESSIONS_PER_USER)):
                session = self._id("s", number)
                number += 1
                self._sessions.setdefault(user, []).append(session)
                times = self._times(created)
                expires = times[0] + timedelta(days=7)
                yield session, user, *times, expires, _kind(roles), self._random.randrange(1, 40)

    def _times(self, created: datetime) -> Row:
        """started, last activity, ended, duration: over by the application's word, or merely silent."""
        started = self._between(created, self._plan.now)
        active = min(started + timedelta(seconds=self._random.expovariate(1 / 600)), self._plan.now)
        if self._random.random() < 0.4:
            return started, active, None, None
        return started, active, active, int((active - started).total_seconds())

    def _make_contexts(self) -> Iterator[Row]:
        for user, created, _ in self._users:
            for _ in range(self._random.choice(CONTEXTS_PER_USER)):
                context, born = self._id("c", len(self._contexts)), self._between(created, self._plan.now)
                sessions = self._sessions.get(user, [])
                session = self._random.choice(sessions) if sessions else None
                kind = "cli_session" if session and self._random.random() < 0.1 else "user"
                self._contexts.append((context, user, born))
                yield context, user, session, "Conversation", kind, born, born

    def _make_tasks(self) -> Iterator[Row]:
        for context, user, born in self._contexts:
            if self._random.random() < EMPTY:
                continue
            for _ in range(self._random.choice((1, 1, 2))):
                task = self._id("t", len(self._tasks))
                self._tasks.append((task, context, born))
                yield task, context, "completed", user, born, born

    def _make_messages(self) -> Iterator[Row]:
        number = 0
        for task, context, born in self._tasks:
            if self._random.random() < TASK_ONLY / (TASK_ONLY + CONVERSATION):
                continue
            for place in range(self._random.randrange(2, 8)):
                yield task, self._id("m", number), ("user", "agent")[place % 2], context, place, born, born
                number += 1

    def _make_executions(self) -> Iterator[Row]:
        for number, (context, _, born) in enumerate(self._some_contexts(0.05)):
            yield self._id("x", number), "search", "content", "success", context, born, born

    def _make_decisions(self) -> Iterator[Row]:
        for number, (context, _, born) in enumerate(self._some_contexts(0.03)):
            yield self._id("g", number), "search", self._random.choice(("allow", "deny")), context, born

    def _some_contexts(self, share: float) -> Iterator[tuple[str, str, datetime]]:
        return (context for context in self._contexts if self._random.random() < share)

    def _make_logs(self) -> Iterator[Row]:
        for number in range(self._plan.logs):
            level = self._random.choices(LEVELS, LEVEL_WEIGHTS)[0]
            module = self._random.choice(MODULES)
            text = f"request {self._random.randrange(10**9)} handled in {self._random.randrange(400)} ms"
            yield self._id("l", number), self._before(self._plan.now), level, module, text, None

    def _id(self, prefix: str, number: int) -> str:
        return f"{prefix}-{self._plan.seed}-{number}"

    def _before(self, moment: datetime) -> datetime:
        return moment - timedelta(seconds=self._random.uniform(0, self._plan.days * 86_400))

    def _between(self, start: datetime, end: datetime) -> datetime:
        return start + (end - start) * self._random.random()


def fill(connection: Connection[Any], plan: Plan) -> dict[str, int]:
    """Write what the plan asks for, in one transaction, into the application's tables, which are made where
    absent. Returns table → rows. Raises psycopg.errors.UniqueViolation where this seed was used before."""
    written: dict[str, int] = {}
    with connection.transaction():
        connection.execute("SET LOCAL client_min_messages = warning")
        for file in sorted((Path(__file__).parent / "migrations").glob("*.sql")):
            connection.execute(file.read_text(encoding="utf-8"))
        for table, rows in Generator(plan).tables():
            written[table] = _copy(connection, table, rows)
    return written


def _copy(connection: Connection[Any], table: str, rows: Iterable[Row]) -> int:
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS[table]))
    number = 0
    with connection.cursor() as cursor:
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier("public", table), columns)
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
                number += 1
    return number


def _kind(roles: Sequence[str]) -> str:
    return "registered" if "user" in roles else "anon"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not options.database:
        return _fail("which database? Give --database URL, or set DATABASE_URL")
    began = time.monotonic()
    plan = Plan(
        users=options.users,
        logs=options.users if options.logs is None else options.logs,
        days=options.days,
        seed=options.seed,
        now=datetime.now(UTC),
    )
    try:
        with psycopg.connect(options.database) as connection:
            written = fill(connection, plan)
            connection.commit()
            connection.autocommit = True
            connection.execute("ANALYZE")
    except psycopg.errors.UniqueViolation:
        return _fail(f"seed {plan.seed} is in this database already; choose another one with --seed")
    except psycopg.Error as exc:
        return _fail(str(exc).strip().replace("\n", " "))
    for table, rows in written.items():
        sys.stdout.write(f"{rows:>12,}  {table}\n")
    sys.stdout.write(f"in {time.monotonic() - began:.1f} s\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scheduler_core.seed", description="Fill a database with generated application data."
    )
    parser.add_argument("--users", type=_natural, default=1_000, help="accounts (default 1,000)")
    parser.add_argument("--logs", type=_natural, help="lines of public.logs (default: as many as users)")
    parser.add_argument("--days", type=_natural, default=120, help="how far back things go (default 120)")
    parser.add_argument(
        "--seed", type=_natural, default=1, help="the same seed makes the same data (default 1)"
    )
    parser.add_argument(
        "--database", default=os.environ.get("DATABASE_URL", ""), help="its URL (default: $DATABASE_URL)"
    )
    return parser


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def _fail(text: str) -> int:
    sys.stderr.write(f"scheduler_core.seed: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
