"""What a job may do, and what the daemon hears of it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECTIONS = {"demo": {"greeting": "good day"}}
JOBS = """
class Wanted(BaseModel):
    times: int
    where: Path = Path("here")

@extension.submit_job
class Greet(Job):
    description = "Greets"
    parameters = Wanted
    schedule = property(lambda self: "0 0 * * * *")

    def name(self):
        return "greet"

    async def execute(self, ctx: JobContext) -> JobResult:
        ctx.logger.info(ctx.config["greeting"], times=ctx.parameters.times)
        async with ctx.step("greet"):
            await asyncio.sleep(0)
        ctx.progress(1, 2, "half")
        return JobResult.success().with_stats(2, 1).with_message("greeted")

def says(text): return JobResult.success().with_message(text)

def job(function):
    return extension.job(name=function.__name__, schedule="0 0 * * * *")(function)

@job
def nothing(ctx): pass

@job
async def fails(ctx): return JobResult.failure("no milk").with_stats(3, 4)

@job
async def steps(ctx):
    with ctx.step("one", continue_on_error=True) as step:
        raise ValueError("first")
    assert step.failed and step.error == "ValueError: first"
    async with ctx.step("two"):
        raise KeyError("second")

@job
async def many_steps(ctx):
    for number in range(1200):
        with ctx.step(f"step {number}"): pass

@job
def folders(ctx):
    (ctx.temporary_directory / "deep").mkdir()
    (ctx.temporary_directory / "deep" / "file").write_text("x")
    (ctx.state_dir / "kept").write_text("x")
    return says("|".join(map(str, (ctx.temporary_directory, ctx.state_dir, ctx.base_dir, Path.cwd()))))

@job
def facts(ctx):
    when = ctx.scheduled_for.isoformat()
    return says(f"{ctx.run_id} {ctx.job_name} {ctx.kind} {ctx.attempt} {when} {ctx.timezone}")

@job
def prints(ctx):
    print("one")
    ctx.logger.warning("two")
    print("three", file=sys.stderr)
    logging.getLogger("some.library").error("four %s", "4")
    warnings.warn("five")
    os.system("echo six")
    ctypes.CDLL(None).puts(b"seven")
    ctypes.CDLL(None).fflush(None)
    try:
        1 / 0
    except ZeroDivisionError:
        ctx.logger.exception("eight")

@job
async def waits(ctx):
    ctx.logger.info("waiting")
    await asyncio.sleep(3600)

@job
def polls(ctx):
    ctx.logger.info("polling")
    while not ctx.cancelled:
        time.sleep(0.001)
    return JobResult.success().with_message("half done")

@job
def same_process(ctx): return JobResult.success().with_message(str(os.getpid()))

@job
async def keeps_loop(ctx):
    loop = asyncio.get_running_loop()
    known = getattr(extension, "loop", loop)
    extension.loop = loop
    return JobResult.success().with_message(str(known is loop))

@job
def changes_process(ctx):
    os.environ["LEFT"] = "behind"
    os.chdir("/")
    os.umask(0o077)
    sys.stdout = open(os.devnull, "w")
    logging.getLogger().handlers.clear()

@job
def sees_process(ctx):
    umask = os.umask(0); os.umask(umask)
    print("heard")
    logging.info("heard too")
    return says(f"{os.environ.get('LEFT')} {Path.cwd() == ctx.base_dir} {umask:o}")

@job
async def threads(ctx):
    return JobResult.success().with_message(await asyncio.to_thread(lambda: "from a thread"))
"""


async def test_a_run_is_told_from_start_to_outcome(worker: Any) -> None:
    outcome = await worker.result("greet", parameters={"times": "3"})

    assert outcome["status"] == "succeeded"
    assert (outcome["items_processed"], outcome["items_failed"], outcome["message"]) == (2, 1, "greeted")
    assert [(s["name"], s["status"]) for s in outcome["steps"]] == [("greet", "succeeded")]
    assert outcome["started_at"] <= outcome["finished_at"]
    (log,) = worker.all("log")
    assert (log["message"], log["level"], log["fields"]) == ("good day", "info", {"times": 3})
    kinds = [m["t"] for m in worker.messages]
    assert kinds[:2] == ["ready", "started"]
    assert kinds[-1] == "outcome"
    assert [m["status"] for m in worker.all("step")] == ["running", "succeeded"]
    assert [(m["done"], m["total"], m["note"]) for m in worker.all("progress")] == [(1, 2, "half")]


async def test_parameters_that_do_not_fit_fail_the_run_before_it_starts(worker: Any) -> None:
    outcome = await worker.result("greet", parameters={"times": "many"})

    assert outcome["status"] == "failed"
    assert outcome["started_at"] is None
    assert outcome["error"].startswith("parameters.times: input should be a valid integer")
    assert not worker.all("started")


@pytest.mark.parametrize(
    ("extension", "job", "error"),
    [
        ("nowhere", "x", 'no extension "nowhere" is installed'),
        ("demo", "x", 'extension "demo" has no job "x"'),
    ],
)
async def test_what_is_not_installed_fails_with_its_name(
    worker: Any, extension: str, job: str, error: str
) -> None:
    worker.run(job, extension=extension)

    assert (await worker.outcome())["error"] == error


async def test_failure_carries_message_and_counts(worker: Any) -> None:
    outcome = await worker.result("fails")

    assert (outcome["status"], outcome["error"], outcome["message"]) == ("failed", "no milk", "no milk")
    assert (outcome["items_processed"], outcome["items_failed"]) == (3, 4)


async def test_a_traceback_begins_with_the_first_frame_of_the_job(worker: Any) -> None:
    outcome = await worker.result("steps")

    assert "jobplane/run.py" not in outcome["traceback"]
    assert outcome["traceback"].startswith("Traceback (most recent call last):\n")


async def test_a_step_may_fail_without_its_run(worker: Any) -> None:
    outcome = await worker.result("steps")

    assert outcome["error"] == "KeyError: 'second'"
    assert 'raise KeyError("second")' in outcome["traceback"]
    assert "jobplane/run.py" not in outcome["traceback"]  # it starts with the job's own code
    assert [(s["name"], s["status"], s["error"]) for s in outcome["steps"]] == [
        ("one", "failed", "ValueError: first"),
        ("two", "failed", "KeyError: 'second'"),
    ]
    assert "step one failed: ValueError: first" in worker.lines()


async def test_steps_are_bounded_and_the_rest_is_said(worker: Any) -> None:
    outcome = await worker.result("many_steps")

    assert len(outcome["steps"]) == 1000
    assert any("200 more steps" in line for line in worker.lines())


async def test_the_temporary_directory_goes_and_the_state_directory_stays(plane: Any, worker: Any) -> None:
    outcome = await worker.result("folders")

    temporary, state, base, cwd = map(Path, outcome["message"].split("|"))
    assert not temporary.exists()
    assert not list((plane.request.state_dir / "scratch").iterdir())
    assert state == plane.request.state_dir / "extensions" / "demo"
    assert (state / "kept").exists()
    assert base == cwd == plane.request.base_dir


async def test_a_run_knows_who_it_is(worker: Any) -> None:
    outcome = await worker.result("facts", kind="cron", attempt=2, scheduled_for=1_790_000_000.0)

    assert outcome["message"] == "r1 facts cron 2 2026-09-21T14:13:20+00:00 UTC"


async def test_everything_printed_or_logged_is_in_the_log_in_order(worker: Any) -> None:
    await worker.result("prints")

    lines = worker.lines()
    assert [line.split()[0] for line in lines[:4]] == ["one", "two", "three", "four"]
    assert "five" in lines[4]
    assert lines[5:] == ["six", "seven", "eight"]
    modules = {m["message"].split()[0]: (m["module"], m["level"]) for m in worker.all("log")}
    assert modules["one"] == ("stdout", "info")
    assert modules["three"] == ("stderr", "warning")
    assert modules["four"] == ("some.library", "error")
    assert "ZeroDivisionError" in worker.all("log")[-1]["fields"]["traceback"]


async def test_runs_queue_up_and_the_end_of_one_is_heard_with_the_start_of_the_next(
    worker: Any, run_message: Any
) -> None:
    ids = [f"q{n}" for n in range(5)]
    worker.link.send([run_message("nothing", run_id=each) for each in ids])
    await worker.outcome("q4")

    said = [(m["t"], m["id"]) for m in worker.messages if m["t"] in ("started", "outcome")]
    assert said == [(kind, each) for each in ids for kind in ("started", "outcome")]
    heard_in = {(m["t"], m["id"]): n for n, said in enumerate(worker.frames) for m in said if "id" in m}
    assert all(heard_in["outcome", a] == heard_in["started", b] for a, b in pairwise(ids))


async def test_runs_that_wait_can_be_taken_back(worker: Any, run_message: Any) -> None:
    worker.link.send([run_message("polls", run_id="a"), *(run_message("nothing", run_id=i) for i in "bc")])
    await worker.message("started", "a")
    worker.link.send([{"t": "take_back"}])

    assert (await worker.message("returned"))["ids"] == ["b", "c"]
    worker.link.send([{"t": "cancel", "id": "a", "reason": "cancelled"}, run_message("nothing", run_id="d")])
    await worker.outcome("d")
    assert not worker.all("started", "b")


async def test_cancelling_an_async_job_ends_it(worker: Any) -> None:
    worker.run("waits")
    await worker.message("log")
    worker.link.send([{"t": "cancel", "id": "r1", "reason": "timeout"}])

    outcome = await worker.outcome()
    assert (outcome["status"], outcome["error"]) == ("cancelled", "cancelled: timeout")


async def test_cancelling_a_plain_job_flips_ctx_cancelled(worker: Any) -> None:
    worker.run("polls")
    await worker.message("log")
    worker.link.send([{"t": "cancel", "id": "r1", "reason": "cancelled"}])

    outcome = await worker.outcome()
    assert (outcome["status"], outcome["message"]) == ("cancelled", "half done")


async def test_cancelling_a_queued_run_drops_it(worker: Any, run_message: Any) -> None:
    worker.link.send([run_message("polls", run_id="a"), run_message("nothing", run_id="b")])
    await worker.message("started", "a")
    worker.link.send([{"t": "cancel", "id": "b", "reason": "cancelled"}])

    outcome = await worker.outcome("b")
    assert (outcome["status"], outcome["started_at"]) == ("cancelled", None)
    assert not worker.all("outcome", "a")


async def test_an_unknown_run_cannot_be_cancelled_and_nothing_breaks(worker: Any) -> None:
    worker.link.send([{"t": "cancel", "id": "nobody", "reason": "cancelled"}])

    assert (await worker.result("nothing"))["status"] == "succeeded"


async def test_a_worker_keeps_its_process_and_its_loop_across_runs(worker: Any) -> None:
    assert (await worker.result("same_process"))["message"] == str(worker.link.pid)
    await worker.result("keeps_loop", run_id="r2")
    assert (await worker.result("keeps_loop", run_id="r3"))["message"] == "True"
    assert (await worker.result("same_process", run_id="r4"))["message"] == str(worker.link.pid)


async def test_what_a_run_does_to_its_process_does_not_reach_the_next(worker: Any) -> None:
    await worker.result("changes_process")
    outcome = await worker.result("sees_process", run_id="r2")

    assert outcome["message"] == "None True 22"
    assert worker.lines("r2") == ["heard", "heard too"]


async def test_threads_of_the_loop_end_with_the_run(worker: Any) -> None:
    for number in range(3):
        assert (await worker.result("threads", run_id=f"t{number}"))["message"] == "from a thread"
    assert not worker.all("leaving")


async def test_stop_lets_the_run_finish_and_gives_the_others_back(plane: Any, run_message: Any) -> None:
    worker = await plane.worker()
    worker.link.send([run_message("polls", run_id="a"), run_message("nothing", run_id="b")])
    await worker.message("started", "a")
    worker.link.send([{"t": "stop"}, {"t": "cancel", "id": "a", "reason": "shutdown"}])

    assert await worker.exit() == 0
    assert worker.all("outcome", "a")
    assert worker.all("returned")[0]["ids"] == ["b"]


async def test_four_workers_share_a_burst(plane: Any, run_message: Any) -> None:
    workers = await asyncio.gather(*(plane.worker() for _ in range(4)))
    for worker in workers:
        worker.link.send([run_message("nothing", run_id=f"n{n}") for n in range(100)])
    for worker in workers:
        await worker.outcome("n99")
        assert len(worker.all("outcome")) == 100
        worker.link.send([{"t": "stop"}])
        assert await worker.exit() == 0
