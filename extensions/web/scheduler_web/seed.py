"""Synthetic traffic for trying the reports, for tests and for benchmarks: `python -m scheduler_web.seed`."""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from scheduler_web.synthetic import EVENT_COLUMNS, SESSION_COLUMNS, Content, Plan, Traffic

CHUNK = 20_000
"""Sessions that are written at once."""


def fill(connection: psycopg.Connection[Any], plan: Plan) -> tuple[int, int]:
    """Write the plan's traffic; returns (sessions, events). What arrives after `until` never does."""
    traffic = Traffic(plan)
    _contents(connection, traffic.contents, plan)
    waiting: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    sessions: list[tuple[Any, ...]] = []
    counts, day = [0, 0], 0
    first = plan.until - timedelta(days=plan.days)
    for visit in traffic.visits():
        number = (visit.row[1] - first).days
        if number > day or len(sessions) >= CHUNK:
            counts[0] += copy_rows(connection, "user_sessions", SESSION_COLUMNS, sessions)
            sessions.clear()
            due = [n for n in waiting if n < number] or ([number] if number == day else [])
            counts[1] += sum(
                copy_rows(connection, "engagement_events", EVENT_COLUMNS, waiting.pop(n, []))
                for n in sorted(due)
            )
            day = number
        sessions.append(visit.row)
        for arrival, row in traffic.events(visit):
            if arrival <= plan.until:
                waiting[max((arrival - first).days, day)].append(row)
    counts[0] += copy_rows(connection, "user_sessions", SESSION_COLUMNS, sessions)
    counts[1] += sum(
        copy_rows(connection, "engagement_events", EVENT_COLUMNS, waiting[n]) for n in sorted(waiting)
    )
    return counts[0], counts[1]


def _contents(connection: psycopg.Connection[Any], contents: list[Content], plan: Plan) -> None:
    columns = ("id", "slug", "locale", "title", "body", "source_id", "version_hash", "published_at")
    published = plan.until - timedelta(days=plan.days)
    rows = [(c.id, c.slug, c.locale, c.title, "", c.source, "seed", published) for c in contents]
    copy_rows(connection, "markdown_content", columns, rows)


def copy_rows(
    connection: psycopg.Connection[Any], table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> int:
    """Write rows to a table of schema public; returns how many."""
    if rows:
        statement = f"COPY public.{table} ({', '.join(columns)}) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write("\t".join(map(_text, row)) + "\n")
    return len(rows)


def _text(value: Any) -> str:
    if value is None:
        return "\\N"
    if value is True or value is False:
        return "t" if value else "f"
    return str(value)


def main() -> int:
    """Fill a database that `scheduler-daemon migrate` has prepared."""
    parser = argparse.ArgumentParser(prog="python -m scheduler_web.seed", description=main.__doc__)
    parser.add_argument(
        "--database", default=os.environ.get("DATABASE_URL"), help="URL; default: $DATABASE_URL"
    )
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--contents", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", type=datetime.fromisoformat, help="end of the traffic; default: now")
    arguments = parser.parse_args()
    if not arguments.database:
        parser.error("--database or $DATABASE_URL must say where to write")
    until = (arguments.until or datetime.now(UTC)).astimezone(UTC)
    plan = Plan(
        days=arguments.days,
        events=arguments.events,
        contents=arguments.contents,
        seed=arguments.seed,
        until=until,
    )
    with psycopg.connect(arguments.database) as connection:
        sessions, events = fill(connection, plan)
        connection.commit()
        connection.autocommit = True
        connection.execute(
            "VACUUM (ANALYZE) public.user_sessions, public.engagement_events, public.markdown_content"
        )
    sys.stdout.write(f"{sessions:,} sessions, {events:,} events, {plan.contents:,} contents\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
