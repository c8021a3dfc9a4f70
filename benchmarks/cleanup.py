"""The core's jobs beside the single statement that a person would type, and what the application notices.

    .venv/bin/python benchmarks/cleanup.py [--rows 1000000] [--only users,contexts] [--time]

On an embedded server with its ordinary, durable settings. Every figure starts from a fresh copy of the same
database, vacuumed and checkpointed, and is the best of some rounds. The application is pgbench: a steady
stream of one-row updates by key, on the very table that is cleaned, candidates included. Exit status 1 where
a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool
from scheduler_core import contexts, database, logs, sessions, users
from scheduler_core.maintenance import MaintenanceRun, maintenance
from scheduler_core.parameters import (
    AnonymousUserParameters,
    ContextParameters,
    DatabaseParameters,
    LogParameters,
    Pace,
    SessionParameters,
)

from scheduler_daemon.database.temporary import TemporaryServer, scheduler_sets
from scheduler_daemon.extension import JobResult

MIGRATIONS = Path(contexts.__file__).parent / "migrations"
DURABLE = """
fsync = on
synchronous_commit = on
full_page_writes = on
autovacuum = on
deadlock_timeout = 100ms
log_lock_waits = on
"""
RATE, CLIENTS = 500, 4
"""The application's updates a second, and its connections."""
WARM_UP_S, ALONE_S = 2, 20
TIME_BAR, LATENCY_BAR = 1.5, 2.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One job: the data that it meets ({rows} candidates of {all}), what a person would type, the update."""

    fill: str
    statement: str
    clean: Callable[[MaintenanceRun[Any]], Awaitable[JobResult]]
    parameters: Pace
    update: str
    then: str = ""


USERS = """
    INSERT INTO users (id, name, email, roles, created_at)
    SELECT 'u' || n, 'u' || n, 'u' || n || '@example.org',
        CASE WHEN n % 6 > 0 THEN '{{anonymous}}' ELSE '{{user}}' END::text[], now() - interval '40 days'
    FROM generate_series(1, {all}) n;
"""
SESSIONS = """
    INSERT INTO user_sessions (session_id, started_at, last_activity_at, ended_at, user_agent, landing_page)
    SELECT 's' || n, at - interval '5 minutes', at, CASE WHEN {over} THEN at END, 'Mozilla/5.0 (X11)', '/blog'
    FROM generate_series(1, {{all}}) n, LATERAL (SELECT now() - interval '{age}' * sign(n % 6) AS at) t;
"""
LOGS = """
    INSERT INTO logs (id, timestamp, level, module, message)
    SELECT 'l' || n, now() - interval '60 days' * sign(n % 6), 'INFO', 'api', 'request ' || n
    FROM generate_series(1, {all}) n;
"""
OLD_LOGS = "DELETE FROM logs WHERE timestamp < now() - interval '30 days'"
UPDATE_LOG = "UPDATE logs SET module = 'web' WHERE id = 'l' || :n"
UPDATE_SESSION = "UPDATE user_sessions SET request_count = request_count + 1 WHERE session_id = 's' || :n"

CASES = {
    "users": Case(
        fill=USERS
        + """
        INSERT INTO user_sessions (session_id, user_id, started_at, last_activity_at, ended_at)
        SELECT 's' || n, 'u' || 2 * n, now() - age, now() - age, now() - age
        FROM generate_series(1, {all} / 2) n, (SELECT interval '35 days' AS age) a;
        INSERT INTO user_contexts (context_id, user_id, name)
        SELECT 'c' || n, 'u' || 2 * n, 'Conversation' FROM generate_series(1, {all} / 2) n;
        """,
        statement="""
            DELETE FROM users u WHERE roles = '{anonymous}' AND created_at < now() - interval '30 days'
            AND NOT EXISTS (SELECT FROM user_sessions s WHERE s.user_id = u.id AND s.ended_at IS NULL)""",
        clean=users.clean,
        parameters=AnonymousUserParameters(max_rows=None),
        update="UPDATE users SET updated_at = now() WHERE id = 'u' || :n",
    ),
    "contexts": Case(
        fill="""
        INSERT INTO users (id, name, email)
        SELECT 'u' || n, 'u' || n, 'u' || n FROM generate_series(0, 999) n;
        INSERT INTO user_contexts (context_id, user_id, name, created_at)
        SELECT 'c' || n, 'u' || n % 1000, 'Conversation', now() - interval '40 days'
        FROM generate_series(1, {all}) n;
        INSERT INTO agent_tasks (task_id, context_id)
        SELECT 't' || n, 'c' || n FROM generate_series(6, {all}, 6) n;
        INSERT INTO task_messages (task_id, message_id, role, context_id)
        SELECT 't' || n, 'm' || n || m, 'user', 'c' || n
        FROM generate_series(6, {all}, 6) n, generate_series(1, 4) m;
        """,
        statement="""
            DELETE FROM user_contexts c WHERE created_at < now() - interval '24 hours'
            AND NOT EXISTS (SELECT FROM agent_tasks x WHERE x.context_id = c.context_id)
            AND NOT EXISTS (SELECT FROM task_messages x WHERE x.context_id = c.context_id)
            AND NOT EXISTS (SELECT FROM mcp_tool_executions x WHERE x.context_id = c.context_id)
            AND NOT EXISTS (SELECT FROM governance_decisions x WHERE x.context_id = c.context_id)""",
        clean=contexts.clean,
        parameters=ContextParameters(max_rows=None),
        update="UPDATE user_contexts SET updated_at = now() WHERE context_id = 'c' || :n",
    ),
    "expire": Case(
        fill=SESSIONS.format(over="n % 6 = 0", age="2 hours"),
        statement="""
            UPDATE user_sessions SET ended_at = last_activity_at + interval '1 hour',
                duration_seconds = extract(epoch FROM last_activity_at + interval '1 hour' - started_at)
            WHERE ended_at IS NULL AND last_activity_at < now() - interval '1 hour'""",
        clean=sessions.clean,
        parameters=SessionParameters(max_rows=None),
        update=UPDATE_SESSION,
    ),
    "remove": Case(
        fill=SESSIONS.format(over="true", age="100 days"),
        statement="DELETE FROM user_sessions WHERE ended_at < now() - interval '90 days'",
        clean=sessions.clean,
        parameters=SessionParameters(max_rows=None),
        update=UPDATE_SESSION,
    ),
    "logs": Case(
        fill=LOGS,
        statement=OLD_LOGS,
        clean=logs.clean,
        parameters=LogParameters(max_rows=None),
        update=UPDATE_LOG,
    ),
    "database": Case(
        fill=LOGS,
        statement=OLD_LOGS,
        then="VACUUM (ANALYZE) logs",
        clean=database.clean,
        parameters=DatabaseParameters(max_rows=None),
        update=UPDATE_LOG,
    ),
}


class Silent:
    """A logger for which this is not the place."""

    def info(self, message: str, /, **fields: Any) -> None: ...

    warning = info


class Step:
    """A step that lets errors out."""

    failed = False
    error = None

    def __enter__(self) -> Step:
        return self

    def __exit__(self, *told: object) -> None: ...

    async def __aenter__(self) -> Step:
        return self

    async def __aexit__(self, *told: object) -> None: ...


@dataclass
class Context:
    """What a job asks of its context, over a pool of one connection."""

    pool: AsyncConnectionPool
    parameters: Any
    cancelled: bool = False
    logger: Silent = field(default_factory=Silent)

    def db_pool(self) -> AsyncConnectionPool:
        return self.pool

    def step(self, name: str, *, continue_on_error: bool = False) -> Step:
        return Step()

    def progress(self, done: int, total: int | None = None, note: str = "") -> None: ...


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of processor time: the server's backend and this process together."""

    wall_s: float
    cpu_s: float


class Meter:
    def __init__(self, backend: int) -> None:
        self._stat = Path(f"/proc/{backend}/stat")
        self._wall, self._cpu = time.monotonic(), self._used()

    def read(self) -> Cost:
        return Cost(time.monotonic() - self._wall, self._used() - self._cpu)

    def _used(self) -> float:
        user, system = self._stat.read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") + time.process_time()


class Bench:
    """A server, a filled template per case, and the measurements on fresh copies of it."""

    def __init__(self, server: TemporaryServer, rows: int) -> None:
        self._server = server
        self._all = rows // 5 * 6
        self._rows = self._all // 6 * 5

    @contextmanager
    def prepared(self, case: Case) -> Iterator[str]:
        """A database with the case's data, vacuumed."""
        url = self._server.make_database(*scheduler_sets(MIGRATIONS, scheduler=False))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(case.fill.format(rows=self._rows, all=self._all))
            connection.execute("VACUUM (ANALYZE, FREEZE)")
        yield url
        self._server.drop_database(url)

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        url = self._server.url.replace("/postgres?", "/bench_copy?")
        source = template.partition("@/")[2].partition("?")[0]
        with psycopg.connect(self._server.url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE bench_copy TEMPLATE {source} STRATEGY file_copy")
            admin.execute("CHECKPOINT")
        yield url
        self._server.drop_database(url)

    def lock_waits(self) -> int:
        """That the server's log tells of (log_lock_waits, deadlock_timeout 100 ms)."""
        return self._server.cluster.log.read_text(errors="replace").count("still waiting for")

    def statement(self, url: str, case: Case, *, exact: bool = True) -> Cost:
        with psycopg.connect(url, autocommit=True) as connection:
            meter = Meter(connection.info.backend_pid)
            removed = connection.execute(case.statement).rowcount
            if case.then:
                connection.execute(case.then)
            cost = meter.read()
        assert removed == self._rows or not exact, removed
        return cost

    def job(self, url: str, case: Case) -> tuple[Cost, str]:
        cost, result = asyncio.run(_run(url, case))
        return cost, result.message or ""

    @contextmanager
    def application(self, url: str, case: Case, latencies: list[float]) -> Iterator[None]:
        """pgbench at a steady rate while the block runs; latencies in ms, counted from each one's turn."""
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "update.sql"
            script.write_text(f"\\set n random(1, {self._all})\n{case.update};\n")
            process = subprocess.Popen(
                [
                    self._server.cluster.binaries.program("pgbench"),
                    *("-n", "-f", script, "-c", str(CLIENTS), "-R", str(RATE), "-T", "3600"),
                    *("-l", f"--log-prefix={folder}/log", "-M", "prepared", url),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                time.sleep(WARM_UP_S)
                began = time.time()
                yield
                ended = time.time()
            finally:
                process.send_signal(signal.SIGALRM)  # how pgbench's own -T ends it, log flushed
                process.wait()
            latencies += _latencies(Path(folder), began, ended)


async def _run(url: str, case: Case) -> tuple[Cost, JobResult]:
    async with AsyncConnectionPool(url, min_size=1, max_size=2 if case.then else 1, open=False) as pool:
        context: Any = Context(pool, case.parameters)
        async with pool.connection() as connection:
            meter = Meter(connection.info.backend_pid)
        async with maintenance(context) as run:
            result = await case.clean(run)
        return meter.read(), result


def _latencies(folder: Path, began: float, ended: float) -> list[float]:
    """Of the transactions that ended between two moments (Unix seconds)."""
    found = []
    for file in folder.glob("log.*"):
        for line in file.read_text().splitlines():
            _, _, latency_us, _, seconds, micros, *_ = line.split()
            if began <= int(seconds) + int(micros) / 1e6 <= ended:
                found.append(int(latency_us) / 1000)
    return found


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _worst(latencies: list[float]) -> float:
    return _percentile(latencies, 0.999)


def _told(latencies: list[float]) -> str:
    return (
        f"p50 {_percentile(latencies, 0.5):6.2f}  p99 {_percentile(latencies, 0.99):6.2f}  "
        f"p99.9 {_worst(latencies):7.2f}  max {max(latencies):7.2f} ms  ({len(latencies):,} updates)"
    )


def measure_time(bench: Bench, template: str, case: Case, rounds: int) -> tuple[str, list[str]]:
    """The job's time beside the statement's, the best of some rounds each; what to print, bars missed."""
    statements, jobs, message = [], [], ""
    for _ in range(rounds):
        with bench.copy(template) as url:
            statements.append(bench.statement(url, case))
        with bench.copy(template) as url:
            cost, message = bench.job(url, case)
            jobs.append(cost)
    typed, job = (min(costs, key=lambda cost: cost.wall_s) for costs in (statements, jobs))
    ratio, processor = (
        job.wall_s / typed.wall_s,
        min(c.cpu_s for c in jobs) / min(c.cpu_s for c in statements),
    )
    told = (
        f"    statement {typed.wall_s:.2f} s (processor {typed.cpu_s:.2f}), job {job.wall_s:.2f} s"
        f" ({job.cpu_s:.2f}): {ratio:.2f} times ({processor:.2f})\n    {message}"
    )
    return told, [f"{ratio:.2f} times the statement's time, at most {TIME_BAR}"] if ratio > TIME_BAR else []


def measure_latency(bench: Bench, template: str, case: Case, rounds: int) -> tuple[str, list[str]]:
    """What the application notices, the best of some rounds each; what to print, bars missed."""
    alone: list[list[float]] = [[] for _ in range(rounds)]
    beside: list[list[float]] = [[] for _ in range(rounds)]
    typed: list[float] = []
    before = bench.lock_waits()
    for quiet, busy in zip(alone, beside, strict=True):
        with bench.copy(template) as url, bench.application(url, case, quiet):
            time.sleep(ALONE_S)
        with bench.copy(template) as url, bench.application(url, case, busy):
            bench.job(url, case)
    waits = bench.lock_waits() - before
    with bench.copy(template) as url, bench.application(url, case, typed):
        bench.statement(url, case, exact=False)
    best_alone, best_beside = min(alone, key=_worst), min(beside, key=_worst)
    worse = _worst(best_beside) / _worst(best_alone)
    told = (
        f"    application alone     {_told(best_alone)}\n    beside the job        {_told(best_beside)}"
        f" {worse:.1f} times, {waits} lock waits over 100 ms\n    beside the statement  {_told(typed)}"
    )
    missed = (
        [f"p99.9 of an update {worse:.1f} times that alone, at most {LATENCY_BAR}"]
        if worse > LATENCY_BAR
        else []
    )
    return told, missed + ([f"{waits} lock waits of over 100 ms"] if waits else [])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="candidates per job")
    parser.add_argument("--only", default=",".join(CASES), help="cases, by name")
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many counts")
    parser.add_argument("--time", action="store_true", help="measure the time only, not the application")
    options = parser.parse_args()
    measures = [measure_time] if options.time else [measure_time, measure_latency]
    missed: list[str] = []
    server = TemporaryServer()
    (server.cluster.folder / "local.conf").write_text(DURABLE)
    server.start()
    try:
        bench = Bench(server, options.rows)
        for name in options.only.split(","):
            print(name, flush=True)
            with bench.prepared(CASES[name]) as template:
                for measure in measures:
                    told, failures = measure(bench, template, CASES[name], options.rounds)
                    print(told, flush=True)
                    missed += [f"{name}: {failure}" for failure in failures]
    finally:
        server.stop()
    for line in missed:
        print(f"MISSED {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
