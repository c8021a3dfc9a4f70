"""What the operator's surface costs: whole processes, 1,000 jobs, answers under load and under attack.

    python benchmarks/cli.py [--rounds 20] [--seconds 15]

Bars: `systemprompt --help` at most 2 times, `infra jobs list` at most 3 times the wall time of
`python -c "import click"`, taken in turns in the same run; `jobs list` with 1,000 jobs within 400 ms; the
control API's p99 within 20 ms while 100 jobs a second fire; attackers on the raw socket delay neither a fire
nor a well-behaved client by more than 100 ms.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from lateness import RunningDaemon

from scheduler_daemon.control.client import Client

PROGRAMS = Path(sys.executable).parent
YEARLY = "0 0 0 1 1 *"
EVERY_SECOND = "* * * * * *"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=15)
    options = parser.parse_args()
    processes(options.rounds)
    load(options.seconds)


def processes(rounds: int) -> None:
    few, many = RunningDaemon([YEARLY] * 10), RunningDaemon([YEARLY] * 1_000)
    try:
        commands = {
            'python -c "import click"': [sys.executable, "-c", "import click"],
            "systemprompt --help": [PROGRAMS / "systemprompt", "--help"],
            "infra jobs list": [*listing(few)],
            "infra jobs list, 1,000 jobs": [*listing(many)],
        }
        walls: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                walls[name].append(wall(command))
        base = walls['python -c "import click"']
        print(f"{'whole processes, ms':<34} {'best':>7} {'median':>7} {'times click':>12}")
        for name, took in walls.items():
            ratio = statistics.median(one / two for one, two in zip(took, base, strict=True))
            print(f"{name:<34} {min(took):7.0f} {statistics.median(took):7.0f} {ratio:12.2f}")
    finally:
        few.stop()
        many.stop()


def listing(daemon: RunningDaemon) -> Sequence[str | Path]:
    return [PROGRAMS / "systemprompt", "infra", "jobs", "list", "--socket", str(socket_of(daemon))]


def socket_of(daemon: RunningDaemon) -> Path:
    return daemon.folder / "var" / "run" / "control.sock"


def wall(command: Sequence[str | Path]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * 1000


def load(seconds: int) -> None:
    """100 jobs fire each second; first in peace, then with attackers on the socket."""
    daemon = RunningDaemon([EVERY_SECOND] * 100)
    path = str(socket_of(daemon))
    try:
        time.sleep(5)
        print(f"\n{'while 100 jobs a second fire, ms':<34} {'p50':>7} {'p99':>7} {'max':>7}")
        report("GET /v1/status, in peace", ask(path, seconds))
        report("start of a run after its instant", lateness(path, seconds))
        attackers = [
            multiprocessing.Process(target=attack, args=(path, kind), daemon=True)
            for kind in (crowd, garbage, dripping)
        ]
        for one in attackers:
            one.start()
        time.sleep(1)
        report("GET /v1/status, under attack", ask(path, seconds))
        report("start of a run, under attack", lateness(path, seconds))
        for one in attackers:
            one.terminate()
            one.join()
    finally:
        daemon.stop()


def report(name: str, took: list[float]) -> None:
    ordered = sorted(took)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{name:<34} {statistics.median(ordered):7.1f} {p99:7.1f} {ordered[-1]:7.1f}   ({len(took):,} taken)"
    )


def ask(path: str, seconds: int) -> list[float]:
    """One request every 10 ms, each on a connection of its own: as the CLI does."""
    client, took, end = Client(path), [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        client.get("/v1/status")
        took.append((time.perf_counter() - start) * 1000)
        time.sleep(0.01)
    return took


def lateness(path: str, seconds: int) -> list[float]:
    """Of the runs of the last seconds, as the ledger has them."""
    limit = min(10_000, 100 * seconds)
    runs = Client(path).get("/v1/runs", status=["succeeded"], limit=limit)["runs"]
    return [one["lateness_ms"] for one in runs if one["kind"] == "cron"]


def attack(path: str, kind: Callable[[str], None]) -> None:
    os.nice(5)
    while True:
        with suppress(OSError):
            kind(path)


def crowd(path: str) -> None:
    """1,000 connections that say nothing."""
    held = [dial(path) for _ in range(1_000)]
    time.sleep(1)
    for one in held:
        one.close()


def garbage(path: str) -> None:
    """What is no HTTP, and heads without end."""
    with dial(path) as one:
        one.sendall(random.randbytes(random.randint(1, 2_000)))
    with dial(path) as one:
        one.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 20_000)
    time.sleep(0.01)


def dripping(path: str) -> None:
    """60 requests, a byte at a time."""
    held = [dial(path) for _ in range(60)]
    for byte in b"GET /v1/jobs HTTP/1.1\r\n":
        for one in held:
            with suppress(OSError):
                one.sendall(bytes([byte]))
        time.sleep(0.5)
    for one in held:
        one.close()


def dial(path: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.settimeout(10)
    one.connect(path)
    return one


if __name__ == "__main__":
    main()
