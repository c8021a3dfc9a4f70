"""Jobs that do their worst: each ends with a clear word, and the worker or the next one goes on."""

from __future__ import annotations

import signal
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOBS = """
def job(function):
    return extension.job(name=function.__name__, schedule="0 0 * * * *")(function)

@job
def fine(ctx): pass

@job
def spins(ctx):
    ctx.logger.info("spinning")
    while True: pass

@job
def exits(ctx):
    ctx.logger.info("before")
    print("last words")
    os._exit(1)

@job
def segfaults(ctx):
    print("here it comes")
    ctypes.string_at(0)

@job
def allocates(ctx):
    return JobResult.success().with_stats(len(bytearray(1 << 30)), 0)

@job
def allocates_slowly(ctx):
    kept = []
    while True: kept.append([0] * 10_000)

@job
def chatters(ctx):
    for number in range(100_000): print(f"line {number}")

@job
def chatters_in_logger(ctx):
    for number in range(100_000): ctx.logger.info(f"line {number}")

@job
def boasts(ctx): return JobResult.success().with_message("x" * 50_000_000)

@job
def one_long_line(ctx): os.write(1, b"y" * 5_000_000)

@job
def leaves_thread(ctx): threading.Thread(target=time.sleep, args=(3600,), name="sleeper", daemon=True).start()

@job
def leaves_child(ctx):
    child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    return JobResult.success().with_message(str(child.pid))

@job
def daemonizes(ctx):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            time.sleep(3600)
        os._exit(0)
    pid = os.read(reader, 100).decode()
    ctx.logger.info("daemonized", pid=int(pid))
    os.wait()
    return JobResult.success().with_message(pid)

@job
def daemonizes_and_spins(ctx):
    daemonizes(ctx)
    while True: pass

@job
def forks_and_returns(ctx):
    if os.fork() == 0:
        ctx.logger.info("from the child")
        return JobResult.failure("I am the child")
    os.wait()
    return JobResult.success().with_message("I am the parent")

@job
async def ignores_cancellation(ctx):
    ctx.logger.info("deaf")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ctx.logger.info("ignored")

@job
def calls_exit(ctx): sys.exit("enough")

@job
async def calls_exit_in_a_task(ctx):
    async def leave(): sys.exit(4)
    asyncio.get_running_loop().create_task(leave())
    await asyncio.sleep(3600)

@job
async def exits_async(ctx): raise SystemExit(3)

@job
async def interrupts(ctx): raise KeyboardInterrupt

@job
async def cancels_itself(ctx): raise asyncio.CancelledError

class Unspeakable(Exception):
    def __str__(self): raise SystemExit("no words")
    __repr__ = __str__

@job
async def unspeakable(ctx): raise Unspeakable

@job
def returns_a_number(ctx): return 3

@job
async def counts_wrongly(ctx): return JobResult.success().with_stats("many", -1)

@job
def mumbles(ctx):
    os.write(1, b"caf\\xe9 \\x00 ol\\xc3\\xa9\\n")
    print("lone \\ud800")
    sys.stdout.buffer.write(b"\\xff\\n")
    odd = {"k\\x00": float("nan"), "s": {1}, "o": object, "big": 10**5000}
    ctx.logger.info("nul \\x00 and \\udfff", odd=odd)
    raise ValueError("nul \\x00 \\ud800")

@job
async def leaves_task(ctx):
    asyncio.get_running_loop().create_task(asyncio.sleep(3600))

@job
async def leaves_stubborn_task(ctx):
    async def stay():
        while True:
            try: await asyncio.sleep(3600)
            except asyncio.CancelledError: pass
    asyncio.get_running_loop().create_task(stay())
    await asyncio.sleep(0)

@job
def recurses(ctx): recurses(ctx)

@job
def alarms(ctx): signal.setitimer(signal.ITIMER_REAL, 0.05)

@job
def closes_everything(ctx): os.closerange(0, 200)

@job
def closes_stdout(ctx): sys.stdout.close()

@job
def closes_its_pipes(ctx): os.closerange(1, 3)

@job
def ignores_sigterm(ctx): signal.signal(signal.SIGTERM, signal.SIG_IGN)

@job
def closes_the_loop(ctx): asyncio.get_event_loop_policy().get_event_loop().close()

@job
async def stops_the_loop(ctx):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(3600)

@job
def runs_its_own_loop(ctx):
    async def inner(): return 5
    return JobResult.success().with_stats(asyncio.run(inner()), 0)

@job
def prints(ctx): print("heard")

@job
def uses_pool(ctx):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return JobResult.success().with_stats(sum(pool.map(abs, [-1, 2])), 0)

@job
def random_numbers(ctx):
    import random, uuid
    return JobResult.success().with_message(f"{random.random()} {uuid.uuid4()}")
"""


async def test_an_endless_loop_is_killed_from_outside(worker: Any) -> None:
    worker.run("spins")
    await worker.message("log")
    worker.link.kill(signal.SIGTERM)

    assert await worker.exit() == -signal.SIGTERM
    assert worker.lines() == ["spinning"]
    assert not worker.all("outcome")


async def test_os_exit_is_told_with_its_code_and_last_words(worker: Any) -> None:
    worker.run("exits")

    assert await worker.exit() == 1
    assert [m["t"] for m in worker.messages][:2] == ["ready", "started"]
    told = "\n".join([*worker.lines(), worker.link.post_mortem or ""])
    assert "before" in told
    assert "last words" in told


async def test_a_segfault_is_told_with_its_signal_and_python_stack(worker: Any) -> None:
    worker.run("segfaults")

    assert await worker.exit() == -signal.SIGSEGV
    assert "Segmentation fault" in worker.link.post_mortem
    assert "in segfaults" in worker.link.post_mortem
    assert "here it comes" in "\n".join([*worker.lines(), worker.link.post_mortem])


@pytest.mark.parametrize("job", ["allocates", "allocates_slowly"])
async def test_a_memory_limit_holds_and_the_worker_is_replaced(worker: Any, job: str) -> None:
    outcome = await worker.result(job, memory_limit=256 << 20)

    assert (outcome["status"], outcome["message"]) == ("failed", "memory limit")
    assert "268,435,456 bytes" in outcome["error"]
    assert (await worker.message("leaving"))["reason"] == "out of memory"
    assert await worker.exit() == 0


async def test_the_memory_limit_ends_with_its_run(worker: Any) -> None:
    await worker.result("fine", memory_limit=64 << 20)

    assert (await worker.result("allocates", run_id="r2"))["status"] == "succeeded"


@pytest.mark.parametrize("job", ["chatters", "chatters_in_logger"])
async def test_log_lines_are_bounded_and_counted(worker: Any, job: str) -> None:
    outcome = await worker.result(job)

    assert len(worker.lines()) == 10_000
    assert outcome["logs_dropped"] == 90_000
    assert max(len(frame) for frame in worker.frames) < 2_000


async def test_a_message_of_50_megabytes_is_truncated_and_says_so(worker: Any) -> None:
    outcome = await worker.result("boasts")

    assert outcome["status"] == "succeeded"
    assert len(outcome["message"]) < 11_000
    assert outcome["message"].endswith("… [truncated: 50,000,000 characters in all]")


async def test_a_line_without_end_is_truncated_and_says_so(worker: Any) -> None:
    await worker.result("one_long_line")

    (line,) = worker.lines()
    assert len(line) < 9_000
    assert line.endswith("[truncated: 5,000,000 bytes in all]")


async def test_a_thread_left_behind_replaces_the_worker(worker: Any, run_message: Any) -> None:
    worker.link.send([run_message("leaves_thread"), run_message("fine", run_id="r2")])

    assert (await worker.outcome())["status"] == "succeeded"
    assert (await worker.message("returned"))["ids"] == ["r2"]
    assert (await worker.message("leaving"))["reason"] == "threads left behind"
    assert await worker.exit() == 0
    assert any("sleeper" in line for line in worker.lines())


@pytest.mark.parametrize("job", ["leaves_child", "daemonizes"])
async def test_a_process_left_behind_is_killed_before_the_outcome(worker: Any, job: str, alive: Any) -> None:
    outcome = await worker.result(job)

    assert outcome["status"] == "succeeded"
    assert not alive(int(outcome["message"]))
    assert any(line.startswith("killed what the run left behind: ") for line in worker.lines())
    assert (await worker.result("fine", run_id="r2"))["status"] == "succeeded"


async def test_killing_a_worker_kills_what_it_detached(worker: Any, alive: Any) -> None:
    worker.run("daemonizes_and_spins")
    pid = (await worker.message("log"))["fields"]["pid"]
    assert alive(pid)
    worker.link.kill(signal.SIGKILL)

    assert await worker.exit() == -signal.SIGKILL
    assert not alive(pid)


async def test_a_child_that_returns_does_not_speak_for_the_worker(worker: Any) -> None:
    outcome = await worker.result("forks_and_returns")

    assert outcome["message"] == "I am the parent"
    assert worker.lines() == ["from the child"]
    assert (await worker.result("fine", run_id="r2"))["status"] == "succeeded"


async def test_a_job_that_ignores_cancellation_dies_by_signal(worker: Any) -> None:
    worker.run("ignores_cancellation")
    await worker.message("log")
    worker.link.send([{"t": "cancel", "id": "r1", "reason": "timeout"}])
    await worker.until(lambda: "ignored" in worker.lines())
    worker.link.kill(signal.SIGTERM)

    assert await worker.exit() == -signal.SIGTERM


@pytest.mark.parametrize(
    ("job", "error"),
    [
        ("calls_exit", "SystemExit: the job called sys.exit(enough)"),
        ("exits_async", "SystemExit: the job called sys.exit(3)"),
        ("calls_exit_in_a_task", "SystemExit: the job called sys.exit(4)"),
        ("interrupts", "KeyboardInterrupt"),
        ("cancels_itself", "CancelledError: raised by the job itself; nobody cancelled the run"),
        ("unspeakable", "Unspeakable: <Unspeakable whose str() raised SystemExit>"),
        ("returns_a_number", "TypeError: execute() returned int; it must return a JobResult or None"),
        (
            "counts_wrongly",
            "TypeError: the result's items_processed is 'many'; it must be a whole number from 0",
        ),
        ("recurses", "RecursionError: maximum recursion depth exceeded"),
    ],
)
async def test_every_way_out_is_a_failed_run_and_the_worker_stays(worker: Any, job: str, error: str) -> None:
    outcome = await worker.result(job)

    assert (outcome["status"], outcome["error"]) == ("failed", error)
    assert (await worker.result("fine", run_id="r2"))["status"] == "succeeded"
    assert not worker.all("leaving")


async def test_what_is_not_text_arrives_as_text(worker: Any) -> None:
    outcome = await worker.result("mumbles")

    assert worker.lines() == [r"caf\xe9 \x00 olé", r"lone \ud800", r"\xff", r"nul \x00 and \udfff"]
    fields = worker.all("log")[-1]["fields"]["odd"]
    assert fields[r"k\x00"] == "nan"
    assert outcome["error"] == r"ValueError: nul \x00 \ud800"


async def test_tasks_left_behind_are_cancelled(worker: Any) -> None:
    await worker.result("leaves_task")

    assert worker.lines() == ["cancelled 1 tasks that the run left behind"]
    assert not worker.all("leaving")


async def test_a_task_that_will_not_end_replaces_the_worker(worker: Any) -> None:
    await worker.result("leaves_stubborn_task")

    assert (await worker.message("leaving"))["reason"] == "tasks left behind"
    assert await worker.exit() == 0


async def test_an_alarm_does_not_reach_the_next_run(worker: Any) -> None:
    await worker.result("alarms")
    for number in range(100):
        assert (await worker.result("fine", run_id=f"f{number}"))["status"] == "succeeded"


async def test_a_job_that_closes_the_worker_s_own_files_ends_its_worker(worker: Any) -> None:
    worker.run("closes_everything")

    assert await worker.exit() != 0


async def test_closed_streams_are_opened_anew(worker: Any) -> None:
    await worker.result("closes_stdout")
    await worker.result("prints", run_id="r2")

    assert worker.lines("r2") == ["heard"]


async def test_a_worker_without_its_pipes_is_replaced(worker: Any) -> None:
    assert (await worker.result("closes_its_pipes"))["status"] == "succeeded"
    assert (await worker.message("leaving"))["reason"] == "its output streams were closed"
    assert await worker.exit() == 0


async def test_a_signal_handler_does_not_outlive_its_run(worker: Any) -> None:
    await worker.result("ignores_sigterm")
    worker.run("spins", run_id="r2")
    await worker.message("log", "r2")
    worker.link.kill(signal.SIGTERM)

    assert await worker.exit() == -signal.SIGTERM


async def test_a_closed_loop_replaces_the_worker_and_loses_no_outcome(worker: Any) -> None:
    assert (await worker.result("closes_the_loop"))["status"] == "succeeded"
    assert (await worker.message("leaving"))["reason"] == "its event loop was closed"
    assert await worker.exit() == 0


async def test_a_job_may_stop_the_loop_or_run_its_own(worker: Any) -> None:
    outcome = await worker.result("stops_the_loop")
    assert outcome["error"] == "RuntimeError: Event loop stopped before Future completed."
    assert (await worker.result("runs_its_own_loop", run_id="r2"))["items_processed"] == 5
    assert (await worker.result("calls_exit_in_a_task", run_id="r3"))["status"] == "failed"
    assert not worker.all("leaving")


async def test_a_process_pool_works(worker: Any) -> None:
    outcome = await worker.result("uses_pool")

    assert (outcome["status"], outcome["items_processed"]) == ("succeeded", 3)


async def test_workers_do_not_share_their_random_numbers(plane: Any, worker: Any) -> None:
    other = await plane.worker()
    one, two = await worker.result("random_numbers"), await other.result("random_numbers")
    other.link.kill(9)
    await other.exit()

    assert not set(one["message"].split()) & set(two["message"].split())
