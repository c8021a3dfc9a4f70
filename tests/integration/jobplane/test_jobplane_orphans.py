"""Whoever dies, nothing is left behind, and the daemon hears of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scheduler_daemon.errors import JobPlaneError

JOBS = """
@extension.job(name="detaches", schedule="0 0 * * * *")
def detaches(ctx):
    child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    (ctx.temporary_directory / "file").write_text("x")
    ctx.logger.info("detached", pid=child.pid)
    while True: time.sleep(1)

@extension.job(name="fine", schedule="0 0 * * * *")
def fine(ctx): pass

@extension.job(name="environment", schedule="0 0 * * * *")
def environment(ctx):
    names = [n for n in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS") if n in os.environ]
    score = Path("/proc/self/oom_score_adj").read_text().strip()
    same = [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()]
    ignored = int([l for l in open("/proc/self/status") if l.startswith("SigIgn")][0].split()[1], 16)
    return JobResult.success().with_message(f"{names} {score} {same} {bool(ignored & 2)}")
"""

DAEMON = """
import asyncio, logging, sys
from pathlib import Path
from scheduler_daemon.runner.plane import Discovery, JobPlane

class Log:
    def __getattr__(self, name): return lambda *a, **k: None

async def main():
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    plane = JobPlane(python=Path(sys.executable), log=Log())
    await plane.start(Discovery(base_dir=folder, state_dir=folder))
    def heard(link, messages):
        for m in messages:
            if m["t"] == "log": print(plane._current.pid, link.pid, m["fields"]["pid"], flush=True)
    link = await plane.spawn(on_messages=heard, on_exit=lambda *a: None)
    link.send([{
        "t": "run", "id": "r1", "name": "detaches", "extension": "demo", "job": "detaches", "kind": "manual",
        "attempt": 1, "scheduled_for": None, "parameters": {}, "memory_limit": None, "timeout_s": None,
    }])
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture
async def started(packages: Any, make_plane: Any) -> Any:
    packages.add("demo", JOBS)
    plane = make_plane()
    await plane.start(plane.request)
    return plane


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_when_the_daemon_dies_all_is_gone_within_a_second(
    packages: Any, tmp_path: Path, gone: Any, signum: int
) -> None:
    packages.add("demo", JOBS)
    script = tmp_path / "daemon.py"
    script.write_text(DAEMON)
    daemon = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert daemon.stdout
        line = await asyncio.to_thread(daemon.stdout.readline)
        pids = list(map(int, line.split()))
        assert len(pids) == 3
        daemon.send_signal(signum)
        await gone(*pids)
    finally:
        daemon.kill()
        await asyncio.to_thread(daemon.wait)
        assert daemon.stdout
        daemon.stdout.close()


async def test_a_zygote_that_dies_takes_its_workers_and_another_is_started(
    packages: Any, make_plane: Any, gone: Any
) -> None:
    packages.add("demo", JOBS)
    told: list[Any] = []
    plane = make_plane(on_catalogue=told.append)
    await plane.start(plane.request)
    worker = await plane.worker()
    worker.run("detaches")
    await worker.message("log")
    os.kill(plane._current.pid, signal.SIGKILL)

    assert await worker.exit() == -signal.SIGKILL
    await gone(worker.link.pid)
    other = await plane.worker()
    assert (await other.result("fine"))["status"] == "succeeded"
    assert plane.restarts == 1
    assert [e.name for e in told[0].extensions] == ["demo"]
    assert "the zygote died; its workers with it {'cause': 'died of SIGKILL'" in plane.log.text()


async def test_what_a_job_detached_does_not_outlive_its_zygote(started: Any, gone: Any) -> None:
    worker = await started.worker()
    worker.run("detaches")
    child = (await worker.message("log"))["fields"]["pid"]
    os.kill(started._current.pid, signal.SIGKILL)

    await gone(child)
    await worker.exit()
    await started.worker()


async def test_a_new_daemon_ends_what_a_job_of_the_old_one_had_detached(
    packages: Any, make_plane: Any, tmp_path: Path, gone: Any, alive: Any
) -> None:
    packages.add("demo", JOBS)
    script = tmp_path / "daemon.py"
    script.write_text(DAEMON)
    daemon = subprocess.Popen([sys.executable, str(script), str(tmp_path / "state")], stdout=subprocess.PIPE)
    assert daemon.stdout
    zygote, worker, child = map(int, (await asyncio.to_thread(daemon.stdout.readline)).split())
    for pid in (zygote, worker):
        os.kill(pid, signal.SIGSTOP)
    for pid in (daemon.pid, zygote, worker):
        os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(daemon.wait)
    daemon.stdout.close()
    await gone(zygote, worker)
    assert alive(child)

    plane = make_plane()
    await plane.start(plane.request)

    await gone(child)
    assert "ended processes that a job had left behind {'processes': ['sleep" in plane.log.text()


async def test_a_second_plane_on_the_same_state_directory_harms_nobody(started: Any, make_plane: Any) -> None:
    worker = await started.worker()
    worker.run("detaches")
    await worker.message("log")
    second = make_plane()
    await second.start(second.request)
    await second.stop(0)

    assert list((started.request.state_dir / "scratch").glob("worker-*/r1/file"))
    assert (await (await started.worker()).result("fine"))["status"] == "succeeded"
    assert worker.status is None


async def test_closing_a_worker_s_channel_ends_it_and_its_children(started: Any, gone: Any) -> None:
    worker = await started.worker()
    worker.run("detaches")
    child = (await worker.message("log"))["fields"]["pid"]
    worker.link._transport.abort()

    assert await worker.exit() == 75
    await gone(worker.link.pid, child)


async def test_the_scratch_of_a_killed_worker_is_removed(started: Any) -> None:
    worker = await started.worker()
    worker.run("detaches")
    await worker.message("log")
    scratch = started.request.state_dir / "scratch"
    assert list(scratch.iterdir())
    worker.link.kill(signal.SIGKILL)
    await worker.exit()

    async with asyncio.timeout(10):
        while list(scratch.iterdir()):
            await asyncio.sleep(0.01)


async def test_stopping_ends_every_process_and_may_be_repeated(started: Any, gone: Any) -> None:
    busy, idle = await started.worker(), await started.worker()
    busy.run("detaches")
    child = (await busy.message("log"))["fields"]["pid"]
    zygote = started._current.pid
    await started.stop(0.2)
    await started.stop(0)

    assert await idle.exit() == 0
    assert await busy.exit() == -signal.SIGKILL
    await gone(busy.link.pid, idle.link.pid, zygote, child, within_s=1)
    with pytest.raises(JobPlaneError, match="stopped"):
        await started.worker()


async def test_stop_before_start_is_fine(make_plane: Any) -> None:
    await make_plane().stop(1)


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def test_a_worker_s_surroundings(
    packages: Any, make_plane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.add("demo", JOBS)
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"):
        monkeypatch.setenv(name, "1")
    plane = make_plane()
    await plane.start(plane.request)
    first, second = await plane.worker(), await plane.worker()

    outcome = await second.result("environment")
    assert outcome["message"] == "[] 500 [True, True] False"
    assert open_files(second.link.pid) <= open_files(first.link.pid)


async def test_a_worker_that_hears_nothing_ends_itself() -> None:
    import socket

    from scheduler_daemon.jobplane import channel as room

    class Nobody:
        def receive(self, message: Any) -> None: ...
        def drain(self) -> None: ...

    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        room.Channel(theirs, (), silence_s=0.3).start(Nobody())
        signal.pause()
        os._exit(0)
    theirs.close()
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1]) == 75
    ours.close()


async def test_a_stopped_zygote_does_not_hold_up_a_caller_for_ever(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler_daemon.runner.generation._FORK_S", 0.3)
    os.kill(started._current.pid, signal.SIGSTOP)
    with pytest.raises(JobPlaneError, match=r"did not fork a worker within 0\.3 s"):
        await started.worker()
    os.kill(started._current.pid, signal.SIGCONT)

    assert (await (await started.worker()).result("fine"))["status"] == "succeeded"
