"""`run_job` comes with the daemon's package: it runs a job as a worker would, in this process."""

from __future__ import annotations

from scheduler_example import extension

from scheduler_daemon.testing import RunJob


def test_hello_greets_the_world(run_job: RunJob) -> None:
    run = run_job(extension, "hello")

    assert run.status == "succeeded"
    assert run.message == "greeted world"
    assert run.lines == ["Hello, world!"]


def test_hello_greets_as_often_as_it_is_told(run_job: RunJob) -> None:
    run = run_job(extension, "hello", {"name": "Ada", "times": "3"})

    assert run.items_processed == 3
    assert run.lines == ["Hello, Ada!"] * 3
    assert [(step.name, step.status) for step in run.steps] == [("greet", "succeeded")]


def test_parameters_that_do_not_fit_are_named(run_job: RunJob) -> None:
    run = run_job(extension, "hello", {"times": 0, "nmae": "Ada"})

    assert run.status == "failed"
    assert run.error == (
        "parameters.times: input should be greater than or equal to 1; "
        "parameters.nmae: extra inputs are not permitted"
    )
