"""Jobs for the tests of the service: they do what they say, and say it in a file."""

import asyncio
import os
import signal
import time
from pathlib import Path

from scheduler_daemon.extension import Extension, JobContext, JobResult

extension = Extension("trial")
MARKS = Path("/srv/scheduler-daemon/trial")


def mark(name: str) -> None:
    MARKS.mkdir(exist_ok=True)
    with (MARKS / name).open("a") as file:
        file.write(f"{time.time()} {os.getpid()}\n")


@extension.job(name="nightly", schedule="0 0 3 * * *")
async def nightly(ctx: JobContext) -> JobResult:
    """Say that it ran."""
    ctx.logger.info("the nightly work is done", rows=7)
    mark("nightly")
    return JobResult.success()


@extension.job(name="long", schedule="0 0 0 1 1 *")
async def long(ctx: JobContext) -> JobResult:
    """Take its time."""
    mark("long")
    await asyncio.sleep(600)
    return JobResult.success()


@extension.job(name="stubborn", schedule="0 0 0 1 1 *")
def stubborn(ctx: JobContext) -> JobResult:
    """Hang, deaf to signals, with a child that hangs as well."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    mark("stubborn")
    while True:
        time.sleep(600)
