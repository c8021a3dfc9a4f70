"""Passes: what they read, what interrupts them, what is gone, what was restored, who may not."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from scheduler_web.analytics import run as job_run
from scheduler_web.analytics.capture import captured, install
from scheduler_web.analytics.job import AggregationParameters, ContentAnalyticsAggregation, summary
from scheduler_web.analytics.passes import aggregate
from scheduler_web.analytics.schema import Schema
from scheduler_web.analytics.settings import AnalyticsConfig
from scheduler_web.analytics.statements import Statements
from scheduler_web.config import WebConfig

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
A = "https://example.com/blog/a/"


def views(world: Any, page: str = "", days_ago: int = 0) -> int:
    day = world.day(page, (world.now - timedelta(days=days_ago)).date())
    return 0 if day is None else int(day["views"])


def test_reads_only_what_is_new(world: Any) -> None:
    for number in range(20):
        world.event(f"s{number}", "/about")
    assert world.run().mode == "full"
    assert world.run().sessions == 0
    world.event("s3", "/about", at=NOON - timedelta(minutes=5))
    report = world.run()
    assert (report.mode, report.sessions, report.views) == ("incremental", 1, 1)
    assert views(world) == 21


def test_an_event_that_is_committed_late_is_not_lost(world: Any) -> None:
    world.run()
    with psycopg.connect(world.url) as slow:
        slow.execute(
            "INSERT INTO engagement_events (id, session_id, user_id, page_url, created_at) "
            "VALUES ('slow', 'slow', 'a', '/about', %s)",
            (NOON,),
        )
        world.event("quick", "/about")
        assert world.run().views == 1
        assert world.run().views == 0
        slow.commit()
    assert world.run().views == 1
    assert views(world) == 2


@pytest.mark.parametrize("days", [1, 7])
def test_a_late_event_corrects_its_day(world: Any, days: int) -> None:
    world.run()
    world.event("s", "/about", at=NOON - timedelta(days=days))
    assert world.run().views == 1
    assert views(world, days_ago=days) == 1


def test_an_event_that_is_too_late_is_told_and_counted_by_a_full_recomputation(world: Any) -> None:
    world.event("other", "/about", at=NOON - timedelta(days=8))
    world.run()
    world.event("s", "/about", at=NOON - timedelta(days=8))
    report = world.run()
    assert report.too_late == 1
    assert "1 event came too late to correct a closed day (-p full=true counts all)" in summary(report)
    assert views(world, days_ago=8) == 1
    world.run(full=True)
    assert views(world, days_ago=8) == 2


def test_deleted_and_changed_events_are_taken_back(world: Any) -> None:
    first, second = world.event("s1", "/about"), world.event("s2", "/about")
    world.run()
    world.execute("DELETE FROM engagement_events WHERE id = %s", first)
    world.execute("UPDATE engagement_events SET page_url = '/other', session_id = 's9' WHERE id = %s", second)
    world.run()
    assert (views(world), views(world, "/about"), views(world, "/other")) == (1, 0, 1)
    world.execute("TRUNCATE engagement_events")
    assert world.run().reason == "engagement_events was emptied"
    assert views(world) == 0


def test_an_interrupted_pass_changes_nothing(world: Any) -> None:
    world.run()
    world.event("s", "/about")
    before = world.numbers_now()
    assert world.run(interrupted=True).views == 1
    assert world.numbers_now() == before
    assert world.run().views == 1


def test_two_passes_at_once_count_once(world: Any) -> None:
    for number in range(50):
        world.event(f"s{number}", "/about")
    world.run()
    for number in range(50, 80):
        world.event(f"s{number}", "/about")
    threads = [threading.Thread(target=world.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert views(world) == 80


def test_pruned_events_do_not_empty_closed_days(world: Any) -> None:
    identifier = world.content("a")
    for days in (20, 10, 1):
        for number in range(3):
            world.event(f"s{days}-{number}", A, at=NOON - timedelta(days=days))
    world.run()
    before = world.numbers_now()
    world.execute("DELETE FROM engagement_events WHERE created_at < %s", NOON - timedelta(days=9))
    world.run()
    report = world.run(full=True)
    assert [day.day for day in report.kept] == [2, 12]
    assert world.numbers_now() == before
    assert world.metrics(identifier)[0] == 9


def test_removed_sessions_do_not_turn_robots_into_people(world: Any) -> None:
    for days in (10, 2):
        world.session(f"robot{days}", is_bot=True)
        world.session(f"person{days}", fingerprint_hash="f")
        world.event(f"robot{days}", "/about", at=NOON - timedelta(days=days))
        world.event(f"person{days}", "/about", at=NOON - timedelta(days=days))
    world.run()
    before = world.numbers_now()
    world.execute("DELETE FROM user_sessions")
    world.run()
    world.event("robot2", "/about", at=NOON - timedelta(days=2, minutes=5))
    world.run()
    assert world.numbers_now()["days"] == before["days"]
    report = world.run(full=True)
    assert len(report.kept) == 1
    assert world.numbers_now()["days"] == before["days"]


def test_closing_a_day_keeps_its_median(world: Any) -> None:
    for number, ms in enumerate((1000, 5000, 6000, 20_000)):
        world.event(f"s{number}", "/about", time_on_page_ms=ms)
    world.run()
    day = NOON.date()
    assert world.day("/about", day)["median_ms"] == 5500
    world.now += timedelta(days=8)
    assert world.run().closed == 8
    assert world.rows("SELECT count(*) FROM analytics_sessions") == [(0,)]
    assert world.day("/about", day)["median_ms"] == world.day("", day)["median_ms"] == 5500
    before = world.numbers_now()
    world.run(full=True)
    assert world.numbers_now() == before


def test_a_clock_that_goes_back_closes_nothing_twice(world: Any) -> None:
    world.event("s", "/about")
    world.run()
    world.now += timedelta(days=2)
    world.run()
    world.now -= timedelta(days=2)
    world.event("s2", "/about")
    world.run()
    assert views(world) == 2


def test_a_renamed_content_keeps_its_readers(world: Any) -> None:
    identifier = world.content("a")
    world.event("s1", A)
    world.run()
    world.execute("UPDATE markdown_content SET slug = 'z'")
    world.event("s2", A)
    world.event("s3", "https://example.com/blog/z/")
    world.run()
    assert world.metrics(identifier)[0] == 3
    world.run(full=True)
    assert world.metrics(identifier)[0] == 3


def test_an_address_that_becomes_a_content_is_counted_as_it(world: Any) -> None:
    world.event("s1", A)
    world.event("s2", A, at=NOON - timedelta(days=30))
    world.run()
    assert views(world, "/blog/a") == 1
    identifier = world.content("a")
    report = world.run()
    assert report.reason == "addresses of closed days belong to other pages now"
    assert world.metrics(identifier)[0] == 2
    assert views(world, "/blog/a") == 0


def test_a_deleted_content_leaves_the_sites_numbers_alone(world: Any) -> None:
    world.content("a")
    world.event("s", A)
    world.run()
    world.execute("DELETE FROM markdown_content")
    world.event("s2", A)
    world.run()
    assert views(world) == 2
    assert world.rows("SELECT views FROM analytics_daily WHERE content_id = 'content-blog-a-en'") == [(2,)]
    assert world.rows("SELECT count(*) FROM content_performance_metrics") == [(0,)]


def test_published_addresses_and_aliases_are_known(world: Any) -> None:
    world.content("a")
    world.execute(
        "INSERT INTO web_documents (content_id, source, path, hash, meta) "
        """VALUES ('content-blog-a-en', 'b', 'a', '', '{"url": "/elsewhere/a/", "aliases": ["/old/a/"]}')"""
    )
    for number, url in enumerate(("/elsewhere/a", "/old/a", "/blog/a")):
        world.event(f"s{number}", url)
    world.run()
    assert views(world, "a") == 3


def test_other_columns_of_the_metrics_stay(world: Any) -> None:
    identifier = world.content("a")
    world.execute(
        "INSERT INTO content_performance_metrics (id, content_id, total_views, search_clicks) "
        "VALUES ('m', %s, 99, 7)",
        identifier,
    )
    world.event("s", A)
    world.run()
    rows = world.rows("SELECT id, total_views, search_clicks FROM content_performance_metrics")
    assert rows == [("m", 1, 7)]


def test_a_restored_database_is_counted_anew(world: Any) -> None:
    world.event("s", "/about")
    world.run()
    world.execute("UPDATE analytics_state SET cluster = 1")
    assert world.run().reason == "the database was restored or copied"
    world.execute("UPDATE analytics_state SET watermark = '900000000000'")
    assert world.run().reason == "the database was restored or copied"


def test_many_changes_at_once_compute_the_open_days(world: Any) -> None:
    world.run()
    world.settings = AnalyticsConfig(rebuild_sessions=10)
    for number in range(11):
        world.event(f"s{number}", "/about")
    report = world.run()
    assert (report.mode, report.reason) == ("open", "more than 10 sessions changed")
    assert views(world) == 11


def test_without_the_capture_the_numbers_are_the_same(bare_world: Any) -> None:
    world = bare_world
    world.content("a")
    world.session("s1", fingerprint_hash="f")
    gone = world.event("s0", A)
    for days in (20, 3, 0):
        world.event("s1", A, at=NOON - timedelta(days=days))
    world.run()
    world.execute("DELETE FROM engagement_events WHERE id = %s", gone)
    world.event("s2", A)
    report = world.run()
    assert (report.mode, report.reason) == ("open", "changes of engagement_events are not captured")
    before = world.numbers_now()
    world.run(full=True)
    assert world.numbers_now() == before
    world.capture()
    assert world.run().reason == "the capture of changes is new"
    assert world.run().mode == "incremental"
    world.execute("DROP TRIGGER analytics_delete ON engagement_events")
    assert world.run().mode == "open"


def test_an_index_that_was_left_unfinished_is_made_anew(bare_world: Any) -> None:
    world = bare_world
    world.capture()
    world.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'engagement_events_arrived'::regclass"
    )
    with psycopg.connect(world.url) as connection:
        statements = Statements("scheduler_web.analytics", connection)
        assert captured(statements) is None
        assert install(connection, Schema.look(statements)) is None
        assert captured(statements) is not None


def test_who_may_not_change_the_applications_tables_counts_all_the_same(bare_world: Any) -> None:
    world = bare_world
    world.execute("DROP ROLE IF EXISTS analytics_guest")
    world.execute("CREATE ROLE analytics_guest")
    world.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO analytics_guest")
    world.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO analytics_guest")
    world.event("s", "/about")
    try:
        with psycopg.connect(world.url) as connection:
            connection.execute("SET ROLE analytics_guest")
            look = Schema.look(Statements("scheduler_web.analytics", connection))
            assert "must be owner of table engagement_events" in str(install(connection, look))
            aggregate(connection, world.request())
        assert views(world) == 1
    finally:
        world.execute("DROP OWNED BY analytics_guest")
        world.execute("DROP ROLE analytics_guest")


def test_nobody_waits_for_the_capture(bare_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from scheduler_web.analytics import capture

    monkeypatch.setattr(capture, "_LOCK_LIMIT", "SET lock_timeout = '20ms'")
    with psycopg.connect(bare_world.url) as busy, psycopg.connect(bare_world.url) as connection:
        busy.execute("SELECT count(*) FROM engagement_events")
        look = Schema.look(Statements("scheduler_web.analytics", connection))
        assert "lock timeout" in str(install(connection, look))
        assert connection.autocommit is False


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ("ALTER TABLE user_sessions DROP COLUMN is_ai_crawler CASCADE", ["user_sessions.is_ai_crawler"]),
        (
            "ALTER TABLE user_sessions DROP COLUMN fingerprint_hash CASCADE",
            ["user_sessions.fingerprint_hash (a session is a visitor)"],
        ),
        (
            "DROP TABLE user_sessions CASCADE",
            ["user_sessions (robots cannot be told, a session is a visitor)"],
        ),
        ("DROP TABLE web_documents", []),
    ],
)
def test_works_on_older_databases_and_says_what_is_not_there(
    bare_world: Any, change: str, missing: list[str]
) -> None:
    world = bare_world
    world.execute(change)
    world.capture()
    world.event("s", "/about")
    assert world.run().missing == missing
    world.event("s", "/other", at=NOON - timedelta(minutes=1))
    assert world.run().mode == "incremental"
    before = world.numbers_now()
    world.run(full=True)
    assert world.numbers_now() == before
    assert views(world) == 2


class Context:
    """What a run is handed, as far as the job uses it."""

    def __init__(self, url: str, **parameters: Any) -> None:
        self.url = url
        self.parameters = AggregationParameters(**parameters)
        self.config = WebConfig.model_validate({"content_sources": {"blog": {"path": "x"}}})
        self.timezone = "UTC"
        self.lines: list[str] = []
        self.logger = self
        self.notes: list[str] = []

    def info(self, message: str, /, **_: Any) -> None:
        self.lines.append(message)

    warning = info

    def sync_db(self) -> Any:
        return psycopg.connect(self.url)

    def progress(self, done: int, total: int | None = None, note: str = "") -> None:
        self.notes.append(note)


def test_the_job_from_nothing(bare_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = bare_world
    now = datetime.now(UTC)
    world.content("a")
    world.event("s", "https://example.com/a/", at=now)
    context: Any = Context(world.url)
    result = ContentAnalyticsAggregation().execute(context)
    assert result.ok
    assert result.message == "all days computed anew (the first pass): 1 event"
    assert context.lines == ["changes of engagement_events are captured from now on"]
    assert "reading the events" in context.notes
    world.event("s2", "https://example.com/nowhere", at=now)
    again = ContentAnalyticsAggregation().execute(Context(world.url))  # type: ignore[arg-type]
    assert again.message == (
        "1 session counted again: +1 view of 1 page; "
        "of no content in 30 days: 1 view of 1 address, most of /nowhere 1"
    )
    idle = ContentAnalyticsAggregation().execute(Context(world.url))  # type: ignore[arg-type]
    assert str(idle.message).startswith("nothing new; ")
    full = ContentAnalyticsAggregation().execute(Context(world.url, full=True))  # type: ignore[arg-type]
    assert "all days computed anew (asked for): 2 events" in str(full.message)
    assert job_run.site(context.config).route("nobody", "a", "en") is None


def test_the_applications_writes_need_no_rights_on_our_tables(world: Any) -> None:
    world.run()
    event = world.event("s0", "/about")
    world.session("s")
    world.execute("DROP ROLE IF EXISTS analytics_app")
    world.execute("CREATE ROLE analytics_app")
    try:
        for table in ("engagement_events", "user_sessions"):
            world.execute(f"GRANT ALL ON {table} TO analytics_app")
        with psycopg.connect(world.url, autocommit=True) as connection:
            connection.execute("SET ROLE analytics_app")
            connection.execute("UPDATE user_sessions SET is_bot = true")
            connection.execute("UPDATE engagement_events SET session_id = 's'")
            connection.execute(sql.SQL("DELETE FROM engagement_events WHERE id = {}").format(event))
            connection.execute("TRUNCATE engagement_events")
        assert len(world.rows("SELECT FROM analytics_changes")) == 4
    finally:
        world.execute("DROP OWNED BY analytics_app")
        world.execute("DROP ROLE analytics_app")
