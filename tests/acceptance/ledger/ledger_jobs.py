"""What the daemons of these tests run: each run notes its start, and ends as its job's name says."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from scheduler_daemon.extension import Extension, JobContext, JobResult

extension = Extension("stage")
GATES = Path(os.environ.get("STAGE_GATES", "."))


class Ask(BaseModel):
    gate: str = "shut"


def note(ctx: JobContext, what: str, more: Any = "") -> None:
    """One line in one write: the job, what, the run, more."""
    descriptor = os.open(GATES / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{ctx.job_name} {what} {ctx.run_id} {more}\n".encode())
    finally:
        os.close(descriptor)


async def until_open(ctx: JobContext) -> JobResult:
    note(ctx, "start", os.getpid())
    while not (GATES / ctx.parameters.gate).exists():
        await asyncio.sleep(0.01)
    note(ctx, "end")
    return JobResult.success()


@extension.job(name="quick", schedule="@yearly")
async def quick(ctx: JobContext) -> JobResult:
    note(ctx, "start", ctx.kind)
    return JobResult.success()


@extension.job(name="gate", schedule="@yearly", parameters=Ask)
async def gate(ctx: JobContext) -> JobResult:
    return await until_open(ctx)


@extension.job(name="fails", schedule="@yearly")
async def fails(ctx: JobContext) -> JobResult:
    note(ctx, "start", ctx.attempt)
    raise ValueError(f"attempt {ctx.attempt}")


@extension.job(name="dies_once", schedule="@yearly")
def dies_once(ctx: JobContext) -> JobResult:
    note(ctx, "start", ctx.attempt)
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return JobResult.success()


@extension.job(name="stubborn", schedule="@yearly")
def stubborn(ctx: JobContext) -> JobResult:
    """Hears nothing, SIGTERM neither; has a child in a session of its own, and works in the database."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    note(ctx, "child", child.pid)
    with ctx.sync_db() as connection:
        note(ctx, "start", os.getpid())
        connection.execute("SELECT pg_sleep(600)")
    while True:
        time.sleep(1)


@extension.job(name="boot", schedule="@yearly", parameters=Ask, run_on_startup=True)
async def boot(ctx: JobContext) -> JobResult:
    return await until_open(ctx)


@extension.job(name="bootless", schedule="@yearly", run_on_startup=True)
async def bootless(ctx: JobContext) -> JobResult:
    note(ctx, "start", ctx.kind)
    raise RuntimeError("cannot boot")
