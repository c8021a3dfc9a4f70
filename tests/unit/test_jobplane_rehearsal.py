"""`run_job`: a job in this process, with the context that a worker gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from scheduler_daemon.extension import Extension, JobResult
from scheduler_daemon.testing import RunJob


class Section(BaseModel):
    room: str


@pytest.fixture
def extension(tmp_path: Path) -> Extension:
    made = Extension("demo", config_model=Section, resources={"assets": tmp_path})

    @made.job(name="reports", schedule="0 0 * * * *")
    async def reports(ctx: Any) -> JobResult:
        (ctx.temporary_directory / "x").write_text("x")
        with ctx.step("one", continue_on_error=True):
            raise ValueError("no")
        ctx.progress(1, 2)
        return JobResult.failure(f"{ctx.config.room} {ctx.resources('assets')[0][0]}").with_stats(1, 2)

    @made.job(name="queries", schedule="0 0 * * * *")
    async def queries(ctx: Any) -> JobResult:
        async with ctx.db_pool().connection() as conn:
            (name,) = await (await conn.execute("SELECT current_setting('application_name')")).fetchone()
        return JobResult.success().with_message(name)

    @made.job(name="raises", schedule="0 0 * * * *")
    def raises(ctx: Any) -> None:
        raise SystemExit(3)

    return made


def test_a_rehearsed_run_tells_all(run_job: RunJob, extension: Extension) -> None:
    run = run_job(extension, "reports", config={"room": "kitchen"})

    assert (run.status, run.error) == ("failed", "kitchen demo")
    assert (run.items_processed, run.items_failed) == (1, 2)
    assert [(s.name, s.status, s.error) for s in run.steps] == [("one", "failed", "ValueError: no")]
    assert run.lines == ["step one failed: ValueError: no"]
    assert run.progress[0]["done"] == 1


def test_a_wrong_section_is_named(run_job: RunJob, extension: Extension) -> None:
    assert run_job(extension, "reports").error == "extensions.demo.room: field required"


def test_it_has_a_real_database(run_job: RunJob, extension: Extension, scheduler_postgres: str) -> None:
    run = run_job(extension, "queries", config={"room": "x"}, database_url=scheduler_postgres)

    assert (run.status, run.message) == ("succeeded", "run:rehearsal")


def test_every_exit_is_caught(run_job: RunJob, extension: Extension) -> None:
    assert run_job(extension, "raises", config={"room": "x"}).error == (
        "SystemExit: the job called sys.exit(3)"
    )


def test_a_job_that_is_not_there_is_said(run_job: RunJob, extension: Extension) -> None:
    with pytest.raises(LookupError, match='"demo" registers no job "absent"'):
        run_job(extension, "absent")


async def test_inside_a_loop_it_says_what_to_do(run_job: RunJob, extension: Extension) -> None:
    with pytest.raises(RuntimeError, match="plain test function"):
        run_job(extension, "raises")
