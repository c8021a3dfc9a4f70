"""A small world of events on a real database, and an oracle that counts them in plain Python."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
import scheduler_core
import scheduler_web
from psycopg.types.json import Jsonb
from scheduler_web.analytics.capture import install
from scheduler_web.analytics.lookup import Site
from scheduler_web.analytics.passes import Report, Request, aggregate
from scheduler_web.analytics.schema import Schema
from scheduler_web.analytics.settings import AnalyticsConfig
from scheduler_web.analytics.statements import Statements

from scheduler_daemon.testing import MakeDatabase

WEB = Path(scheduler_web.__file__).parent / "migrations"
CORE = Path(scheduler_core.__file__).parent / "migrations"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CRAWLER = "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
TABLES = """analytics_page_days analytics_visitor_days analytics_sessions analytics_totals analytics_days
    analytics_changes analytics_urls analytics_paths analytics_agents content_performance_metrics
    engagement_events user_sessions markdown_content"""


def route(source: str, slug: str, locale: str) -> str:
    return f"/{source}/{slug}/" if locale == "en" else f"/{locale}/{source}/{slug}/"


@dataclass
class World:
    """One site's events. `url` is the database; `now` the clock of passes."""

    url: str
    now: datetime = NOON
    settings: AnalyticsConfig = field(default_factory=AnalyticsConfig)
    zone: str = "UTC"
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.connection = psycopg.connect(self.url, autocommit=True)

    def execute(self, statement: str, *values: Any) -> Any:
        return self.connection.execute(statement.encode(), values or None)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.execute(statement, *values).fetchall()
        return found

    def empty(self) -> None:
        """Back to the beginning."""
        self.execute(f"TRUNCATE {', '.join(TABLES.split())} CASCADE")
        self.execute("DELETE FROM analytics_pages WHERE page <> 0")
        self.execute("DELETE FROM analytics_state")
        self.execute("INSERT INTO analytics_state DEFAULT VALUES")
        self.execute("DELETE FROM analytics_changes")
        self.now, self.zone, self.settings = NOON, "UTC", AnalyticsConfig()

    def content(self, slug: str, source: str = "blog", locale: str = "en", identifier: str = "") -> str:
        identifier = identifier or f"content-{source}-{slug}-{locale}"
        self.execute(
            "INSERT INTO markdown_content (id, slug, locale, title, body, source_id, version_hash) "
            "VALUES (%s, %s, %s, %s, '', %s, '')",
            identifier,
            slug,
            locale,
            slug.capitalize(),
            source,
        )
        return identifier

    def session(self, name: str, **columns: Any) -> str:
        values = {"session_id": name, "user_agent": PERSON, **columns}
        self.execute(
            f"INSERT INTO user_sessions ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))}) "
            "ON CONFLICT DO NOTHING",
            *values.values(),
        )
        return name

    def event(self, session: str, page: str, *, at: datetime | None = None, **columns: Any) -> str:
        """One page_exit of 5 s; `page` is an address, or the id of a content after "#"."""
        values = {
            "id": columns.pop("id", f"event-{next(self.numbers)}"),
            "session_id": session,
            "user_id": "anonymous",
            "page_url": "https://example.com/elsewhere" if page.startswith("#") else page,
            "content_id": page[1:] if page.startswith("#") else None,
            "time_on_page_ms": 5000,
            "created_at": at or self.now,
            "event_data": Jsonb({}),
            **columns,
        }
        self.execute(
            f"INSERT INTO engagement_events ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))}) "
            "ON CONFLICT DO NOTHING",
            *values.values(),
        )
        return str(values["id"])

    def request(self, *, full: bool = False) -> Request:
        patterns = hashlib.sha256(b"test").hexdigest()
        site = Site(route=route, language="en", patterns=patterns)
        return Request(settings=self.settings, site=site, zone=ZoneInfo(self.zone), now=self.now, full=full)

    def capture(self) -> None:
        with psycopg.connect(self.url) as connection:
            look = Schema.look(Statements("scheduler_web.analytics", connection))
            assert install(connection, look) is None

    def run(self, *, full: bool = False, interrupted: bool = False) -> Report:
        """One pass; an interrupted one is undone before it commits."""
        with psycopg.connect(self.url) as connection:
            report = aggregate(connection, self.request(full=full))
            if interrupted:
                connection.rollback()
        return report

    def numbers_now(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that a pass computes, in an order of its own."""
        return {
            "days": self.rows("SELECT * FROM analytics_page_days ORDER BY page, day"),
            "visitors": self.rows("SELECT * FROM analytics_visitor_days ORDER BY page, visitor, day"),
            "sessions": self.rows("SELECT * FROM analytics_sessions ORDER BY session_id, day"),
            "totals": self.rows("SELECT * FROM analytics_totals ORDER BY page"),
            "metrics": self.rows(
                "SELECT content_id, total_views, unique_visitors, avg_time_on_page_seconds, "
                "views_last_7_days, views_last_30_days, trend_direction "
                "FROM content_performance_metrics ORDER BY content_id"
            ),
        }

    def day(self, page: str, day: date | None = None) -> dict[str, Any] | None:
        """The roll-up of a content (its slug), an address ("/about") or the site ("")."""
        row = self.execute(
            "SELECT d.* FROM analytics_daily d LEFT JOIN markdown_content c ON c.id = d.content_id "
            "WHERE d.day = %s AND (CASE WHEN %s = '' THEN d.page = 0 ELSE coalesce(c.slug, d.path) = %s END)",
            day or self.now.date(),
            page,
            page,
        )
        names = [column.name for column in row.description]
        found = row.fetchone()
        return None if found is None else dict(zip(names, found, strict=True))

    def metrics(self, content: str) -> tuple[Any, ...]:
        """(views, visitors, mean seconds, 7 days, 30 days, trend)"""
        return self.rows(
            "SELECT total_views, unique_visitors, avg_time_on_page_seconds, views_last_7_days, "
            "views_last_30_days, trend_direction FROM content_performance_metrics WHERE content_id = %s",
            content,
        )[0]

    def oracle(self) -> dict[tuple[str, date], tuple[int, int, int, int, int, int]]:
        """(page, day) → (views, visits, visitors, bounces, timed, milliseconds), counted event by event.

        Pages: a content's id, an address, "" for the site. Knows nothing of how the passes work.
        """
        return Oracle(self).count()


@dataclass(frozen=True)
class Seen:
    session: str
    visitor: str
    day: date
    page: str
    ms: int


class Oracle:
    def __init__(self, world: World) -> None:
        self._zone = ZoneInfo(world.zone)
        self._sessions = {
            row[0]: row[1:]
            for row in world.rows(
                "SELECT session_id, fingerprint_hash, user_agent, "
                "is_bot OR is_ai_crawler OR is_scanner OR is_behavioral_bot FROM user_sessions"
            )
        }
        self._paths = {
            route(source, slug, locale).rstrip("/"): identifier
            for identifier, source, slug, locale in world.rows(
                "SELECT id, source_id, slug, locale FROM markdown_content"
            )
        }
        self._contents = set(self._paths.values())
        self._events = world.rows(
            "SELECT session_id, page_url, content_id, time_on_page_ms, created_at FROM engagement_events "
            "WHERE event_type = 'page_exit'"
        )

    def count(self) -> dict[tuple[str, date], tuple[int, int, int, int, int, int]]:
        groups: dict[tuple[str, date], list[Seen]] = defaultdict(list)
        visits: dict[tuple[str, date], int] = defaultdict(int)
        for seen in self._views():
            visits[seen.session, seen.day] += 1
            groups[seen.page, seen.day].append(seen)
            groups["", seen.day].append(replace(seen, page=""))
        return {
            key: (
                len(views),
                len({v.session for v in views}),
                len({v.visitor for v in views}),
                len({v.session for v in views if visits[v.session, v.day] == 1}),
                sum(1 for v in views if v.ms),
                sum(v.ms for v in views),
            )
            for key, views in groups.items()
        }

    def _views(self) -> list[Seen]:
        longest: dict[tuple[str, str, datetime], int] = {}
        for session, url, content, ms, at in self._events:
            page = content if content in self._contents else self._page(url)
            key = (session, page, at)
            longest[key] = max(longest.get(key, 0), min(max(ms, 0), 1_800_000))
        found = []
        for (session, page, at), ms in longest.items():
            fingerprint, agent, flagged = self._sessions.get(session, (None, PERSON, False))
            if not flagged and agent != CRAWLER:
                day = at.astimezone(self._zone).date()
                found.append(Seen(session, fingerprint or session, day, page, ms))
        return found

    def _page(self, url: str) -> str:
        path = url.removeprefix("https://example.com").partition("?")[0].partition("#")[0].rstrip("/")
        path = path.removeprefix("/en")
        return self._paths.get(path) or self._paths.get(path.removeprefix("/de")) or path or "/"


@pytest.fixture
def world(make_database: MakeDatabase) -> Iterator[World]:
    made = World(make_database(CORE, WEB))
    made.capture()
    yield made
    made.connection.close()


@pytest.fixture
def bare_world(make_database: MakeDatabase) -> Iterator[World]:
    """Without the capture of changes."""
    made = World(make_database(CORE, WEB))
    yield made
    made.connection.close()


@pytest.fixture
def at() -> Any:
    """A moment so many days (and hours) before the world's noon."""
    return lambda days=0, hours=0: NOON - timedelta(days=days, hours=hours)
