"""Noting what changes in the application's events as it happens: a column, an index, four triggers.

`engagement_events.arrived` is the transaction that wrote a row, which, unlike a time or a number, says what
a reader has not yet seen, however late it was committed. Triggers note what leaves no row behind.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection, sql

from scheduler_web.analytics.schema import FLAGS, Schema
from scheduler_web.analytics.statements import Statements

_LOCK_LIMIT = "SET lock_timeout = '2s'"
_COLUMN = """
    ALTER TABLE public.engagement_events ADD COLUMN IF NOT EXISTS arrived xid8;
    ALTER TABLE public.engagement_events ALTER COLUMN arrived SET DEFAULT pg_current_xact_id();
"""
_INDEX = """
    CREATE INDEX CONCURRENTLY engagement_events_arrived ON public.engagement_events (arrived)
    WHERE arrived IS NOT NULL
"""
_EVENT_TRIGGERS = """
    CREATE OR REPLACE TRIGGER analytics_update BEFORE UPDATE ON public.engagement_events
        FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION public.analytics_note_update();
    CREATE OR REPLACE TRIGGER analytics_truncate AFTER TRUNCATE ON public.engagement_events
        FOR EACH STATEMENT EXECUTE FUNCTION public.analytics_note_truncate();
    CREATE OR REPLACE TRIGGER analytics_delete AFTER DELETE ON public.engagement_events
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.analytics_note_delete();
"""
_SESSION_TRIGGER = sql.SQL(
    "CREATE OR REPLACE TRIGGER analytics_session AFTER UPDATE OF {columns} ON public.user_sessions "
    "FOR EACH ROW WHEN (({before}) IS DISTINCT FROM ({after})) "
    "EXECUTE FUNCTION public.analytics_note_session()"
)


def captured(statements: Statements) -> int | None:
    """What identifies the capture that is in place and whole; None where there is none."""
    row = statements.one("capture")
    return None if row is None else int(row[0])


def install(connection: Connection[Any], schema: Schema) -> str | None:
    """Put the capture in place, waiting for no lock longer than 2 s. Returns why it could not, or None.

    Commits. What is there already stays; an index that an interrupted run left unfinished is made anew.
    """
    connection.commit()
    before = connection.autocommit
    connection.autocommit = True
    try:
        connection.execute(_LOCK_LIMIT)
        with connection.transaction():
            connection.execute(_COLUMN)
        _index(connection)
        with connection.transaction():
            connection.execute(_EVENT_TRIGGERS)
            if schema.sessions:
                connection.execute(_session_trigger(schema))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable) as exc:
        return str(exc).partition("\n")[0]
    finally:
        connection.execute("RESET lock_timeout")
        connection.autocommit = before
    return None


def _index(connection: Connection[Any]) -> None:
    row = connection.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.engagement_events_arrived')"
    ).fetchone()
    if row is not None and not row[0]:
        connection.execute("DROP INDEX CONCURRENTLY public.engagement_events_arrived")
    if row is None or not row[0]:
        connection.execute(_INDEX)


def _session_trigger(schema: Schema) -> sql.Composed:
    names = [*(flag for flag in FLAGS if flag in schema.flags)]
    names += ["user_agent"] if schema.agent else []
    names += ["fingerprint_hash"] if schema.fingerprint else []
    columns = [sql.Identifier(name) for name in names or ["session_id"]]

    def row(version: str) -> sql.Composed:
        values = [sql.SQL("{}.{}").format(sql.SQL(version), column) for column in columns]
        return sql.SQL("ROW({})").format(sql.SQL(", ").join(values))

    return _SESSION_TRIGGER.format(columns=sql.SQL(", ").join(columns), before=row("OLD"), after=row("NEW"))
