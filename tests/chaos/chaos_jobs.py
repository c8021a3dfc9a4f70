"""The extension that the chaos suite runs: every run writes its start and its end to its job's own log."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

from scheduler_daemon.extension import Extension, JobContext, JobResult

extension = Extension("chaos")


def note(ctx: JobContext, what: str) -> None:
    """One line, appended in one write: run id, what, when, by whom."""
    line = f"{ctx.run_id} {what} {time.time():.6f} {os.getpid()}\n"
    descriptor = os.open(
        Path(os.environ["CHAOS_LOGS"]) / ctx.job_name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
    )
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@extension.job(name="quick", schedule="* * * * * *")
async def quick(ctx: JobContext) -> JobResult:
    note(ctx, "start")
    note(ctx, "end")
    return JobResult.success()


@extension.job(name="slow", schedule="* * * * * *")
async def slow(ctx: JobContext) -> JobResult:
    note(ctx, "start")
    await asyncio.sleep(random.uniform(0.3, 2.5))
    note(ctx, "end")
    return JobResult.success()


@extension.job(name="plain", schedule="* * * * * *")
def plain(ctx: JobContext) -> JobResult:
    note(ctx, "start")
    time.sleep(random.uniform(0.05, 0.8))
    note(ctx, "end")
    return JobResult.success()


@extension.job(name="failing", schedule="* * * * * *")
def failing(ctx: JobContext) -> JobResult:
    note(ctx, "start")
    note(ctx, "end")
    raise ValueError("as it was asked to")


@extension.job(name="deadly", schedule="* * * * * *")
def deadly(ctx: JobContext) -> JobResult:
    note(ctx, "start")
    if random.random() < 0.3:
        note(ctx, "suicide")
        os.kill(os.getpid(), signal.SIGKILL)
    note(ctx, "end")
    return JobResult.success()
