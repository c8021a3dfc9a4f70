"""After any history of events, changes and passes, the numbers are those of a full recomputation."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("ANALYTICS_EXAMPLES", "30"))
SESSIONS = [f"s{n}" for n in range(7)]
PAGES = [
    "#content-blog-a-en",
    "#content-blog-b-en",
    "https://example.com/blog/a/",
    "https://example.com/blog/a?x=1",
    "https://example.com/en/blog/b#top",
    "https://example.com/de/blog/b",
    "https://example.com/about",
    "https://example.com/",
]
AGENTS = ["person", "crawler"]

sessions = st.sampled_from(SESSIONS)
hours = st.integers(0, 7 * 24 - 1)
events = st.tuples(
    st.just("event"),
    sessions,
    st.sampled_from(PAGES),
    hours,
    st.sampled_from([0, 0, 4000, 61_000, -5, 9_999_999]),
)
steps = st.one_of(
    events,
    events,
    events,
    st.tuples(st.just("twice"), st.integers(0, 99)),
    st.tuples(st.just("delete"), st.integers(0, 99)),
    st.tuples(st.just("update"), st.integers(0, 99), st.sampled_from(PAGES), hours, sessions),
    st.tuples(st.just("session"), sessions, st.sampled_from(["f1", "f2", None]), st.sampled_from(AGENTS)),
    st.tuples(st.just("flag"), sessions, st.booleans()),
    st.tuples(st.just("fingerprint"), sessions, st.sampled_from(["f1", "f3", None])),
    st.tuples(st.just("late commit"), sessions, st.sampled_from(PAGES), hours),
    st.tuples(st.just("commit")),
    st.tuples(st.just("publish"), st.sampled_from(["b", "c"])),
    st.tuples(st.just("wait"), st.integers(1, 30)),
    st.tuples(st.just("truncate")),
    st.tuples(st.just("pass")),
    st.tuples(st.just("pass")),
    st.tuples(st.just("interrupted pass")),
)


class History:
    """Carries out a list of steps."""

    def __init__(self, world: Any, crawler: str, person: str) -> None:
        self.world = world
        self.agents = {"crawler": crawler, "person": person}
        self.open: list[psycopg.Connection[Any]] = []
        world.empty()
        world.content("a")

    def do(self, step: tuple[Any, ...]) -> None:
        getattr(self, "_" + step[0].replace(" ", "_"))(*step[1:])

    def end(self) -> None:
        self._commit()

    def _ids(self) -> list[str]:
        first = self.world.now - timedelta(days=6)
        rows = self.world.rows("SELECT id FROM engagement_events WHERE created_at >= %s ORDER BY id", first)
        return [row[0] for row in rows]

    def _event(self, session: str, page: str, ago: int, ms: int) -> None:
        self.world.event(session, page, at=self.world.now - timedelta(hours=ago), time_on_page_ms=ms)

    def _twice(self, number: int) -> None:
        if ids := self._ids():
            self.world.execute(
                "INSERT INTO engagement_events (id, session_id, user_id, page_url, content_id, "
                "time_on_page_ms, created_at) SELECT id || '-again-' || %s, session_id, user_id, page_url, "
                "content_id, time_on_page_ms + 1000, created_at FROM engagement_events WHERE id = %s",
                next(self.world.numbers),
                ids[number % len(ids)],
            )

    def _delete(self, number: int) -> None:
        if ids := self._ids():
            self.world.execute("DELETE FROM engagement_events WHERE id = %s", ids[number % len(ids)])

    def _update(self, number: int, page: str, ago: int, session: str) -> None:
        if ids := self._ids():
            self.world.execute(
                "UPDATE engagement_events SET page_url = %s, content_id = NULL, created_at = %s, "
                "session_id = %s WHERE id = %s",
                page.replace("#content-blog-a-en", "/x").replace("#content-blog-b-en", "/y"),
                self.world.now - timedelta(hours=ago),
                session,
                ids[number % len(ids)],
            )

    def _session(self, name: str, fingerprint: str | None, agent: str) -> None:
        """A session may be written before, between or after its events."""
        if not self._old(name):
            self.world.session(name, fingerprint_hash=fingerprint, user_agent=self.agents[agent])

    def _flag(self, name: str, robot: bool) -> None:
        if not self._old(name):
            self.world.execute(
                "UPDATE user_sessions SET is_behavioral_bot = %s WHERE session_id = %s", robot, name
            )

    def _fingerprint(self, name: str, fingerprint: str | None) -> None:
        if not self._old(name):
            self.world.execute(
                "UPDATE user_sessions SET fingerprint_hash = %s WHERE session_id = %s", fingerprint, name
            )

    def _old(self, name: str) -> bool:
        """Whether it has events of closed days, which nothing changes any more but a full recomputation."""
        first = self.world.now - timedelta(days=6)
        return bool(
            self.world.rows(
                "SELECT FROM engagement_events WHERE session_id = %s AND created_at < %s", name, first
            )
        )

    def _late_commit(self, session: str, page: str, ago: int) -> None:
        """A transaction that has written, and commits some passes later."""
        connection = psycopg.connect(self.world.url)
        connection.execute(
            "INSERT INTO engagement_events (id, session_id, user_id, page_url, content_id, time_on_page_ms, "
            "created_at) VALUES (%s, %s, 'anonymous', %s, %s, 3000, %s)",
            (
                f"late-{next(self.world.numbers)}",
                session,
                page,
                page[1:] if page[0] == "#" else None,
                self.world.now - timedelta(hours=min(ago, 100)),
            ),
        )
        self.open.append(connection)

    def _commit(self) -> None:
        for connection in self.open:
            connection.commit()
            connection.close()
        self.open.clear()

    def _publish(self, slug: str) -> None:
        if not self.world.rows("SELECT FROM markdown_content WHERE slug = %s", slug):
            self.world.content(slug)

    def _wait(self, hours: int) -> None:
        self._commit()
        self.world.now += timedelta(hours=hours)
        self.world.run()

    def _truncate(self) -> None:
        self._commit()
        closed = self.world.now - timedelta(days=7)
        if not self.world.rows("SELECT FROM engagement_events WHERE created_at < %s", closed):
            self.world.execute("TRUNCATE engagement_events")

    def _pass(self) -> None:
        self.world.run()

    def _interrupted_pass(self) -> None:
        self.world.run(interrupted=True)


@pytest.fixture
def agents() -> tuple[str, str]:
    from scheduler_web.analytics.crawlers import is_crawler

    crawler = "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"
    person = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
    assert is_crawler(crawler)
    assert not is_crawler(person)
    return crawler, person


def test_incremental_passes_equal_a_full_recomputation(world: Any, agents: tuple[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        derandomize="ANALYTICS_EXAMPLES" not in os.environ,
        database=None,
    )
    @given(st.lists(steps, min_size=5, max_size=40))
    def holds(history: list[tuple[Any, ...]]) -> None:
        carried = History(world, *agents)
        for step in history:
            carried.do(step)
        carried.end()
        assert world.run().mode in ("incremental", "open", "full")
        incremental = world.numbers_now()
        _equals_oracle(world)
        world.run(full=True)
        full = world.numbers_now()
        for name in full:
            assert incremental[name] == full[name], name

    holds()


def _equals_oracle(world: Any) -> None:
    rows = world.rows(
        "SELECT coalesce(content_id, CASE WHEN page = 0 THEN '' ELSE path END), day, views, visits, "
        "visitors, bounces, timed, time_ms FROM analytics_daily"
    )
    counted = {(row[0], row[1]): tuple(row[2:]) for row in rows}
    assert counted == world.oracle()
