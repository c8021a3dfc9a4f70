"""Chaos: real daemons on a real server, and all that can happen to them; then the accounts are checked.

    python tests/chaos/suite.py [--seconds 300] [--seed N] [--daemons 2]

It prints its seed, what it did, and at the end one line: `0 unaccounted, 0 doubled, N lost of N killed`.
Exit status 1 if the accounts do not balance.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from scheduler_daemon.database.embedded import EmbeddedServer

HERE = Path(__file__).parent
PROGRAM = Path(sys.executable).parent / "scheduler-daemon"
JOBS = {"quick": 12, "slow": 6, "plain": 6, "failing": 3, "deadly": 3}
LONG_STOP_S = 40.0


@dataclass
class Killed:
    """What the suite did that may lose runs: pids of workers; daemons, and when they were hit."""

    workers: set[int] = field(default_factory=set)
    daemons: list[tuple[int, float]] = field(default_factory=list)
    stopped: list[tuple[int, float, float]] = field(default_factory=list)


class World:
    """A folder with a server, a configuration and daemons; everything in it ends with it."""

    def __init__(self, folder: Path, daemons: int, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.logs = folder / "joblogs"
        self.clock = folder / "clock"
        self.config = folder / "config" / "config.yaml"
        self.server = EmbeddedServer(folder / "server", log=lambda line: None)
        self.daemons: list[subprocess.Popen[bytes] | None] = [None] * daemons
        self.killed = Killed()
        self.offset = 0
        self.revision = 0
        self.counts: dict[str, int] = {}
        self.url = ""

    async def start(self) -> None:
        for path in (self.logs, self.config.parent, self.folder / "extension" / "chaos-1.dist-info"):
            path.mkdir(parents=True)
        shutil.copy(HERE / "chaos_jobs.py", self.folder / "extension")
        info = self.folder / "extension" / "chaos-1.dist-info"
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos\nVersion: 1\n")
        (info / "entry_points.txt").write_text(
            "[scheduler_daemon.extensions]\nchaos = chaos_jobs:extension\n"
        )
        self.set_clock(0)
        await self.server.start()
        self.url = self.server.url
        self.write_configuration()
        for number in range(len(self.daemons)):
            self.start_daemon(number)

    async def stop(self) -> None:
        for number, daemon in enumerate(self.daemons):
            if daemon is not None:
                self.signal_daemon(number, signal.SIGCONT)
                self.signal_daemon(number, signal.SIGTERM)
        for daemon in self.daemons:
            if daemon is not None:
                await asyncio.to_thread(daemon.wait, 120)

    def write_configuration(self, *, enabled: bool = True) -> None:
        """Thirty jobs, once a second; with every new revision some of them move."""
        self.revision += 1
        lines = [
            f"database: {{url: '{self.url}'}}",
            "workers: {max: 6}",
            "shutdown_grace: 4s",
            "scheduler:",
            "  jobs:",
        ]
        for kind, count in JOBS.items():
            for number in range(count):
                moved = self.revision > 1 and self.random.random() < 0.2
                seconds = f"*/{self.random.choice((2, 3))}" if moved else "*"
                overlap = ("skip", "queue", "skip")[number % 3]
                misfire = ("latest", "skip", "latest" if kind == "slow" else "all")[number % 3]
                lines.append(
                    f"    - {{name: {kind}{number}, extension: chaos, job: {kind}, "
                    f'schedule: "{seconds} * * * * *", enabled: {str(enabled).lower()}, '
                    f"overlap: {overlap}, misfire: {misfire}}}"
                )
        self.config.write_text("\n".join(lines) + "\n")

    def start_daemon(self, number: int) -> None:
        state = self.folder / f"node{number}"
        state.mkdir(exist_ok=True)
        log = (self.folder / f"daemon{number}.log").open("ab")
        self.daemons[number] = subprocess.Popen(
            [PROGRAM, "run", "--config", self.config],
            env={
                **os.environ,
                "STATE_DIRECTORY": str(state),
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(self.folder / "extension"), os.environ.get("PYTHONPATH")])
                ),
                "CHAOS_LOGS": str(self.logs),
                "SCHEDULER_DAEMON_TEST_CLOCK": str(self.clock),
            },
            stdout=log,
            stderr=log,
        )
        log.close()

    def signal_daemon(self, number: int, what: int) -> None:
        daemon = self.daemons[number]
        if daemon is not None and daemon.poll() is None:
            daemon.send_signal(what)

    def set_clock(self, offset: int) -> None:
        self.offset = offset
        temporary = self.clock.with_suffix(".new")
        temporary.write_text(str(offset))
        temporary.rename(self.clock)

    def workers(self) -> list[int]:
        return [pid for d in self.daemons if d is not None for pid in job_processes(d.pid)]

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        print(f"  {time.strftime('%H:%M:%S')} {what}", flush=True)


def job_processes(pid: int) -> list[int]:
    """The zygote and the workers of a daemon."""
    found = []
    for child in _children(pid):
        if b"jobplane" in _command(child):
            found += [child, *(c for c in _children(child) if b"jobplane" in _command(c))]
    return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    return []


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


async def kill_worker(world: World) -> None:
    pids = world.workers()
    if pids:
        pid = world.random.choice(pids)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            # A zygote takes its workers with it; stopped, it forks no more.
            world.killed.workers.update([pid, *_children(pid)])
            os.kill(pid, signal.SIGKILL)


async def kill_daemon(world: World) -> None:
    number = world.random.randrange(len(world.daemons))
    daemon = world.daemons[number]
    if daemon is None or daemon.poll() is not None:
        world.start_daemon(number)
        return
    world.killed.daemons.append((number, time.time()))
    daemon.kill()
    await asyncio.to_thread(daemon.wait)
    await asyncio.sleep(world.random.uniform(0, 3))
    world.start_daemon(number)


async def restart_daemon(world: World) -> None:
    number = world.random.randrange(len(world.daemons))
    daemon = world.daemons[number]
    world.killed.daemons.append((number, time.time()))
    world.signal_daemon(number, signal.SIGTERM)
    if daemon is not None:
        await asyncio.to_thread(daemon.wait, 90)
    world.start_daemon(number)


async def stop_and_continue(world: World, seconds: float | None = None) -> None:
    number = world.random.randrange(len(world.daemons))
    began = time.time()
    world.signal_daemon(number, signal.SIGSTOP)
    await asyncio.sleep(seconds or world.random.uniform(1, 9))
    world.signal_daemon(number, signal.SIGCONT)
    world.killed.stopped.append((number, began, time.time()))


async def stop_and_continue_long(world: World) -> None:
    await stop_and_continue(world, LONG_STOP_S)


async def restart_database(world: World) -> None:
    await world.server.stop()
    await asyncio.sleep(world.random.uniform(0.5, 4))
    await world.server.start()


async def cut_connections(world: World) -> None:
    with contextlib.suppress(psycopg.Error):
        async with await psycopg.AsyncConnection.connect(world.url, autocommit=True) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )


async def step_clock(world: World) -> None:
    world.set_clock(world.offset + world.random.choice((20, 45, 90, -15, -40)))


async def reload(world: World) -> None:
    world.write_configuration()
    for number in range(len(world.daemons)):
        world.signal_daemon(number, signal.SIGHUP)


EVENTS = {
    kill_worker: 6,
    kill_daemon: 3,
    restart_daemon: 1,
    stop_and_continue: 2,
    restart_database: 1,
    cut_connections: 2,
    step_clock: 2,
    reload: 2,
}


async def rampage(world: World, seconds: float) -> None:
    end = time.monotonic() + seconds
    long_stop_at = time.monotonic() + seconds / 3 if seconds > 4 * LONG_STOP_S else None
    highest = 0
    while time.monotonic() < end:
        await asyncio.sleep(world.random.uniform(0.5, 3))
        if long_stop_at is not None and time.monotonic() > long_stop_at:
            event, long_stop_at = stop_and_continue_long, None
        else:
            event = world.random.choices(list(EVENTS), list(EVENTS.values()))[0]
        world.count(event.__name__)
        await event(world)
        highest = max(highest, world.offset)
        for number, daemon in enumerate(world.daemons):
            if daemon is not None and daemon.poll() not in (None, -signal.SIGKILL):
                print(f"  daemon {number} ended by itself: {daemon.returncode}", flush=True)
                world.start_daemon(number)
    world.set_clock(highest)


async def settle(world: World) -> None:
    """All back to normal for a while; then nothing new is planned, what waits runs out, and all stop."""
    for number, daemon in enumerate(world.daemons):
        world.signal_daemon(number, signal.SIGCONT)
        if daemon is None or daemon.poll() is not None:
            world.start_daemon(number)
    await asyncio.sleep(8)
    world.write_configuration(enabled=False)
    for number in range(len(world.daemons)):
        world.signal_daemon(number, signal.SIGHUP)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and await _anything_live(world):
        await asyncio.sleep(1)
    await asyncio.sleep(2)
    await world.stop()


async def _anything_live(world: World) -> bool:
    with contextlib.suppress(psycopg.Error):
        async with await psycopg.AsyncConnection.connect(world.url) as connection:
            cursor = await connection.execute(
                "SELECT EXISTS (SELECT 1 FROM scheduler.runs WHERE status IN ('queued', 'running')), "
                "(SELECT configuration::text LIKE '%\"enabled\": true%' FROM scheduler.config_revisions "
                "ORDER BY id DESC LIMIT 1)"
            )
            row = await cursor.fetchone()
            return row is None or bool(row[0]) or bool(row[1])
    return True


async def chaos(seconds: float, seed: int, daemons: int, keep: bool) -> int:
    from accounts import check  # beside this file

    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {seed}, {daemons} daemons, {seconds:.0f} s, in {folder}", flush=True)
    world = World(folder, daemons, seed)
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for number in (signal.SIGHUP, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await world.start()
        await asyncio.sleep(5)
        await rampage(world, seconds)
        await settle(world)
        verdict = await check(world.url, world.logs, world.killed, folder)
    finally:
        for daemon in world.daemons:
            if daemon is not None and daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        await world.server.stop()
    print("  " + ", ".join(f"{count} {what}" for what, count in sorted(world.counts.items())))
    for finding in verdict.findings[:30]:
        print(f"  ! {finding}")
    print(verdict.line, flush=True)
    if verdict.good and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if verdict.good else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--daemons", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all is well")
    given = parser.parse_args()
    sys.exit(asyncio.run(chaos(given.seconds, given.seed, given.daemons, given.keep)))


if __name__ == "__main__":
    main()
