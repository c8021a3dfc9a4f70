"""The extension that the tests of the runner play with: each job does what its parameters ask for."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, field_validator

from scheduler_daemon.extension import Extension, JobContext, JobResult

extension = Extension("stage")
GATES = Path(os.environ.get("STAGE_GATES", "."))


class Ask(BaseModel):
    gate: str = "shut"
    lines: int = 0
    secret: str | None = None
    seconds: float = 0.0


class Deadly(BaseModel):
    last_words: str = ""

    @field_validator("last_words")
    @classmethod
    def check(cls, value: str) -> str:
        os._exit(3)


def note(ctx: JobContext, what: str, more: Any = "") -> None:
    """One line in one write."""
    descriptor = os.open(GATES / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{ctx.run_id} {what} {more}\n".encode())
    finally:
        os.close(descriptor)


@extension.job(name="quick", schedule="* * * * * *", parameters=Ask)
async def quick(ctx: JobContext) -> JobResult:
    note(ctx, "start")
    for number in range(ctx.parameters.lines):
        ctx.logger.info("line", number=number)
    return JobResult.success().with_stats(3, 1).with_message(f"attempt {ctx.attempt}")


@extension.job(name="gate", schedule="* * * * * *", parameters=Ask)
async def gate(ctx: JobContext) -> JobResult:
    """Until its gate is open."""
    note(ctx, "start")
    while not (GATES / ctx.parameters.gate).exists():
        await asyncio.sleep(0.01)
    return JobResult.success()


@extension.job(name="boot", schedule="0 0 0 1 1 *", parameters=Ask, run_on_startup=True)
async def boot(ctx: JobContext) -> JobResult:
    return await gate(ctx)


@extension.job(name="boot2", schedule="0 0 0 1 1 *", parameters=Ask, run_on_startup=True)
async def boot2(ctx: JobContext) -> JobResult:
    return await gate(ctx)


@extension.job(name="stubborn", schedule="* * * * * *", parameters=Ask)
def stubborn(ctx: JobContext) -> JobResult:
    """Hears nothing, SIGTERM neither, and has a child."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["/bin/sleep", "600"])
    note(ctx, "pid", child.pid)
    note(ctx, "pid", os.getpid())
    note(ctx, "start")
    while not (GATES / ctx.parameters.gate).exists():
        time.sleep(0.01)
    return JobResult.success()


@extension.job(name="dies", schedule="* * * * * *")
def dies(ctx: JobContext) -> JobResult:
    note(ctx, "start")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@extension.job(name="poison", schedule="* * * * * *", parameters=Deadly)
def poison(ctx: JobContext) -> JobResult:
    """Its worker dies before the job's first line."""
    raise AssertionError


@extension.job(name="fails", schedule="* * * * * *")
def fails(ctx: JobContext) -> JobResult:
    note(ctx, "start")
    raise ValueError(f"attempt {ctx.attempt}")


@extension.job(name="hog", schedule="* * * * * *", parameters=Ask)
def hog(ctx: JobContext) -> JobResult:
    """Holds the interpreter's lock: not even the worker's other threads run meanwhile."""
    note(ctx, "start")
    end = time.monotonic() + ctx.parameters.seconds
    while time.monotonic() < end:
        re.match(r"(a+)+$", "a" * 24 + "b")
    return JobResult.success()
