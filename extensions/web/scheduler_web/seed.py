"""Synthetic traffic for trying the reports, for tests and for benchmarks: `python -m scheduler_web.seed`."""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
    columns = (
        "id", "slug", "locale", "title", "body", "source_id", "version_hash", "published_at", "updated_at",
    )  # fmt: skip
    published = plan.until - timedelta(days=plan.days)
    rows = [(c.id, c.slug, c.locale, c.title, "", c.source, "seed", published, published) for c in contents]
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
    """Fill a database that a daemon, or `scheduler-daemon migrate`, has prepared with synthetic traffic."""
    arguments = _arguments()
    url = arguments.database or embedded(arguments.state_dir)
    if url is None:
        sys.stderr.write(
            f"no daemon keeps a database of its own in {arguments.state_dir}: start one there, "
            "or say where to write with --database URL, --state-dir FOLDER or $DATABASE_URL\n"
        )
        return 2
    plan = Plan(
        days=arguments.days,
        events=arguments.events,
        contents=arguments.contents,
        seed=arguments.seed,
        until=(arguments.until or datetime.now(UTC)).astimezone(UTC),
    )
    sys.stderr.write(f"writing {plan.events:,} events of {plan.days:,} days; a million take minutes ...\n")
    try:
        sessions, events = _write(url, plan)
    except psycopg.errors.UniqueViolation:
        sys.stderr.write(f"that traffic is there already: --seed {plan.seed + 1} makes other\n")
    except psycopg.errors.UndefinedTable as exc:
        sys.stderr.write(f"{_first_line(exc)}: run scheduler-daemon migrate first\n")
    except psycopg.Error as exc:
        sys.stderr.write(f"{_first_line(exc)}\n")
    else:
        sys.stdout.write(f"{sessions:,} sessions, {events:,} events, {plan.contents:,} contents\n")
        return 0
    return 1


def embedded(state_dir: Path) -> str | None:
    """The URL of the server that runs in a daemon's state directory, for the role of its jobs."""
    try:
        lines = (state_dir / "postgres/data/postmaster.pid").read_text("utf-8").splitlines()
    except OSError:
        return None
    host, port = quote(lines[4], safe=""), lines[3]
    return f"postgresql://scheduler_jobs@/scheduler?host={host}&port={port}"


def _write(url: str, plan: Plan) -> tuple[int, int]:
    with psycopg.connect(url) as connection:
        counts = fill(connection, plan)
        connection.commit()
        connection.autocommit = True
        connection.execute(
            "VACUUM (ANALYZE) public.user_sessions, public.engagement_events, public.markdown_content"
        )
    return counts


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scheduler_web.seed", description=main.__doc__)
    url = os.environ.get("DATABASE_URL")
    parser.add_argument("--database", metavar="URL", default=url, help="default: $DATABASE_URL")
    help_of = "without a URL: where a running daemon keeps its database (default: var)"
    parser.add_argument("--state-dir", metavar="FOLDER", type=Path, default=Path("var"), help=help_of)
    parser.add_argument("--days", type=_number(3650), default=60)
    parser.add_argument("--events", type=_number(10**9), default=1_000_000)
    parser.add_argument("--contents", type=_number(10**6), default=200)
    parser.add_argument("--seed", type=int, default=1, help="another number makes other traffic")
    parser.add_argument("--until", type=_instant, help="end of the traffic; default: now")
    return parser.parse_args()


def _number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {most:,}")
        return int(text)

    return read


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-22T19:00+01:00") from None


def _first_line(exc: psycopg.Error) -> str:
    return str(exc).partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
