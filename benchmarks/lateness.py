"""How late jobs start, against how many are due in the same second; beside APScheduler alone.

    python benchmarks/lateness.py [--seconds 10] [--counts 1,100,1000,5000]

Ours: a real daemon on the embedded PostgreSQL: claimed and recorded durably, run in worker processes,
started_at stamped by the worker just before the job's first line. APScheduler: its AsyncIOScheduler alone,
in memory, jobs in its own process. Lateness is started_at minus the planned instant.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

EXTENSION = """
from scheduler_daemon.extension import Extension, JobResult
extension = Extension("bench")
@extension.job(name="noop", schedule="* * * * * *")
async def noop(ctx):
    return JobResult.success()
"""
WARM_UP_S = 5


def write_extension(folder: Path) -> None:
    info = folder / "bench_extension-1.dist-info"
    info.mkdir(parents=True)
    (folder / "bench_extension.py").write_text(EXTENSION)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-extension\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[scheduler_daemon.extensions]\nbench = bench_extension:extension\n"
    )


def write_configuration(folder: Path, schedules: list[str], workers: int) -> Path:
    file = folder / "config" / "config.yaml"
    file.parent.mkdir(parents=True)
    lines = [f"workers: {{min: {workers}, max: {workers}}}", "scheduler:", "  jobs:"]
    lines += [
        f'  - {{name: job{n}, extension: bench, job: noop, schedule: "{s}", enabled: true}}'
        for n, s in enumerate(schedules)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


class RunningDaemon:
    """`scheduler-daemon run` as a process of its own, in a folder of its own."""

    def __init__(self, schedules: list[str], *, workers: int = 8) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lateness-"))
        write_extension(self.folder / "extension")
        self.config = write_configuration(self.folder, schedules, workers)
        self.start()

    def start(self) -> None:
        self.began = time.time()
        self.log = (self.folder / "log").open("w")
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "scheduler-daemon"), "run", "--config", str(self.config)],
            env={**os.environ, "PYTHONPATH": str(self.folder / "extension")},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        while "is ready" not in (self.folder / "log").read_text():
            if self.process.poll() is not None:
                sys.exit((self.folder / "log").read_text())
            time.sleep(0.02)
        self.ready_s = time.time() - self.began

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def query(self, statement: str) -> list[tuple[object, ...]]:
        import psycopg

        sockets = self.folder / "var/postgres/run"
        with psycopg.connect(f"host={sockets} dbname=scheduler user=postgres") as connection:
            return connection.execute(statement).fetchall()  # type: ignore[arg-type]

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()

    def stop(self) -> None:
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def ours(count: int, seconds: int) -> dict[str, float]:
    daemon = RunningDaemon(["* * * * * *"] * count)
    time.sleep(WARM_UP_S)
    since = datetime.now(UTC)
    cpu, began = daemon.cpu_s(), time.monotonic()
    time.sleep(seconds)
    share = (daemon.cpu_s() - cpu) / (time.monotonic() - began)
    time.sleep(3)
    start = f"timestamptz '{since.isoformat()}'"
    where = f"planned AND scheduled_for > {start} AND scheduled_for <= {start} + interval '{seconds} s'"
    rows = daemon.query(f"SELECT lateness_ms FROM scheduler.runs WHERE status = 'succeeded' AND {where}")

    other = daemon.query(
        f"SELECT coalesce(sum(instants), 0) FROM scheduler.runs WHERE status <> 'succeeded' AND {where}"
    )
    daemon.stop()
    late = sorted(float(row[0]) for row in rows)  # type: ignore[arg-type]
    return figures(late, seconds * count) | {"cpu": share, "other": float(other[0][0])}  # type: ignore[arg-type]


def apscheduler_alone(count: int, seconds: int) -> dict[str, float]:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from apscheduler.triggers.cron import CronTrigger

    late: list[float] = []
    measuring = False

    async def job() -> None:
        now = time.time()
        if measuring:
            late.append((now - int(now)) * 1000)

    async def run() -> float:
        nonlocal measuring
        scheduler = AsyncIOScheduler(timezone=UTC)
        for _ in range(count):
            scheduler.add_job(job, CronTrigger(second="*", timezone=UTC), misfire_grace_time=None)
        scheduler.start()
        await asyncio.sleep(WARM_UP_S)
        measuring, cpu = True, time.process_time()
        await asyncio.sleep(seconds)
        measuring = False
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # what the end cuts short is no news
        scheduler.shutdown(wait=False)
        return (time.process_time() - cpu) / seconds

    share = asyncio.run(run())
    return figures(sorted(late), seconds * count) | {"cpu": share, "other": 0.0}


def figures(late: list[float], expected: int) -> dict[str, float]:
    def at(share: float) -> float:
        return late[min(len(late) - 1, int(share * len(late)))] if late else float("nan")

    return {"n": len(late), "expected": expected, "p50": at(0.5), "p99": at(0.99), "max": at(1.0)}


def idle(count: int) -> dict[str, float]:
    """What `count` jobs that do not fire cost."""
    schedules = [f"{n % 60} {n // 60 % 60} 0 1 1 * 2199" for n in range(count)]
    daemon = RunningDaemon(schedules, workers=1)
    time.sleep(5)
    cpu, began = daemon.cpu_s(), time.monotonic()
    time.sleep(20)
    share = (daemon.cpu_s() - cpu) / (time.monotonic() - began)
    result = {"cpu": share, "rss": daemon.resident_mb(), "ready": daemon.ready_s}
    daemon.stop()
    return result


def first_fire(count: int) -> tuple[float, float]:
    """Seconds from the start of the process to the first fire that it planned itself: on a new state
    directory, in which the database is made first, and at the next start."""
    daemon = RunningDaemon(["* * * * * *"] + [f"{n % 60} {n // 60 % 60} 0 1 1 *" for n in range(count - 1)])
    first = _until_a_fire(daemon)
    daemon.end()
    daemon.start()
    again = _until_a_fire(daemon)
    daemon.stop()
    return first, again


def _until_a_fire(daemon: RunningDaemon) -> float:
    time.sleep(2.5)
    ours = f"status = 'succeeded' AND started_at > to_timestamp({daemon.began})"
    rows = daemon.query(f"SELECT extract(epoch FROM min(started_at)) FROM scheduler.runs WHERE {ours}")
    return float(rows[0][0]) - daemon.began  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--counts", default="1,100,1000,5000")
    parser.add_argument("--idle", default="10,1000,10000")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    table = []
    print("lateness in ms; cpu as a share of one core (the daemon's process; APScheduler: all of it)")
    heads = ("p50", "p99", "max")
    print(
        f"{'due each second':>15}  {'who':<17}{''.join(f'{head:>9}' for head in heads)}"
        f"  {'ran':>12}  {'not run':>7}  {'cpu':>6}"
    )
    for count in (int(c) for c in wanted.counts.split(",") if c):
        for who, measure in (("ours, durable", ours), ("APScheduler alone", apscheduler_alone)):
            r = measure(count, wanted.seconds)
            table.append({"count": count, "who": who, **r})
            ran = f"{r['n']:.0f}/{r['expected']:.0f}"
            print(
                f"{count:>15}  {who:<17}{r['p50']:>9.1f}{r['p99']:>9.1f}{r['max']:>9.1f}  {ran:>12}  "
                f"{r['other']:>7.0f}  {r['cpu']:>6.1%}"
            )
    for count in (int(c) for c in wanted.idle.split(",") if c):
        r = idle(count)
        table.append({"idle": count, **r})
        print(
            f"idle with {count:>6} jobs: cpu {r['cpu']:.2%}, resident {r['rss']:.0f} MB, "
            f"ready after {r['ready']:.1f} s"
        )
    if wanted.idle:
        first, again = first_fire(10_000)
        print(f"first fire with 10,000 jobs: {again:.1f} s after the start of the process")
        print(f"  ({first:.1f} s at the very first one, which makes the database)")
    if wanted.json:
        print(json.dumps(table))


if __name__ == "__main__":
    main()
