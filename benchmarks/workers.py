"""What workers cost: `python benchmarks/workers.py`. Prints one line per figure."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from scheduler_daemon.clock import Clock
from scheduler_daemon.database.embedded import EmbeddedServer
from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.database.migrations import SCHEDULER, apply
from scheduler_daemon.database.temporary import TemporaryServer
from scheduler_daemon.ledger.claims import Claims
from scheduler_daemon.ledger.outcomes import Outcomes
from scheduler_daemon.ledger.presence import Presence
from scheduler_daemon.ledger.values import NodeIdentity
from scheduler_daemon.model import JobSpec, WorkerSettings
from scheduler_daemon.runner.book import Book
from scheduler_daemon.runner.dispatcher import Dispatcher, Request
from scheduler_daemon.runner.plane import Discovery, JobPlane, WorkerLink
from scheduler_daemon.runner.pool import Pool
from scheduler_daemon.runner.recorder import Recorder
from scheduler_daemon.runner.runner import Runner
from scheduler_daemon.runner.spool import Spool

PACKAGE = """
from scheduler_daemon.extension import Extension

extension = Extension("bench")


@extension.job(name="noop", schedule="0 0 * * * *")
async def noop(ctx):
    pass


@extension.job(name="plain", schedule="0 0 * * * *")
def plain(ctx):
    pass


@extension.job(name="query", schedule="0 0 * * * *")
async def query(ctx):
    async with ctx.db_pool().connection() as conn:
        await conn.execute("SELECT 1")
"""


class Seat:
    """One worker; `heard(kind)` completes when it next says that."""

    def __init__(self) -> None:
        self.link: WorkerLink | None = None
        self.outcomes = 0
        self.waiting: dict[str, asyncio.Future[None]] = {}
        self.target = -1
        self.reached: asyncio.Future[None] | None = None

    def on_messages(self, link: WorkerLink, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if future := self.waiting.pop(message["t"], None):
                future.set_result(None)
            if message["t"] == "outcome":
                if message["status"] != "succeeded":
                    sys.exit(f"a run failed: {message['error']}")
                self.outcomes += 1
                if self.outcomes == self.target and self.reached:
                    self.reached.set_result(None)

    def on_exit(self, link: WorkerLink, status: int) -> None:
        pass

    def heard(self, kind: str) -> asyncio.Future[None]:
        self.waiting[kind] = asyncio.get_running_loop().create_future()
        return self.waiting[kind]

    def count(self, more: int) -> asyncio.Future[None]:
        self.target = self.outcomes + more
        self.reached = asyncio.get_running_loop().create_future()
        return self.reached


def run(job: str, number: int) -> dict[str, Any]:
    return {
        "t": "run", "id": f"run-{number}", "name": job, "extension": "bench", "job": job, "kind": "cron",
        "attempt": 1, "scheduled_for": None, "parameters": {}, "memory_limit": None, "timeout_s": None,
    }  # fmt: skip


async def spawn(plane: JobPlane) -> tuple[Seat, float]:
    seat = Seat()
    begun = time.perf_counter()
    ready = seat.heard("ready")
    seat.link = await plane.spawn(on_messages=seat.on_messages, on_exit=seat.on_exit)
    await ready
    return seat, (time.perf_counter() - begun) * 1e3


def report(figure: str, value: float, unit: str, bar: str = "") -> None:
    print(f"{figure:<58} {value:8.2f} {unit:<4} {bar}")


async def one_by_one(seat: Seat, job: str, runs: int) -> float:
    assert seat.link
    took = []
    for number in range(runs):
        done = seat.heard("outcome")
        begun = time.perf_counter()
        seat.link.send([run(job, number)])
        await done
        took.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(took)


async def burst(seats: list[Seat], runs: int, batch: int) -> tuple[float, float]:
    each = runs // len(seats)
    finished = [seat.count(each) for seat in seats]
    cpu, begun = time.process_time(), time.perf_counter()
    for start in range(0, each, batch):
        for seat in seats:
            assert seat.link
            seat.link.send([run("noop", start + i) for i in range(min(batch, each - start))])
    await asyncio.gather(*finished)
    return (time.perf_counter() - begun) * 1e3, (time.process_time() - cpu) * 1e3


def uss(pid: int) -> float:
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean", "Private_Dirty")):
            total += int(line.split()[1])
    return total / 1024


async def measure(url: str, folder: Path) -> None:
    plane = JobPlane(python=Path(sys.executable), log=logging.getLogger("quiet"))  # type: ignore[arg-type]  # says nothing here
    begun = time.perf_counter()
    await plane.start(Discovery(base_dir=folder, state_dir=folder, database_url=url))
    report("zygote: start to catalogue", (time.perf_counter() - begun) * 1e3, "ms")
    seats, forks = [], []
    for _ in range(20):
        seat, took = await spawn(plane)
        seats.append(seat)
        forks.append(took)
    report("fork to ready, median of 20", statistics.median(forks), "ms", "bar 25")
    report("fork to ready, worst of 20", max(forks), "ms")
    report(
        "warm no-op (async), round trip, median of 2,000",
        await one_by_one(seats[0], "noop", 2000),
        "ms",
        "aim 1",
    )
    report(
        "warm no-op (plain), round trip, median of 2,000",
        await one_by_one(seats[0], "plain", 2000),
        "ms",
        "aim 1",
    )
    for batch in (1, 16, 64):
        wall, cpu = await burst(seats[:4], 1000, batch)
        report(f"1,000 no-ops, 4 workers, {batch} a message: wall", wall, "ms")
        report(f"1,000 no-ops, 4 workers, {batch} a message: daemon CPU", cpu, "ms")
    await memory(seats[5])
    await plane.stop(1)


async def claim_to_recorded(folder: Path, runs: int = 500) -> list[float]:
    """Milliseconds from the claim of a warm no-op to its outcome on disk: a durable embedded PostgreSQL,
    and the daemon's own dispatcher, pool, runner and recorder. One run at a time."""
    server = EmbeddedServer(folder, log=lambda line: None)
    await server.start()
    await apply(server.url, [SCHEDULER])
    gateway = Gateway(server.url, log=print)
    await gateway.open()
    plane = JobPlane(python=Path(sys.executable), log=logging.getLogger("quiet"))  # type: ignore[arg-type]  # says nothing here
    await plane.start(Discovery(base_dir=folder, state_dir=folder))
    runner = furnish(gateway, plane, folder)
    await runner.recorder.start()
    await runner.pool.start()
    spec = JobSpec(name="noop", extension="bench", job="noop", schedule="@yearly")
    took = []
    for _ in range(runs):
        begun = time.perf_counter()
        run, _ = await runner.dispatcher.request(Request(spec=spec))
        await runner.finished(str(run.id))
        took.append((time.perf_counter() - begun) * 1e3)
    await runner.pool.stop(1, asyncio.Event())
    await runner.recorder.stop()
    await plane.stop(1)
    await gateway.close()
    await server.stop()
    return took[runs // 10 :]


def furnish(gateway: Gateway, plane: JobPlane, folder: Path) -> Runner:
    clock = Clock()
    node = NodeIdentity(
        id=uuid4(), boot_id=uuid4(), name="bench", machine_id="m", pid=os.getpid(), version="0"
    )
    claims = Claims(gateway, node, offset=clock.offset)
    outcomes = Outcomes(gateway, node)
    recorder = Recorder(outcomes, Spool(folder / "spool.jsonl"))
    runner = Runner(
        recorder=recorder, outcomes=outcomes, presence=Presence(gateway, node, offset=clock.offset)
    )
    pool = Pool(plane, WorkerSettings(min=1, max=1, recycle_after=1_000_000), runner)
    book = Book(unscheduled={"noop": JobSpec(name="noop", extension="bench", job="noop", schedule="@yearly")})
    runner.wire(pool, Dispatcher(claims=claims, book=book, pool=pool, clock=clock, scope=""))
    return runner


async def memory(seat: Seat) -> None:
    assert seat.link
    report("private memory (USS) of a fresh worker", uss(seat.link.pid), "MiB", "bar 10")
    await one_by_one(seat, "noop", 100)
    report("… after 100 no-ops", uss(seat.link.pid), "MiB", "bar 10")
    report("warm SELECT 1 through ctx.db_pool(), median of 200", await one_by_one(seat, "query", 200), "ms")
    report("… USS after 200 queries, pool open", uss(seat.link.pid), "MiB", "bar 10")


def main() -> None:
    server = TemporaryServer()
    try:
        server.start()
        with_database(server.url)
    finally:
        server.stop()


def with_database(url: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        info = folder / "bench-1.0.dist-info"
        info.mkdir()
        (folder / "bench_extension.py").write_text(PACKAGE)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[scheduler_daemon.extensions]\nbench = bench_extension:extension\n"
        )
        os.environ["PYTHONPATH"] = name
        asyncio.run(measure(url, folder))
        took = sorted(asyncio.run(claim_to_recorded(folder / "durable")))
        report("warm no-op, claim to recorded, median of 450", statistics.median(took), "ms", "bar 5")
        report("… 99th percentile", took[int(0.99 * len(took))], "ms")
        report(
            "peak memory of the daemon's side",
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "MiB",
        )


if __name__ == "__main__":
    main()
