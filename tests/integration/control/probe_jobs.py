"""The extension that the control tests run."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from scheduler_daemon.extension import Extension, JobContext, JobResult

extension = Extension("probe")


class Wish(BaseModel):
    times: int = Field(default=1, ge=1, le=5, description="How often")
    mood: Literal["calm", "wild"] = "calm"
    loud: bool = False
    names: list[str] = []
    token: SecretStr | None = None


def gate(ctx: JobContext) -> Path:
    return Path(os.environ["PROBE_GATES"]) / ctx.job_name


@extension.job(name="steps", schedule="0 0 0 1 1 *", description="Two steps, a log line, some progress")
async def steps(ctx: JobContext) -> JobResult:
    async with ctx.step("first"):
        ctx.logger.info("half way", part=1)
        ctx.progress(1, 2, "half")
    async with ctx.step("second"):
        ctx.progress(2, 2)
    return JobResult.success().with_stats(2, 0).with_message("both done")


@extension.job(name="floods", schedule="0 0 0 1 1 *")
def floods(ctx: JobContext) -> None:
    for number in range(10_005):
        print(number)  # what the job is for


@extension.job(name="log_cleanup", schedule="0 0 0 1 1 *")
def log_cleanup(ctx: JobContext) -> JobResult:
    """In place of the core extension's."""
    return JobResult.success().with_message(str(ctx.parameters))


@extension.job(name="neighbour", schedule="0 0 0 1 1 *", concurrency="waits")
def neighbour(ctx: JobContext) -> None:
    """Shares a key with the job that waits; in no entry of the configuration"""


@extension.job(name="fails", schedule="0 0 0 1 1 *")
async def fails(ctx: JobContext) -> JobResult:
    ctx.logger.error("about to fail")
    ctx.logger.warning("for the last time")
    async with ctx.step("bad", continue_on_error=True):
        raise ValueError("no\x1b[31m good")
    raise RuntimeError("as it was asked to")


@extension.job(name="waits", schedule="0 0 0 1 1 *", description="Until its gate is opened")
async def waits(ctx: JobContext) -> JobResult:
    ctx.logger.info("waiting")
    while not gate(ctx).exists():
        await asyncio.sleep(0.02)
    return JobResult.success()


@extension.job(name="noisy", schedule="0 0 0 1 1 *", description="More lines than a slow reader takes")
async def noisy(ctx: JobContext) -> JobResult:
    for number in range(6000):
        ctx.logger.info("line", number=number, padding="x" * 200)
    return JobResult.success()


@extension.job(name="typed", schedule="0 0 0 1 1 *", parameters=Wish)
async def typed(ctx: JobContext) -> JobResult:
    wish: Wish = ctx.parameters
    return JobResult.success().with_message(f"{wish.times} {wish.mood} {wish.loud} {','.join(wish.names)}")


@extension.job(name="quick", schedule="* * * * * *")
async def quick(ctx: JobContext) -> JobResult:
    return JobResult.success()


@extension.job(name="idle", schedule="0 0 0 1 1 *", description="In no entry of the configuration")
async def idle(ctx: JobContext) -> JobResult:
    return JobResult.success()
