"""`run_job` and `make_database` come with scheduler-daemon: a job runs here as it does in a worker."""

from __future__ import annotations

import pytest
from scheduler_example import extension

from scheduler_daemon.testing import MakeDatabase, RunJob


@pytest.fixture
def database_url(make_database: MakeDatabase) -> str:
    assert extension.migrations is not None
    return make_database(extension.migrations)


def test_hello_greets_as_often_as_it_is_told(run_job: RunJob, database_url: str) -> None:
    run = run_job(extension, "example_hello", {"name": "Ada", "times": "3"}, database_url=database_url)

    assert run.status == "succeeded"
    assert run.lines == ["Hello, Ada!"] * 3
    assert [step.name for step in run.steps if step.status == "succeeded"] == ["greet", "count"]


def test_hello_counts_over_all_its_runs(run_job: RunJob, database_url: str) -> None:
    run_job(extension, "example_hello", {"times": 2}, database_url=database_url)
    run = run_job(extension, "example_hello", database_url=database_url)

    assert run.message == "world: 3 in all"
    assert run.items_processed == 1


def test_parameters_that_do_not_fit_are_named(run_job: RunJob) -> None:
    run = run_job(extension, "example_hello", {"times": 0, "nmae": "Ada"})

    assert run.status == "failed"
    assert run.error == (
        "parameters.times: input should be greater than or equal to 1; "
        "parameters.nmae: extra inputs are not permitted"
    )
