"""The jobs: the whole pipeline, and each of its steps alone."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field

from scheduler_daemon.extension import Extension, Job, JobContext, JobResult
from scheduler_web.publish.build import Build, Surroundings
from scheduler_web.publish.config import PublishConfig
from scheduler_web.publish.manifest import Manifest
from scheduler_web.publish.problems import ContentError, PublishError
from scheduler_web.publish.steps import STEPS, Step
from scheduler_web.publish.workshop import Workshop

SHOWN = 50
"""Lines of problems, or of files in a dry run, that go to the log; the rest is counted."""


OUTPUT = "web-output"
"""Of the ten jobs, which write the same output, one runs at a time."""


class PublishParameters(BaseModel):
    """`dry_run`: say what would change, and change nothing."""

    model_config = ConfigDict(extra="forbid")
    dry_run: bool = Field(default=False, description="say what would change, and change nothing")


def publish(
    ctx: JobContext, steps: Sequence[Step] = STEPS, clock: Callable[[], float] = time.time
) -> JobResult:
    """Run the steps, each whatever became of the others, and publish what they made.

    The run fails when a step does; the readers then see the failed step's files from before beside the
    others' new ones. Raises when nothing could be published; the site is then as it was.
    """
    config: PublishConfig = ctx.config
    workshop = Workshop(ctx.base_dir / config.output)
    with _few_collections(), workshop.opened(cancelled=lambda: ctx.cancelled), _database(ctx) as database:
        build = Build(around=_surroundings(ctx, database, clock()), workshop=workshop)
        if len(steps) < len(STEPS) and workshop.live and not build.wanted.entries:
            raise PublishError(
                f"{workshop.output} was made by another version of the program, and one step cannot "
                "renew it: run publish_pipeline first"
            )
        failures: list[str] = []
        durations: list[tuple[float, str]] = []
        for number, step in enumerate(steps):
            ctx.progress(number, len(steps), step.name)
            error, took_s = _run(ctx, build, step)
            durations.append((took_s, step.name))
            if error:
                build.failed.add(step.name)
                failures.append(f"{step.name}: {error}")
        ctx.progress(len(steps), len(steps))
        return _finish(ctx, build, (steps, failures, max(durations)))


@contextmanager
def _few_collections() -> Iterator[None]:
    """Thousands of documents come to stay: looking through them for cycles again and again finds none."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run(ctx: JobContext, build: Build, step: Step) -> tuple[str | None, float]:
    """What went wrong in the step, in one line, and the seconds that it took."""
    if ctx.cancelled:
        raise asyncio.CancelledError
    told: str | None = None
    started = ended = time.perf_counter()
    with ctx.step(step.name, continue_on_error=True):
        started = time.perf_counter()
        try:
            step.run(build)
        except PublishError as error:
            told = str(error)
            _log_problems(ctx, error)
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise
        finally:
            ended = time.perf_counter()
    return told, ended - started


def _log_problems(ctx: JobContext, error: PublishError) -> None:
    problems = error.problems if isinstance(error, ContentError) else ()
    for problem in problems[:SHOWN]:
        ctx.logger.error(str(problem), file=problem.file, line=problem.line)
    if len(problems) > SHOWN:
        ctx.logger.error(f"{len(problems) - SHOWN:,} more problems")


def _surroundings(ctx: JobContext, database: Any, now: float) -> Surroundings:
    return Surroundings(
        config=ctx.config,
        base_dir=ctx.base_dir,
        zone=ZoneInfo(ctx.timezone),
        now=now,
        database=database,
        templates=tuple(ctx.resources("web.templates")),
        assets=tuple(ctx.resources("web.assets")),
        cancelled=lambda: ctx.cancelled,
        dry_run=_dry(ctx),
    )


def _dry(ctx: JobContext) -> bool:
    return bool(getattr(ctx.parameters, "dry_run", False))


@contextmanager
def _database(ctx: JobContext) -> Iterator[Callable[[], Any]]:
    """A dry run does all on one connection and takes it back."""
    if not _dry(ctx):
        yield ctx.sync_db
        return
    with ctx.sync_db() as connection, connection.transaction(force_rollback=True):

        @contextmanager
        def same() -> Iterator[Connection[Any]]:
            yield connection

        yield same


def _finish(
    ctx: JobContext, build: Build, ran: tuple[Sequence[Step], list[str], tuple[float, str]]
) -> JobResult:
    steps, failures, slowest = ran
    build.seal({step.name for step in steps}, all_of_them=len(steps) == len(STEPS))
    new = list(build.staged)
    gone = [path for path in build.touched if path not in build.wanted.entries]
    if build.around.dry_run:
        _show(ctx, "would write", new)
        _show(ctx, "would remove", gone)
    else:
        build.index.save()
        build.publish()
    _report(ctx, build)
    same = len(build.wanted.entries) - len(new)
    summary = f"{len(new):,} written, {same:,} unchanged, {len(gone):,} removed"
    if build.around.dry_run:
        summary = f"dry run: would write {len(new):,}, leave {same:,}, remove {len(gone):,}"
    summary = f"{summary}; slowest {slowest[1]} {_took(slowest[0])}"
    done = len(steps) - len(failures)
    if failures:
        message = f"{done} succeeded, {len(failures)} failed: {'; '.join(failures)} ({summary})"
        return JobResult.failure(message).with_stats(done, len(failures))
    return JobResult.success().with_stats(done, 0).with_message(summary)


def _took(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _show(ctx: JobContext, verb: str, paths: list[str]) -> None:
    for path in sorted(paths)[:SHOWN]:
        ctx.logger.info(f"{verb} {path}")
    if len(paths) > SHOWN:
        ctx.logger.info(f"{verb} {len(paths) - SHOWN:,} more files")


def _report(ctx: JobContext, build: Build) -> None:
    """Doubts about the content, told by the run in which they are new."""
    if not build.changed:
        return
    manifest: Manifest = build.wanted
    warnings = [w for found in build.index.warnings.values() for w in found]
    problems = sorted({*warnings, *(p for found in manifest.problems.values() for p in found)})
    for problem in problems[:SHOWN]:
        ctx.logger.warning(str(problem), file=problem.file, line=problem.line)
    if len(problems) > SHOWN:
        ctx.logger.warning(f"{len(problems) - SHOWN:,} more problems in the content")


class PublishPipeline(Job):
    name = "publish_pipeline"
    description = "Publish the site: Markdown to pages, sitemap and feeds, in nine steps"
    schedule = "0 */15 * * * *"
    run_on_startup = True
    concurrency = OUTPUT
    parameters = PublishParameters

    def execute(self, ctx: JobContext) -> JobResult:
        return publish(ctx)


class StepJob(Job):
    """One step alone; the others' files stay as they are."""

    run_on_startup = False
    schedule = "0 */15 * * * *"
    concurrency = OUTPUT
    parameters = PublishParameters

    def __init__(self, step: Step) -> None:
        self.name = step.name
        self.description = f"{step.description} (step of publish_pipeline)"
        self._step = step

    def execute(self, ctx: JobContext) -> JobResult:
        return publish(ctx, (self._step,))


def register(extension: Extension) -> None:
    """Add the pipeline's ten jobs to the extension."""
    extension.jobs.append(PublishPipeline())
    extension.jobs.extend(StepJob(step) for step in STEPS)


__all__ = ["PublishPipeline", "publish", "register"]
