"""`logs view --app`: the application's own log, of any age; and the shortcut that prunes both logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

Daemon = Any

TODAY = """
    CREATE TABLE public.logs (
        id text PRIMARY KEY, timestamp timestamptz, level text, module varchar(255), message text,
        metadata text, user_id text
    );
    INSERT INTO public.logs VALUES
        ('1', now() - interval '3 hours', 'TRACE', 'db', 'asked', NULL, NULL),
        ('2', now() - interval '2 hours', 'WARN', 'api', 'slow by 50%', '{"took_ms": 900}', 'u1'),
        ('3', now() - interval '1 hour', 'ERROR', 'api', 'broke', 'no json', NULL),
        ('4', now() - interval '40 days', 'ERROR', 'api', 'long ago', NULL, NULL)
"""
OLD = """
    CREATE TABLE public.logs (timestamp timestamp, message text, line integer);
    INSERT INTO public.logs VALUES (now() AT TIME ZONE 'UTC' - interval '1 minute', 'older', 7)
"""


@contextmanager
def log_table(daemon: Daemon, statements: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(daemon.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS public.logs")
        connection.execute(statements)
        yield connection
        connection.execute("DROP TABLE IF EXISTS public.logs")


def test_its_lines_are_shown_like_ours(daemon: Daemon) -> None:
    with log_table(daemon, TODAY):
        lines = daemon.cli("logs", "view", "--app", "-n", "3").stdout.splitlines()
        assert [line.split(" ", 2)[2] for line in lines] == [
            "TRACE db: asked",
            "WARN  api: slow by 50% took_ms=900 user_id=u1",
            "ERROR api: broke metadata=no json",
        ]
        assert "asked" in daemon.cli("logs", "view", "--app", "--level", "debug").stdout
        found = daemon.json("logs", "view", "--app", "--level", "warn", "--since", "1d")["logs"]
        assert [line["id"] for line in found] == ["2", "3"]
        assert daemon.json("logs", "view", "--app", "--module", "d")["logs"][0]["message"] == "asked"
        assert [one["id"] for one in daemon.json("logs", "search", "50%", "--app")["logs"]] == ["2"]
        assert "slow by 50%" in daemon.cli("logs", "export", "--app", "-f", "csv").stdout


def test_one_made_long_ago_lacks_columns_and_zone(daemon: Daemon) -> None:
    with log_table(daemon, OLD):
        (line,) = daemon.json("logs", "view", "--app", "--since", "5m")["logs"]
        assert (line["id"], line["level"], line["module"]) == (None, "INFO", "application")
        assert (line["message"], line["fields"]) == ("older", {"line": 7})
        assert daemon.json("logs", "view", "--app", "--since", "30s")["logs"] == []


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        ("SELECT 1", "this database has no table public.logs"),
        ("CREATE TABLE public.logs (message text)", "public.logs has no column timestamp"),
    ],
)
def test_one_that_cannot_be_read_is_said(daemon: Daemon, statements: str, reason: str) -> None:
    with log_table(daemon, statements):
        done = daemon.cli("logs", "view", "--app")
        assert (done.returncode, done.stderr.strip()) == (1, reason)


def test_the_application_knows_no_runs(daemon: Daemon) -> None:
    done = daemon.cli("logs", "view", "--app", "--job", "steps")
    assert done.returncode == 2
    assert "--job and --run are about ours" in done.stderr


def test_the_shortcut_asks_the_daemon_for_its_half(daemon: Daemon) -> None:
    old = "INSERT INTO scheduler.logs (at, level, module, message, node) SELECT now() - interval '50 days',"
    with psycopg.connect(daemon.url, autocommit=True) as connection:
        connection.execute(f"{old} 'INFO', 'm', 'ancient', id FROM scheduler.nodes LIMIT 1")

        asked = daemon.cli("jobs", "log-cleanup", "--days", "35", "--dry-run")
        assert asked.returncode == 0, asked.stderr
        counted = asked.stdout
        assert "{'retention_days': 35, 'enforce': False}" in counted
        assert "the daemon's own log: would have removed 1 line from before " in counted
        removed = daemon.cli("jobs", "log-cleanup", "--days", "35").stdout
        assert "{'retention_days': 35}" in removed
        assert "the daemon's own log: removed 1 line from before " in removed

        ancient = connection.execute("SELECT count(*) FROM scheduler.logs WHERE message = 'ancient'")
        assert ancient.fetchone() == (0,)
    assert daemon.json("scheduler", "actions")["actions"][0]["action"] == "prune logs"
