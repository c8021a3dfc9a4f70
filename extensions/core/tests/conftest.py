"""A run of the core's jobs on a real database: the context is a small real one, the clock may be set."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from scheduler_core import extension
from scheduler_core.maintenance import MaintenanceRun, maintenance

from scheduler_daemon.extension import JobResult

MIGRATIONS = extension.migrations
assert MIGRATIONS is not None

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class RecordingLogger:
    lines: list[tuple[str, str]] = field(default_factory=list)

    def debug(self, message: str, /, **fields: Any) -> None:
        self.lines.append(("debug", message))

    def info(self, message: str, /, **fields: Any) -> None:
        self.lines.append(("info", message))

    def warning(self, message: str, /, **fields: Any) -> None:
        self.lines.append(("warning", message))

    def error(self, message: str, /, **fields: Any) -> None:
        self.lines.append(("error", message))

    def exception(self, message: str, /, **fields: Any) -> None:
        self.lines.append(("error", message))


class RecordingStep(AbstractContextManager[Any]):
    """One of a context's steps: it keeps its error, and swallows it if it may."""

    def __init__(self, name: str, swallow: bool) -> None:
        self.name = name
        self.failed = False
        self.error: str | None = None
        self._swallow = swallow

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None:
            return False
        self.failed, self.error = True, str(error)
        return self._swallow and isinstance(error, Exception)

    async def __aenter__(self) -> RecordingStep:
        return self

    async def __aexit__(self, *told: Any) -> bool:
        return self.__exit__(*told)


@dataclass
class Context:
    """A JobContext over a pool of one connection; `after_progress` runs between batches."""

    pool: AsyncConnectionPool
    parameters: Any
    folder: Path
    run_id: str = "018f0000-0000-7000-8000-000000000000"
    job_name: str = "a_job"
    kind: str = "manual"
    attempt: int = 1
    scheduled_for: datetime | None = None
    timezone: str = "Asia/Kathmandu"
    config: Any = None
    logger: Any = field(default_factory=RecordingLogger)
    steps: list[RecordingStep] = field(default_factory=list)
    reports: list[tuple[int, int | None, str]] = field(default_factory=list)
    after_progress: Callable[[Context], None] | None = None
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.base_dir = self.state_dir = self.temporary_directory = self.folder

    def db_pool(self) -> AsyncConnectionPool:
        return self.pool

    def sync_db(self) -> AbstractContextManager[Any]:
        raise AssertionError("no job here uses it")

    def step(self, name: str, *, continue_on_error: bool = False) -> Any:
        self.steps.append(RecordingStep(name, continue_on_error))
        return self.steps[-1]

    def progress(self, done: int, total: int | None = None, note: str = "") -> None:
        self.reports.append((done, total, note))
        if self.after_progress is not None:
            self.after_progress(self)

    def resources(self, kind: str) -> Sequence[tuple[str, Path]]:
        return ()


@dataclass
class Ran:
    result: JobResult
    ctx: Context

    @property
    def message(self) -> str:
        assert self.result.message is not None
        return self.result.message


Clean = Callable[[MaintenanceRun[Any]], Awaitable[JobResult]]


class RunCore(Protocol):
    async def __call__(
        self,
        clean: Clean,
        parameters: Any,
        *,
        now: datetime | None = NOW,
        after_progress: Callable[[Context], None] | None = None,
    ) -> Ran: ...


class Database:
    """The database under test: `rows` reads, `execute` writes, the rest makes rows with sane defaults."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True, options="-c timezone=UTC")
        self._ids = itertools.count(1)

    def execute(self, query: Any, *parameters: Any) -> int:
        return self.connection.execute(query, parameters or None).rowcount

    def rows(self, query: Any, *parameters: Any) -> list[Any]:
        found = self.connection.execute(query, parameters or None).fetchall()
        return [row[0] if len(row) == 1 else row for row in found]

    def one(self, query: Any, *parameters: Any) -> Any:
        (row,) = self.rows(query, *parameters)
        return row

    def id(self, prefix: str) -> str:
        return f"{prefix}{next(self._ids)}"

    def insert(self, table: str, **values: Any) -> None:
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        self.connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))

    def user(self, *, age: timedelta, roles: Sequence[str] = ("anonymous",), now: datetime = NOW) -> str:
        user = self.id("u")
        self.insert(
            "users", id=user, name=user, email=f"{user}@example.org", roles=list(roles), created_at=now - age
        )
        return user

    def session(
        self,
        *,
        idle: timedelta = timedelta(0),
        lasted: timedelta = timedelta(minutes=5),
        ended: timedelta | None = None,
        now: datetime = NOW,
        **values: Any,
    ) -> str:
        session = self.id("s")
        self.insert(
            "user_sessions",
            session_id=session,
            started_at=now - idle - lasted,
            last_activity_at=now - idle,
            ended_at=None if ended is None else now - ended,
            **values,
        )
        return session

    def context(self, *, user: str, age: timedelta, now: datetime = NOW, **values: Any) -> str:
        context = self.id("c")
        self.insert("user_contexts", context_id=context, user_id=user, created_at=now - age, **values)
        return context

    def task(self, context: str) -> str:
        task = self.id("t")
        self.insert("agent_tasks", task_id=task, context_id=context)
        return task

    def message(self, task: str, context: str) -> None:
        self.insert("task_messages", task_id=task, message_id=self.id("m"), role="user", context_id=context)

    def log(self, *, age: timedelta, now: datetime = NOW, **values: Any) -> str:
        line = self.id("l")
        known = {"level": "INFO", "module": "test", "message": line, **values}
        self.insert("logs", id=line, timestamp=now - age, **known)
        return line


@pytest.fixture
def database(make_database: Any) -> Iterator[Database]:
    """Our own schema, empty."""
    made = Database(make_database(MIGRATIONS, scheduler=False))
    yield made
    made.connection.close()


@pytest.fixture
def bare_database(make_database: Any) -> Iterator[Database]:
    """No table at all."""
    made = Database(make_database(scheduler=False))
    yield made
    made.connection.close()


@pytest.fixture
def run_core(tmp_path: Path, request: pytest.FixtureRequest) -> RunCore:
    """Run one job's work on `database` (or `bare_database`) as of `now` (None: the server's clock)."""
    fixture = "bare_database" if "bare_database" in request.fixturenames else "database"
    database: Database = request.getfixturevalue(fixture)

    async def run(
        clean: Clean,
        parameters: Any,
        *,
        now: datetime | None = NOW,
        after_progress: Callable[[Context], None] | None = None,
    ) -> Ran:
        async with AsyncConnectionPool(database.url, min_size=1, max_size=2, open=False) as pool:
            ctx = Context(pool=pool, parameters=parameters, folder=tmp_path, after_progress=after_progress)
            async with maintenance(ctx) as run:
                result = await clean(run if now is None else replace(run, now=now))
            return Ran(result=result, ctx=ctx)

    return run


@pytest.fixture
def now() -> datetime:
    """The time of runs that are given none."""
    return NOW
