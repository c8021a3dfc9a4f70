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

from scheduler_daemon.database.temporary import TemporaryServer
from scheduler_daemon.runner.plane import Discovery, JobPlane, WorkerLink

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
        report(
            "peak memory of the daemon's side",
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "MiB",
        )


if __name__ == "__main__":
    main()
