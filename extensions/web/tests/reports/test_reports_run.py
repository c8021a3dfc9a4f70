"""Both reports from events to message, on a real database: right numbers, kept, and sent once."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from scheduler_web.reports import activity, chart, delivery, figures
from scheduler_web.reports.delivery import Slot, deliver, store
from scheduler_web.reports.discord import DiscordError
from scheduler_web.reports.embeds import TOTAL, size
from scheduler_web.reports.period import Moment
from scheduler_web.reports.run import run
from scheduler_web.reports.traffic import embed

EVENING = datetime(2026, 11, 22, 19, tzinfo=UTC)
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"


def execute(url: str, statement: str, *values: Any) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def visit(url: str, session: str, moment: datetime, *spent_ms: int, **columns: Any) -> None:
    """A session with one view a minute from `moment` on."""
    values = {"session_id": session, "user_agent": PERSON, "started_at": moment, **columns}
    execute(
        url,
        f"INSERT INTO user_sessions ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})",
        *values.values(),
    )
    for number, spent in enumerate(spent_ms):
        execute(
            url,
            "INSERT INTO engagement_events (id, session_id, user_id, page_url, time_on_page_ms, created_at) "
            "VALUES (%s, %s, 'a', %s, %s, %s)",
            f"{session}-{number}",
            session,
            ("/blog/a/", "/")[number % 2],
            spent,
            moment + timedelta(minutes=number),
        )


@pytest.fixture
def today(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Traffic around EVENING; the aggregation believes that it is then."""
    execute(
        database,
        "INSERT INTO markdown_content (id, slug, title, body, source_id, version_hash, published_at) "
        "VALUES ('c1', 'a', 'A [strange] @everyone title', '', 'content', '', '2026-11-01')",
    )
    swiss = {"country": "CH", "device_type": "mobile", "referrer_source": "google"}
    for number in range(3):
        start = EVENING - timedelta(hours=5)
        visit(database, f"t{number}", start, 30_000, 60_000, fingerprint_hash=f"f{number}", **swiss)
    visit(database, "bounce", EVENING - timedelta(hours=1), 0, fingerprint_hash="f0", utm_source="newsletter")
    visit(database, "after", EVENING + timedelta(minutes=30), 10_000)
    visit(database, "robot", EVENING - timedelta(hours=2), 0, is_bot=True)
    for day in range(1, 8):
        visit(
            database, f"d{day}", EVENING - timedelta(days=day, hours=2), 90_000, 0, fingerprint_hash=f"x{day}"
        )
        visit(database, f"night{day}", EVENING - timedelta(days=day) + timedelta(hours=1), 5_000)
    from scheduler_web.analytics import run as analytics

    class Clock:
        @staticmethod
        def now(_: Any) -> datetime:
            return EVENING + timedelta(hours=1)

    monkeypatch.setattr(analytics, "datetime", Clock)
    return database


def report_of(url: str) -> Any:
    return execute(url, "SELECT report_data FROM admin_traffic_reports")[0][0]


def test_top_content_is_of_the_same_views(today: str, discord: Any, make_context: Any) -> None:
    execute(today, "UPDATE engagement_events SET content_id = 'c1' WHERE page_url = '/blog/a/'")
    run(make_context(discord.webhook), "traffic")
    (top,) = report_of(today)["top_content"]
    assert (top["views"], top["visitors"], top["median_time_ms"]) == (4, 3, 30_000)
    execute(today, "DELETE FROM markdown_content")
    run(make_context(discord.webhook, parameters={"resend": True}), "traffic")
    told = [message.payload["embeds"][0]["fields"][1]["value"] for message in discord.messages]
    assert "A \\[strange\\] @\u200beveryone title" in told[0]
    assert ["](" in line for line in told] == [True, False]


def test_a_report_made_after_midnight_leaves_closed_days_out_of_the_mean(
    today: str, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scheduler_web.analytics import run as analytics

    class Clock:
        @staticmethod
        def now(_: Any) -> datetime:
            return EVENING + timedelta(hours=6)

    monkeypatch.setattr(analytics, "datetime", Clock)
    run(make_context(), "traffic")
    sessions = report_of(today)["sessions"]
    assert (sessions["today"], sessions["7d_avg"], sessions["14d_avg"]) == (4, 1, 2)


def test_traffic_is_told_until_the_hour_and_against_the_same_hour(
    today: str, discord: Any, make_context: Any, png_size: Any
) -> None:
    context = make_context(discord.webhook)
    result = run(context, "traffic")
    assert result.ok, result.message
    assert result.message == "stored; sent"
    data, period, day = execute(
        today, "SELECT report_data, report_period, report_date FROM admin_traffic_reports"
    )[0]
    assert (period, day) == ("pm", date(2026, 11, 22))
    assert data["page_views"]["today"] == 7
    assert data["sessions"] == {
        "today": 4, "yesterday": 1, "7d_avg": 1, "yesterday_whole": 2,
        "14d_avg": 2, "30d_avg": 2,
    }  # fmt: skip
    assert data["unique_visitors"]["today"] == 3
    assert data["bounce_rate"]["today"] == 0.25
    assert data["pages_per_session"]["today"] == 1.75
    assert data["median_time_ms"]["today"] == 45_000
    assert data["robot_sessions"] == 1
    assert data["sources"] == [["google", 3], ["newsletter", 1]]
    assert data["countries"] == [["CH", 3], ["unknown", 1]]
    assert data["sparklines"]["page_views"][-2:] == [3, 7]
    message = discord.messages[0]
    assert png_size(message.files["files[0]"]) == (1200, 600)
    made = message.payload["embeds"][0]
    assert made["title"] == "Traffic · Sunday 22 November, 19:00"
    assert "@everyone" not in json.dumps(message.payload)
    assert "Views **7** · ▲250 % · ▲250 %" in made["fields"][0]["value"].replace("\N{NO-BREAK SPACE}", " ")


def test_is_kept_and_says_so_without_a_webhook(today: str, make_context: Any) -> None:
    result = run(make_context(), "traffic")
    assert result.ok
    assert result.message == "stored; not sent: no webhook configured"
    assert execute(today, "SELECT count(*) FROM admin_traffic_reports") == [(1,)]


def test_a_dry_run_prints_and_keeps_nothing(today: str, discord: Any, make_context: Any) -> None:
    context = make_context(discord.webhook, parameters={"dry_run": True})
    result = run(context, "traffic")
    assert result.message == "printed, not kept, not sent"
    assert any("Traffic · Sunday 22 November, 19:00" in line for line in context.logger.lines)
    assert not any("**" in line for line in context.logger.lines)
    assert discord.requests == 0
    assert execute(today, "SELECT count(*) FROM admin_traffic_reports") == [(0,)]


def test_goes_without_a_picture_where_matplotlib_is_not_installed(
    today: str, discord: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart, "available", lambda: False)
    result = run(make_context(discord.webhook), "traffic")
    assert "without a chart: matplotlib is not installed" in str(result.message)
    message = discord.messages[0]
    assert not message.files
    assert "image" not in message.payload["embeds"][0]
    assert "without a chart" in message.payload["embeds"][0]["footer"]["text"]


def test_a_report_is_sent_once_for_its_period(today: str, discord: Any, make_context: Any) -> None:
    run(make_context(discord.webhook), "traffic")
    again = run(make_context(discord.webhook, run_id="run-2"), "traffic")
    assert again.ok
    assert "not sent again: it was sent at" in str(again.message)
    assert len(discord.messages) == 1
    run(make_context(discord.webhook, scheduled_for=EVENING - timedelta(hours=12)), "traffic")
    run(make_context(discord.webhook, parameters={"resend": True}), "traffic")
    assert len(discord.messages) == 3
    periods = execute(today, "SELECT report_period FROM admin_traffic_reports ORDER BY 1")
    assert periods == [("am",), ("pm",)]


def test_a_message_sent_by_hand_does_not_stand_for_a_later_planned_one(
    today: str, discord: Any, make_context: Any
) -> None:
    slot = Slot(report="traffic", day=date(2026, 11, 22), period="pm", until=EVENING - timedelta(hours=4))
    with psycopg.connect(today) as connection:
        store(connection, slot, {})
        assert deliver(connection, slot, "by hand", lambda: "1") == "sent"
    assert run(make_context(discord.webhook), "traffic").message == "stored; sent"
    again = run(make_context(discord.webhook, run_id="run-2"), "traffic")
    assert "it was sent at" in str(again.message)
    by_hand = run(make_context(discord.webhook, run_id="run-3", scheduled_for=None), "activity")
    assert by_hand.message == "stored; sent"
    twice = run(make_context(discord.webhook, run_id="run-4", scheduled_for=None), "activity")
    assert "it was sent at" in str(twice.message)
    assert len(discord.messages) == 2


def test_a_crash_between_sending_and_recording_sends_nothing_twice(
    today: str, discord: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    context = make_context(discord.webhook)
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "_settle", crash)
        with pytest.raises(KeyboardInterrupt):
            run(context, "traffic")
    assert len(discord.messages) == 1
    again = run(make_context(discord.webhook, run_id="run-2"), "traffic")
    assert "run run-1 ended while sending it, so it may have arrived" in str(again.message)
    assert len(discord.messages) == 1


def test_what_surely_did_not_arrive_is_sent_by_the_next_run(
    today: str, discord: Any, make_context: Any, reply: Any
) -> None:
    discord.replies = [reply(404, {"message": "Unknown Webhook", "code": 10015})]
    failed = run(make_context(discord.webhook), "traffic")
    assert not failed.ok
    assert failed.message == "stored, not sent: Discord refused it: 404 Unknown Webhook (code 10015)"
    assert run(make_context(discord.webhook, run_id="run-2"), "traffic").message == "stored; sent"


def test_what_may_have_arrived_is_not(today: str) -> None:
    slot = Slot(report="traffic", day=date(2026, 11, 22), period="pm", until=EVENING)

    def unsure() -> str:
        raise DiscordError("no answer", uncertain=True)

    with psycopg.connect(today) as connection:
        store(connection, slot, {})
        with pytest.raises(DiscordError):
            deliver(connection, slot, "run-1", unsure)
        assert "got no answer from Discord" in deliver(connection, slot, "run-2", lambda: "never")


def test_only_one_of_two_runs_at_once_sends(today: str) -> None:
    slot = Slot(report="traffic", day=date(2026, 11, 22), period="pm", until=EVENING)
    sent: list[str] = []

    def inside() -> str:
        with psycopg.connect(today) as other:
            sent.append(deliver(other, slot, "run-2", lambda: "second"))
        return "first"

    with psycopg.connect(today) as connection:
        store(connection, slot, {})
        assert deliver(connection, slot, "run-1", inside) == "sent"
    assert "not sent again" in sent[0]


def test_the_secret_reaches_neither_database_nor_result(
    today: str, discord: Any, make_context: Any, reply: Any, secret: str
) -> None:
    context = make_context(discord.webhook)
    discord.replies = [reply(500, {})]
    result = run(context, "traffic")
    discord.replies = [reply(400, {"message": "no"})]
    second = run(make_context(discord.webhook, parameters={"resend": True}), "traffic")
    rows = execute(today, "SELECT row_to_json(r)::text FROM web_reports r")
    rows += execute(today, "SELECT row_to_json(r)::text FROM admin_traffic_reports r")
    told = [str(result), str(second), *context.logger.lines, *(row[0] for row in rows)]
    assert not any(secret in text for text in told)


def test_the_day_is_the_sites(today: str, make_context: Any) -> None:
    moment = Moment(datetime(2026, 11, 22, 23, 30, tzinfo=UTC), ZoneInfo("Europe/Zurich"))
    assert (moment.today, moment.period, moment.until_s) == (date(2026, 11, 23), "am", 1800)
    result = run(make_context(zone="America/New_York", scheduled_for=EVENING), "traffic")
    assert result.ok
    (data,) = execute(today, "SELECT report_data FROM admin_traffic_reports")[0]
    assert data["until"] == "2026-11-22T14:00:00-05:00"
    assert data["page_views"]["today"] == 7


def test_a_report_on_an_empty_database_is_one(database: str, discord: Any, make_context: Any) -> None:
    result = run(make_context(discord.webhook), "traffic")
    assert result.ok, result.message
    assert "**0** views" in discord.messages[0].payload["embeds"][0]["description"]


def test_the_embed_of_the_busiest_site_fits(today: str) -> None:
    with psycopg.connect(today) as connection:
        found = figures.read(connection, Moment(EVENING, ZoneInfo("UTC")))
    content = figures.Content(
        id="c",
        title="𝕏" * 500,
        path="/ü" * 300,
        views=10**12,
        visitors=10**11,
        median_time_ms=1.0,
        trend="up",
    )
    names = set(found.__dataclass_fields__) - {"content", "breakdowns"}
    huge = figures.Figures(
        **{name: getattr(found, name) for name in names},
        content=(content,) * 15,
        breakdowns={name: [("[x](" * 300, 5)] * 10 for name in ("sources", "countries", "devices")},
    )
    assert size(embed(huge, "https://example.com", picture=True)) <= TOTAL


def fill_a_day(url: str) -> None:
    before = EVENING - timedelta(hours=3)
    execute(
        url,
        "INSERT INTO markdown_content (id, slug, title, body, source_id, version_hash, published_at, "
        "updated_at) VALUES ('new', 'new', 'A *new* text', '', 'content', '', %s, %s), "
        "('old', 'old', 'An old text', '', 'content', '', '2026-01-01', %s)",
        before,
        before,
        before,
    )
    execute(
        url,
        "INSERT INTO users (id, name, email, roles, created_at) VALUES ('u1', 'u1', 'u1', '{user}', %s), "
        "('u2', 'u2', 'u2', '{anonymous}', %s), ('u3', 'u3', 'u3', '{anonymous,user}', '2026-01-01')",
        before,
        before,
    )
    execute(
        url, "INSERT INTO user_sessions (session_id, user_id, converted_at) VALUES ('s', 'u3', %s)", before
    )
    execute(url, "INSERT INTO user_contexts (context_id, user_id, created_at) VALUES ('c', 'u1', %s)", before)
    execute(url, "INSERT INTO agent_tasks (task_id, context_id) VALUES ('t', 'c')")
    execute(
        url,
        "INSERT INTO task_messages (task_id, message_id, role, context_id, created_at) "
        "SELECT 't', n, CASE WHEN n = 1 THEN 'user' ELSE 'agent' END, 'c', %s FROM generate_series(1, 3) n",
        before,
    )
    execute(
        url,
        "INSERT INTO logs (level, module, message, timestamp) SELECT 'ERROR', 'api', "
        "'order ' || n || ' failed @everyone', %s FROM generate_series(1, 4) n",
        before,
    )
    execute(
        url, "INSERT INTO logs (level, module, message, timestamp) VALUES ('INFO', 'api', 'fine', %s)", before
    )
    execute(
        url,
        "INSERT INTO scheduler.runs (id, job, concurrency, kind, status, reason, scheduled_for, started_at, "
        "finished_at, lateness_ms, instants, claimed_at) VALUES "
        "(gen_random_uuid(), 'backup', 'backup', 'cron', 'failed', NULL, %s, %s, %s, 300000, 1, now()), "
        "(gen_random_uuid(), 'hello', 'hello', 'cron', 'missed', 'daemon_down', %s, NULL, NULL, NULL, 12, "
        "now())",
        before,
        before + timedelta(minutes=5),
        before + timedelta(minutes=6),
        before,
    )


def test_the_summary_tells_what_happened_everywhere(database: str, discord: Any, make_context: Any) -> None:
    fill_a_day(database)
    result = run(make_context(discord.webhook), "activity")
    assert result.ok, result.message
    assert result.message == "stored; sent"
    made = discord.messages[0].payload["embeds"][0]
    fields = {part["name"]: part["value"] for part in made["fields"]}
    assert made["description"] == "**1 failed run, 12 missed runs, 4 errors in the log**"
    assert fields["Content"] == "1 text published, 1 updated\n• A \\*new\\* text"
    assert (
        fields["People"] == "1 new user, 1 upgraded · 1 anonymous\n1 conversation, 3 messages (1 from people)"
    )
    assert fields["Jobs"].splitlines() == [
        "1 run: 1 failed, 1 late, 12 missed",
        "• backup: 1 failed, 1 late",
        "• hello: 12 missed",
    ]
    assert fields["Errors in the log"].startswith("**4** × order 1 failed @\u200beveryone (api)")
    assert "MB" in fields["Database"]


def test_the_summary_says_how_the_database_grew(database: str, discord: Any, make_context: Any) -> None:
    run(make_context(discord.webhook, scheduled_for=EVENING - timedelta(days=1)), "activity")
    execute(database, "CREATE TABLE large AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 9000) n")
    run(make_context(discord.webhook), "activity")
    told = discord.messages[1].payload["embeds"][0]["fields"][-1]["value"]
    assert "since the last summary" in told
    assert "+" in told


def test_the_summary_names_what_is_not_there(database: str, make_context: Any) -> None:
    execute(database, "DROP TABLE task_messages")
    execute(database, "DROP VIEW public.scheduler_job_runs")
    execute(database, "ALTER TABLE user_sessions DROP COLUMN converted_at CASCADE")
    result = run(make_context(), "activity")
    assert result.ok
    assert "not there: user_sessions, task_messages, scheduler_job_runs" in str(result.message)


def test_a_quiet_day_is_told_as_one(database: str) -> None:
    with psycopg.connect(database) as connection:
        found = activity.read(connection, Moment(EVENING, ZoneInfo("UTC")), 60_000)
    assert activity.embed(found)["description"] == "Nothing went wrong."


def test_charts_are_drawn_for_any_days(png_size: Any, tmp_path: Path) -> None:
    days = [chart.Day(date(2026, 11, 9) + timedelta(days=n), 10**n, 3) for n in range(14)]
    assert png_size(chart.draw(days, "today until 19:00", tmp_path)) == (1200, 600)
    nothing = [chart.Day(date(2026, 11, 22), 0, 0)]
    assert png_size(chart.draw(nothing, "today until 07:00", tmp_path)) == (1200, 600)


def test_drawing_leaves_no_thread_behind(tmp_path: Path) -> None:
    code = """
import os, pathlib, sys
from datetime import date
from scheduler_web.reports.chart import Day, draw
draw([Day(date(2026, 11, 22), 1, 1)], "", pathlib.Path(sys.argv[1]))
print(len(os.listdir("/proc/self/task")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


def test_nothing_heavy_is_imported_with_the_extension() -> None:
    code = "import sys, scheduler_web; print([m for m in ('matplotlib', 'numpy', 'requests', "
    code += "'crawleruseragents') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
