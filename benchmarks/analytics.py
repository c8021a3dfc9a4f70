"""What the aggregation and the reports cost, beside the full scan every 15 minutes that they replace.

    .venv/bin/python benchmarks/analytics.py [--events 5000000] [--days 60] [--contents 2000] [--passes 20]

On an embedded server with its ordinary settings, filled by `python -m scheduler_web.seed`. Seconds on the
clock, and in brackets of processor time (the server's backend and this process together), which a busy
machine changes less. Exit status 1 where a bar is missed.

- An incremental pass after each quarter of an hour of new events, on the whole history and on a fifth of it
  with as many events a day: its cost does not depend on history.
- A full recomputation beside the one INSERT … SELECT … GROUP BY that computes the same rows.
- A traffic report from the roll-up, and its chart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import scheduler_core
import scheduler_web
from scheduler_web import seed
from scheduler_web.analytics.capture import install
from scheduler_web.analytics.lookup import Site
from scheduler_web.analytics.passes import Report, Request, aggregate
from scheduler_web.analytics.schema import Schema
from scheduler_web.analytics.settings import AnalyticsConfig
from scheduler_web.analytics.statements import Statements
from scheduler_web.reports import chart, figures
from scheduler_web.reports.period import Moment
from scheduler_web.synthetic import EVENT_COLUMNS, SESSION_COLUMNS, Plan, Traffic

from scheduler_daemon.database.temporary import TemporaryServer, scheduler_sets

MIGRATIONS = [
    Path(str(package.__file__)).parent / "migrations" for package in (scheduler_core, scheduler_web)
]
ORDINARY = "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\nautovacuum = on\n"
UNTIL = datetime(2026, 11, 22, 14, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
QUARTER = timedelta(minutes=15)
PASS_BAR_MS, FULL_BAR, REPORT_BAR_S = 100, 1.3, 1.0

BARE = """
INSERT INTO bare (page, day, views, visits, visitors, newcomers, bounces, timed, time_ms, median_ms)
WITH views AS MATERIALIZED (
    SELECT e.session_id, (e.created_at AT TIME ZONE 'UTC')::date AS day, coalesce(c.page, u.page) AS page,
        coalesce(s.fingerprint_hash, e.session_id) AS visitor,
        max(least(greatest(e.time_on_page_ms, 0), 1800000)) AS ms
    FROM engagement_events e
    LEFT JOIN analytics_pages c ON c.content_id = e.content_id
    LEFT JOIN analytics_urls u ON u.url = split_part(split_part(e.page_url, '#', 1), '?', 1)
    LEFT JOIN user_sessions s ON s.session_id = e.session_id
    LEFT JOIN analytics_agents a ON a.agent = s.user_agent
    WHERE e.event_type = 'page_exit' AND NOT coalesce(a.crawler, false)
        AND NOT coalesce(s.is_bot OR s.is_ai_crawler OR s.is_scanner OR s.is_behavioral_bot, false)
    GROUP BY e.session_id, e.created_at, coalesce(c.page, u.page), coalesce(s.fingerprint_hash, e.session_id)
), all_views AS (
    SELECT session_id, day, page, visitor, ms FROM views
    UNION ALL SELECT session_id, day, 0, visitor, ms FROM views
), arrivals AS (
    SELECT page, day, lag(day) OVER (PARTITION BY page, visitor ORDER BY day) AS last
    FROM (SELECT DISTINCT page, visitor, day FROM all_views) AS seen
), newcomers AS (
    SELECT page, day, count(*) AS newcomers FROM arrivals WHERE last IS NULL OR last < day - 30
    GROUP BY page, day
), solo AS (
    SELECT session_id, day, min(page) AS page FROM views GROUP BY session_id, day HAVING count(*) = 1
), bounces AS (
    SELECT page, day, count(*) AS bounces
    FROM (SELECT page, day FROM solo UNION ALL SELECT 0, day FROM solo) AS s GROUP BY page, day
)
SELECT page, day, count(*), count(DISTINCT session_id), count(DISTINCT visitor), coalesce(max(newcomers), 0),
    coalesce(max(bounces), 0), count(*) FILTER (WHERE ms > 0), sum(ms),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE ms > 0)
FROM all_views LEFT JOIN newcomers USING (page, day) LEFT JOIN bounces USING (page, day) GROUP BY page, day
"""
PLAIN = """
SELECT coalesce(c.page, u.page), (e.created_at AT TIME ZONE 'UTC')::date, count(*),
    count(DISTINCT e.session_id), avg(e.time_on_page_ms)
FROM engagement_events e
LEFT JOIN analytics_pages c ON c.content_id = e.content_id
LEFT JOIN analytics_urls u ON u.url = split_part(split_part(e.page_url, '#', 1), '?', 1)
GROUP BY 1, 2
"""
"""What a person would type: no robots, visitors, newcomers, bounces, medians; nothing is counted once."""
COLUMNS = "page, day, views, visits, visitors, newcomers, bounces, timed, time_ms"
DIFFERENT = f"""
SELECT count(*) FROM (
    (SELECT {COLUMNS} FROM bare EXCEPT SELECT {COLUMNS} FROM analytics_page_days)
    UNION ALL (SELECT {COLUMNS} FROM analytics_page_days EXCEPT SELECT {COLUMNS} FROM bare)
) AS d
"""


@dataclass(frozen=True, slots=True)
class Cost:
    wall_s: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} s ({self.cpu_s:.2f})"


class Database:
    """A filled database, a clock that moves by quarters of an hour, and a connection that is measured."""

    def __init__(self, url: str, plan: Plan) -> None:
        self.plan = plan
        self.now = plan.until
        self._traffic = Traffic(plan)
        self._traffic.random.seed("what comes after the plan")
        self.connection = psycopg.connect(url)
        self._stat = Path(f"/proc/{self.connection.info.backend_pid}/stat")

    def fill(self) -> tuple[int, int]:
        """Write the plan's traffic, without the indexes while it is written."""
        with _without_indexes(self.connection):
            counts = seed.fill(self.connection, self.plan)
        self.connection.commit()
        install(self.connection, Schema.look(Statements("scheduler_web.analytics", self.connection)))
        self.connection.autocommit = True
        self.connection.execute("VACUUM (ANALYZE)")
        self.connection.execute("CHECKPOINT")
        self.connection.autocommit = False
        return counts

    def measure(self, work: Callable[[], Any]) -> tuple[Cost, Any]:
        wall, cpu = time.perf_counter(), self._cpu()
        result = work()
        self.connection.commit()
        return Cost(time.perf_counter() - wall, self._cpu() - cpu), result

    def aggregate(self, *, full: bool = False) -> Report:
        request = Request(
            settings=AnalyticsConfig(), site=Site(route=_route), zone=UTC_ZONE, now=self.now, full=full
        )
        return aggregate(self.connection, request)

    def quarter_of_an_hour(self) -> int:
        """As many new events as a quarter of an hour brings on average."""
        wanted = max(1, round(self.plan.events / self.plan.days / 96))
        self.now += QUARTER
        sessions: list[Any] = []
        events: list[Any] = []
        while len(events) < wanted:
            start = self.now - QUARTER * self._traffic.random.random()
            visit = self._traffic.visit(start, 40)
            sessions.append(visit.row)
            events += [row for _, row in self._traffic.events(visit)]
        seed.copy_rows(self.connection, "user_sessions", SESSION_COLUMNS, sessions)
        seed.copy_rows(self.connection, "engagement_events", EVENT_COLUMNS, events)
        self.connection.commit()
        return len(events)

    def _cpu(self) -> float:
        user, system = self._stat.read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") + time.process_time()


def _route(source: str, slug: str, locale: str) -> str:
    return f"/{source}/{slug}/" if locale == "en" else f"/{locale}/{source}/{slug}/"


@contextmanager
def _without_indexes(connection: psycopg.Connection[Any]) -> Iterator[None]:
    rows = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes "
        "WHERE tablename IN ('engagement_events', 'user_sessions') AND indexname NOT LIKE '%_pkey'"
    ).fetchall()
    for name, _ in rows:
        connection.execute(f"DROP INDEX {name}".encode())
    yield
    for _, definition in rows:
        connection.execute(definition.encode())


def passes(database: Database, number: int) -> float:
    """Print what incremental passes cost; returns the median, in milliseconds."""
    costs, events, sessions = [], 0, 0
    for _ in range(number):
        events += database.quarter_of_an_hour()
        cost, report = database.measure(database.aggregate)
        assert report.mode == "incremental", report
        sessions += report.sessions
        costs.append(cost)
    walls = sorted(cost.wall_s * 1000 for cost in costs)
    median = statistics.median(walls)
    cpu = statistics.mean(cost.cpu_s for cost in costs) * 1000
    print(
        f"  a quarter of an hour ({events // number} events of {sessions // number} sessions): "
        f"median {median:.0f} ms, worst {walls[-1]:.0f} ms (mean {cpu:.0f} ms of processor)",
        flush=True,
    )
    return median


def history(server: TemporaryServer, plan: Plan) -> Database:
    database = Database(server.make_database(*scheduler_sets(*MIGRATIONS)), plan)
    began = time.perf_counter()
    sessions, events = database.fill()
    print(
        f"{events:,} events of {sessions:,} sessions over {plan.days} days, {plan.contents:,} contents "
        f"(filled in {time.perf_counter() - began:.0f} s)",
        flush=True,
    )
    cost, report = database.measure(database.aggregate)
    print(f"  first pass, learning every address: {cost}, {report.events:,} events", flush=True)
    return database


def recomputation(database: Database) -> float:
    """Print a full recomputation beside the bare statement; returns their ratio."""
    full, _ = database.measure(lambda: database.aggregate(full=True))
    connection = database.connection
    connection.execute("CREATE TABLE bare (LIKE analytics_page_days INCLUDING ALL)")
    connection.commit()
    bare, _ = database.measure(lambda: connection.execute(BARE))
    row = connection.execute(DIFFERENT.encode()).fetchone()
    assert row == (0,), f"{row} rows differ"
    connection.execute("DROP TABLE bare")
    connection.commit()
    plain, _ = database.measure(lambda: connection.execute(PLAIN).rowcount)
    ratio = full.wall_s / bare.wall_s
    print(f"  full recomputation {full}; the bare statement for the same rows {bare}: {ratio:.2f} times")
    print(
        f"  a scan without robots, visitors, bounces, medians (what ran every 15 minutes): {plain}",
        flush=True,
    )
    return ratio


def report(database: Database) -> float:
    """Print what a report costs; returns the median of its figures, in seconds."""
    moment = Moment(database.now, UTC_ZONE)
    costs = []
    for _ in range(5):
        cost, found = database.measure(lambda: figures.read(database.connection, moment))
        costs.append(cost.wall_s)
    with tempfile.TemporaryDirectory() as folder:
        draw = lambda: chart.draw(found.chart, "today until now", Path(folder))  # noqa: E731  # measured twice
        drawn, _ = database.measure(draw)
        again, _ = database.measure(draw)
    median = statistics.median(costs)
    print(f"  report {median:.2f} s from the roll-up; its chart {drawn}, once imported {again}")
    return median


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--contents", type=int, default=2000)
    parser.add_argument("--passes", type=int, default=20)
    options = parser.parse_args()
    server = TemporaryServer()
    (server.cluster.folder / "local.conf").write_text(ORDINARY)
    server.start()
    missed = []
    try:
        fifth = Plan(
            days=options.days // 5, events=options.events // 5, contents=options.contents, until=UNTIL
        )
        passes(history(server, fifth), options.passes)
        whole = Plan(days=options.days, events=options.events, contents=options.contents, until=UNTIL)
        database = history(server, whole)
        if (median := passes(database, options.passes)) > PASS_BAR_MS:
            missed.append(f"an incremental pass takes {median:.0f} ms, at most {PASS_BAR_MS}")
        if (ratio := recomputation(database)) > FULL_BAR:
            missed.append(
                f"a full recomputation takes {ratio:.2f} times the bare statement, at most {FULL_BAR}"
            )
        if (seconds := report(database)) > REPORT_BAR_S:
            missed.append(f"a report takes {seconds:.2f} s, at most {REPORT_BAR_S}")
    finally:
        server.stop()
    for line in missed:
        print(f"MISSED {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
