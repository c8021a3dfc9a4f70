"""The smallest useful extension: one job that greets."""

from __future__ import annotations

from pydantic import BaseModel, Field

from scheduler_daemon.extension import Extension, Job, JobContext, JobResult

extension = Extension("example")


class Greeting(BaseModel, extra="forbid"):
    name: str = "world"
    times: int = Field(default=1, ge=1, le=100, description="How often to say it")


@extension.submit_job
class Hello(Job):
    name = "hello"
    description = "Says hello in its log: the smallest job there is"
    schedule = "0 0 * * * *"
    parameters = Greeting

    async def execute(self, ctx: JobContext) -> JobResult:
        wanted: Greeting = ctx.parameters
        async with ctx.step("greet"):
            for done in range(wanted.times):
                ctx.logger.info(f"Hello, {wanted.name}!")
                ctx.progress(done + 1, wanted.times)
        return JobResult.success().with_stats(wanted.times, 0).with_message(f"greeted {wanted.name}")
