"""What counts as what: views, visitors, time, trend, days, robots, addresses."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from scheduler_web.analytics import lookup
from scheduler_web.analytics.addresses import path_of, without_language
from scheduler_web.analytics.crawlers import is_crawler, list_version
from scheduler_web.analytics.settings import AnalyticsConfig

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TODAY = NOON.date()
A = "https://example.com/blog/a/"
CRAWLER = "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"


def test_time_zero_is_a_view_and_no_time(world: Any) -> None:
    world.content("a")
    for number, ms in enumerate([0, -1500, 10_000, 20_000, 36_000_000]):
        world.event(f"s{number}", A, time_on_page_ms=ms)
    world.run()
    day = world.day("a")
    assert (day["views"], day["timed"]) == (5, 3)
    assert day["mean_ms"] == (10_000 + 20_000 + 1_800_000) / 3
    assert day["median_ms"] == 20_000
    assert world.metrics("content-blog-a-en")[:3] == (5, 5, pytest.approx(610))


def test_an_event_that_came_twice_is_one_view_of_the_longer_time(world: Any) -> None:
    world.content("a")
    for ms in (3000, 9000):
        world.event("s", A, time_on_page_ms=ms)
    world.event("s", A, time_on_page_ms=4000, at=NOON - timedelta(seconds=1))
    world.run()
    day = world.day("a")
    assert (day["views"], day["visits"], day["time_ms"]) == (2, 1, 13_000)


def test_other_events_are_no_views(world: Any) -> None:
    world.event("s", "/about", event_type="scroll")
    world.run()
    assert world.day("") is None
    world.settings = AnalyticsConfig(view_events=("page_exit", "scroll"))
    assert world.run().reason == "definitions changed"
    assert world.day("")["views"] == 1


def test_a_visitor_is_a_fingerprint_else_a_session(world: Any) -> None:
    for name, fingerprint in (("s1", "f"), ("s2", "f"), ("s3", None), ("s4", "")):
        world.session(name, fingerprint_hash=fingerprint)
        world.event(name, "/about")
    world.event("unknown", "/about")
    world.run()
    assert (world.day("/about")["visits"], world.day("/about")["visitors"]) == (5, 4)
    world.settings = AnalyticsConfig(visitor="session")
    world.run()
    assert world.day("/about")["visitors"] == 5


def test_a_bounce_is_a_visit_of_one_view(world: Any) -> None:
    world.event("s1", "/about")
    world.event("s2", "/about")
    world.event("s2", "/", at=NOON - timedelta(minutes=1))
    world.run()
    assert [world.day(page)["bounces"] for page in ("", "/about", "/")] == [1, 1, 0]


def test_who_was_away_for_more_than_30_days_is_new_again(world: Any) -> None:
    identifier = world.content("a")
    world.session("s", fingerprint_hash="f")
    for ago in (71, 41, 40, 9, 0):
        world.event("s", A, at=NOON - timedelta(days=ago))
    world.run()
    rows = world.rows(
        "SELECT day, newcomers FROM analytics_page_days WHERE page <> 0 AND newcomers > 0 ORDER BY 1"
    )
    assert [(TODAY - day).days for day, _ in rows] == [71, 9]
    assert world.metrics(identifier)[:2] == (5, 2)


def test_windows_end_today(world: Any) -> None:
    identifier = world.content("a")
    for ago in (0, 6, 7, 29, 30):
        world.session(f"s{ago}", fingerprint_hash=f"f{ago % 7}")
        world.event(f"s{ago}", A, at=NOON - timedelta(days=ago))
    world.run()
    assert world.metrics(identifier)[3:5] == (2, 4)
    assert world.rows("SELECT visitors_7d, visitors_30d FROM analytics_totals WHERE page = 0") == [(2, 3)]
    world.now += timedelta(days=1)
    assert world.run().closed == 1
    assert world.metrics(identifier)[3:5] == (1, 3)


@pytest.mark.parametrize(
    ("before", "now", "trend"),
    [
        (20, 40, "up"),
        (40, 20, "down"),
        (100, 105, "stable"),
        (1, 5, "stable"),
        (0, 12, "up"),
        (12, 0, "down"),
    ],
)
def test_the_trend_compares_whole_weeks_by_a_threshold(world: Any, before: int, now: int, trend: str) -> None:
    identifier = world.content("a")
    world.event("first", A, at=NOON - timedelta(days=20))
    for days, number in ((9, before), (2, now)):
        for view in range(number):
            world.event(f"s{days}-{view}", A, at=NOON - timedelta(days=days))
    world.run()
    assert world.metrics(identifier)[5] == trend


def test_new_content_has_no_trend(world: Any) -> None:
    identifier = world.content("a")
    for view in range(50):
        world.event(f"s{view}", A, at=NOON - timedelta(days=3))
    world.run()
    assert world.metrics(identifier)[5] == "stable"


@pytest.mark.parametrize("flag", ["is_bot", "is_ai_crawler", "is_scanner", "is_behavioral_bot"])
def test_a_flagged_session_never_counts_also_when_flagged_later(world: Any, flag: str) -> None:
    world.session("s")
    world.event("s", "/about")
    world.run()
    assert world.day("")["views"] == 1
    world.execute(f"UPDATE user_sessions SET {flag} = true")
    world.run()
    assert world.day("") is None
    world.execute(f"UPDATE user_sessions SET {flag} = false")
    world.run()
    assert world.day("")["views"] == 1


def test_a_known_crawler_never_counts(world: Any) -> None:
    world.session("s", user_agent=CRAWLER)
    world.event("s", "/about")
    world.run()
    assert world.day("") is None
    assert world.rows("SELECT bot FROM analytics_sessions") == [(True,)]


@pytest.mark.parametrize(
    ("agent", "robot"),
    [
        (CRAWLER, True),
        ("python-requests/2.32.3", True),
        ("meta-externalagent/1.1", True),
        ("Mozilla/5.0 (compatible; BrandNew/1.0; +https://example.com/bot)", True),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0.0.0 Safari/537.36",
            False,
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; Cubot P30) AppleWebKit/537.36 Chrome/100 Mobile Safari/537.36",
            False,
        ),
        ("", False),
    ],
)
def test_knows_robots_by_their_agent(agent: str, robot: bool) -> None:
    assert is_crawler(agent) == robot
    assert list_version()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/blog/a/",
        "https://example.com/blog/a",
        "HTTPS://WWW.Example.COM/blog/a/",
        "http://example.com:8080/blog/a/",
        "//example.com/blog/a/",
        "/blog/a",
        "https://example.com/blog/a/?utm_source=x&fbclid=1",
        "https://example.com/blog/a/#part",
        "https://example.com/blog/a/index.html",
        "https://example.com/blog/a/INDEX.HTM?x",
        "https://example.com/en/blog/a/",
        "https://example.com/de/blog/a/",
        "https://example.com/pt-BR/blog/a",
        "https://example.com//blog///a//",
        "https://example.com/blog/%61/",
        "https://example.com/blog/./x/../a/",
        "https://example.com\\blog\\a",
        "  https://example.com/blog/a/  ",
    ],
)
def test_an_address_is_found_in_any_spelling(world: Any, url: str) -> None:
    world.content("a")
    world.event("s", url)
    world.run()
    assert world.day("a")["views"] == 1


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("", "/"),
        ("https://example.com", "/"),
        ("?a#b", "/"),
        ("https://example.com/caf%C3%A9", "/café"),
        ("https://example.com/cafe%CC%81", "/café"),
        ("https://example.com/a%00b", "/a\ufffdb"),
        ("https://example.com/%ff", "/\ufffd"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/A/b", "/A/b"),
        ("/index.html", "/"),
        ("/" + "ü" * 5000, "/" + "ü" * 599),
    ],
)
def test_reads_any_address(url: str, path: str) -> None:
    assert path_of(url) == path


def test_a_language_is_dropped_only_where_it_is_one() -> None:
    assert without_language("/de/blog/a", {"de"}) == "/blog/a"
    assert without_language("/docs/blog/a", {"de"}) == "/docs/blog/a"
    assert without_language("/fr/x") == "/x"
    assert without_language("/de", {"de"}) == "/"


def test_each_language_has_its_own_content(world: Any) -> None:
    world.content("a")
    world.content("a", locale="de")
    world.event("s1", "https://example.com/de/blog/a")
    world.event("s2", "https://example.com/blog/a")
    world.run()
    rows = world.rows("SELECT content_id, views FROM analytics_daily WHERE page <> 0 ORDER BY 1")
    assert rows == [("content-blog-a-de", 1), ("content-blog-a-en", 1)]


def test_the_content_id_comes_before_the_address(world: Any) -> None:
    world.content("a")
    identifier = world.content("b")
    world.event("s", A, content_id=identifier)
    world.event("s2", A, content_id="nobody's")
    world.run()
    assert (world.day("b")["views"], world.day("a")["views"]) == (1, 1)


def test_what_is_no_content_is_counted_and_the_top_of_it_told(world: Any) -> None:
    for number in range(7):
        for view in range(number + 1):
            world.event(f"s{number}-{view}", f"/page-{number}")
    report = world.run()
    assert report.other[0] == (7, 28, "/page-6", 7)
    assert len(report.other) == 5


def test_invented_addresses_do_not_fill_the_database(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "MOST_OTHERS", 3)
    for number in range(6):
        world.event(f"s{number}", f"/invented-{number}")
    world.run()
    world.event("late", "/invented-9")
    world.run()
    rows = world.rows("SELECT path, views FROM analytics_daily WHERE page <> 0 ORDER BY path")
    assert rows == [("(more)", 4), ("/invented-0", 1), ("/invented-1", 1), ("/invented-2", 1)]


def test_a_day_is_the_sites_across_the_change_of_clocks(world: Any) -> None:
    """Zurich, 25 October 2026: 25 hours, from 22:00 UTC to 23:00 UTC the next day."""
    world.settings, world.zone = AnalyticsConfig(), "Europe/Zurich"
    for number, moment in enumerate(("24T21:59", "24T22:00", "25T00:30", "25T01:30", "25T22:59", "25T23:00")):
        world.event(f"s{number}", "/about", at=datetime.fromisoformat(f"2026-10-{moment}+00:00"))
    world.run()
    rows = world.rows("SELECT day, views FROM analytics_page_days WHERE page = 0 ORDER BY 1")
    assert rows == [(date(2026, 10, 24), 1), (date(2026, 10, 25), 4), (date(2026, 10, 26), 1)]


def test_another_time_zone_counts_everything_anew(world: Any) -> None:
    world.event("s", "/about", at=NOON - timedelta(hours=11))
    world.run()
    world.zone = "America/New_York"
    assert world.run().reason == "definitions changed"
    assert world.rows("SELECT day FROM analytics_page_days WHERE page = 0") == [(TODAY - timedelta(days=1),)]


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC", "12026-01-01", "2200-06-01"])
def test_an_instant_that_no_clock_shows_counts_nowhere_and_stops_nothing(world: Any, moment: str) -> None:
    world.run()
    world.event("s", "/about")
    world.event("s", "/about", at=moment)
    for full in (False, True):
        world.run(full=full)
        assert world.rows("SELECT sum(views) FROM analytics_page_days WHERE page = 0") == [(1,)]


def test_the_last_instant_of_a_second_belongs_to_it(world: Any) -> None:
    """A report until 07:00:00 counts what came before, to the microsecond."""
    world.event("s", "/about", at=datetime(2026, 11, 22, 6, 59, 59, 999_999, tzinfo=UTC))
    world.event("s", "/about", at=datetime(2026, 11, 21, 23, 59, 59, 600_000, tzinfo=UTC))
    for full in (False, True):
        world.run(full=full)
        rows = world.rows("SELECT seen_at FROM analytics_sessions ORDER BY day")
        assert rows == [([86399],), ([25199],)]
