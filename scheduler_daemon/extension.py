"""The public contract: all that an extension may import (its tests also: scheduler_daemon.testing).

    from scheduler_daemon.extension import Extension, Job, JobContext, JobResult

    extension = Extension("my_extension")

    @extension.submit_job
    class MyJob(Job):
        name = "my_job"
        description = "What it does, in a line"
        schedule = "0 0 * * * *"

        async def execute(self, ctx: JobContext) -> JobResult:
            return JobResult.success().with_stats(42, 0)

The package names its `extension` in the entry-point group `scheduler_daemon.extensions`; an entry of
`scheduler.jobs` in the configuration then schedules the job.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import AsyncConnectionPool

ENTRY_POINT_GROUP = "scheduler_daemon.extensions"

J = TypeVar("J", bound="type[Job]")
Function = Callable[["JobContext"], "JobResult | Awaitable[JobResult | None] | None"]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobResult:
    """What a job reports. Its duration is measured by the runner, not told by the job."""

    ok: bool
    message: str | None = None
    items_processed: int | None = None
    items_failed: int | None = None

    @classmethod
    def success(cls) -> Self:
        return cls(ok=True)

    @classmethod
    def failure(cls, message: str) -> Self:
        return cls(ok=False, message=message)

    def with_stats(self, processed: int, failed: int) -> Self:
        """Counts of items handled and not handled, both ≥ 0."""
        return replace(self, items_processed=processed, items_failed=failed)

    def with_message(self, message: str) -> Self:
        return replace(self, message=message)


class Logger(Protocol):
    """A structured logger: `ctx.logger.info("sent", channel="ops")`. Fields must fit into JSON."""

    def debug(self, message: str, /, **fields: Any) -> None: ...
    def info(self, message: str, /, **fields: Any) -> None: ...
    def warning(self, message: str, /, **fields: Any) -> None: ...
    def error(self, message: str, /, **fields: Any) -> None: ...
    def exception(self, message: str, /, **fields: Any) -> None: ...


class Step(AbstractContextManager["Step"], Protocol):
    """One named step of a run; works with `with` and `async with`.

    `failed` and `error` are set once it has ended with an exception (under `continue_on_error`, which
    swallows `Exception`, never a cancellation).
    """

    name: str
    failed: bool
    error: str | None

    async def __aenter__(self) -> Step: ...
    async def __aexit__(self, *exc: object) -> bool | None: ...


class JobContext(Protocol):
    """What a run may use. One per run; do not keep it."""

    run_id: str
    job_name: str
    kind: str
    attempt: int
    scheduled_for: datetime | None
    timezone: str
    parameters: Any
    """An instance of the job's `parameters` model, or a plain dict where it has none."""
    config: Any
    """The extension's own section: an instance of its `config_model`, or a plain dict."""
    base_dir: Path
    """What relative paths in the configuration start from."""
    logger: Logger

    @property
    def state_dir(self) -> Path:
        """A folder of this extension's own inside the daemon's state directory; made at first use."""

    @property
    def temporary_directory(self) -> Path:
        """Made at first use, removed after the run."""

    def db_pool(self) -> AsyncConnectionPool:
        """The worker's asynchronous pool, opened at first use; connections are named after the run."""

    def sync_db(self) -> AbstractContextManager[Connection[Any]]:
        """A connection for a plain function; commits at the end of the block, rolls back on an exception."""

    def step(self, name: str, *, continue_on_error: bool = False) -> Step:
        """Record a named step of the run, with its duration and its error."""

    def progress(self, done: int, total: int | None = None, note: str = "") -> None: ...

    @property
    def cancelled(self) -> bool:
        """True once the run shall end. An `async def execute` is cancelled besides."""

    def resources(self, kind: str) -> Sequence[tuple[str, Path]]:
        """(extension, folder) of every loaded extension that declares a resource of this kind."""


class Job:
    """A job: subclass it, name it, write `execute`.

    `name`, `description`, `schedule`, `run_on_startup` and `concurrency` may be class attributes, properties
    or methods without arguments. `schedule` is the code's default, shown where the configuration has no
    entry. Of jobs with the same `concurrency` one runs at a time; the configuration may name another key.
    `parameters` may be a pydantic model. `execute` may be `async def` or a plain function, which then
    runs in the worker's main thread. Returning None means success.
    """

    name: Any = ""
    description: Any = ""
    schedule: Any = ""
    run_on_startup: Any = False
    concurrency: Any = ""
    parameters: ClassVar[type | None] = None

    def execute(self, ctx: JobContext) -> JobResult | Awaitable[JobResult | None] | None:
        raise NotImplementedError(f"{type(self).__name__} has no execute()")


class _FunctionJob(Job):
    def __init__(self, function: Function, **attributes: Any) -> None:
        self.execute = function  # type: ignore[method-assign,assignment]  # the function is the job
        for name, value in attributes.items():
            setattr(self, name, value)


class Extension:
    """A named set of jobs, with what else the package brings.

    config_model: pydantic model of the section `extensions.NAME` of the configuration.
    migrations:   folder of numbered .sql files, applied before the extension's first job runs.
    resources:    kind → folder, for other extensions to use (`web.assets`, `web.templates`).
    """

    def __init__(
        self,
        name: str,
        *,
        config_model: type | None = None,
        migrations: Path | None = None,
        resources: Mapping[str, Path] | None = None,
    ) -> None:
        self.name = name
        self.config_model = config_model
        self.migrations = migrations
        self.resources = dict(resources or {})
        self.jobs: list[Job] = []

    def submit_job(self, job: J) -> J:
        """Register a job class (a decorator)."""
        self.jobs.append(job())
        return job

    def job(
        self,
        *,
        name: str,
        schedule: str,
        description: str = "",
        run_on_startup: bool = False,
        concurrency: str = "",
        parameters: type | None = None,
    ) -> Callable[[Function], Function]:
        """Register a function of one argument, the context, as a job (a decorator)."""

        def register(function: Function) -> Function:
            self.jobs.append(
                _FunctionJob(
                    function,
                    name=name,
                    schedule=schedule,
                    description=description or (function.__doc__ or "").strip().partition("\n")[0],
                    run_on_startup=run_on_startup,
                    concurrency=concurrency,
                    parameters=parameters,
                )
            )
            return function

        return register


__all__ = ["Extension", "Job", "JobContext", "JobResult", "Logger", "Step"]
