"""The extension `example`: one job, which greets and counts its greetings."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from scheduler_daemon.extension import Extension, Job, JobContext, JobResult

extension = Extension("example", migrations=Path(__file__).parent / "migrations")

COUNT = """
    INSERT INTO example_greetings AS known (name, times) VALUES (%s, %s)
    ON CONFLICT (name) DO UPDATE SET times = known.times + excluded.times
    RETURNING times
"""


class Greeting(BaseModel, extra="forbid"):
    name: str = "world"
    times: int = Field(default=1, ge=1, le=100, description="How often to say it")


@extension.submit_job
class Hello(Job):
    name = "example_hello"
    description = "Says hello in its log, and counts how often it has"
    schedule = "0 0 * * * *"
    parameters = Greeting

    async def execute(self, ctx: JobContext) -> JobResult:
        wanted: Greeting = ctx.parameters
        async with ctx.step("greet"):
            for done in range(wanted.times):
                ctx.logger.info(f"Hello, {wanted.name}!")
                ctx.progress(done + 1, wanted.times)
        async with ctx.step("count"), ctx.db_pool().connection() as connection:
            cursor = await connection.execute(COUNT, [wanted.name, wanted.times])
            [(times,)] = await cursor.fetchall()
        return JobResult.success().with_stats(wanted.times, 0).with_message(f"{wanted.name}: {times} in all")
