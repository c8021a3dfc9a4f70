"""What the application's tables look like here: they may be of another age, or absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from scheduler_web.analytics.statements import Statements

FLAGS = ("is_bot", "is_ai_crawler", "is_scanner", "is_behavioral_bot")


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """`flags`: those of the four robot flags that there are. `documents`: publishing keeps addresses here."""

    events: bool
    sessions: bool
    agent: bool
    fingerprint: bool
    flags: tuple[str, ...]
    documents: bool

    @classmethod
    def look(cls, statements: Statements) -> Schema:
        def columns(table: str) -> set[str]:
            return {name for (name,) in statements.rows("columns", table=table)}

        sessions = columns("user_sessions")
        return cls(
            events="created_at" in columns("engagement_events"),
            sessions="session_id" in sessions,
            agent="user_agent" in sessions,
            fingerprint="fingerprint_hash" in sessions,
            flags=tuple(flag for flag in FLAGS if flag in sessions),
            documents={"content_id", "meta"} <= columns("web_documents"),
        )

    def session_source(self, visitor: Literal["fingerprint", "session"]) -> sql.Composable:
        """A sub-select of (session_id, agent, fingerprint, flagged) that fits the table, if there is one."""
        if not self.sessions:
            return sql.SQL(
                "SELECT NULL::text AS session_id, NULL::text AS agent, NULL::text AS fingerprint, "
                "NULL::boolean AS flagged WHERE false"
            )
        flagged = [sql.SQL("coalesce({}, false)").format(sql.Identifier(flag)) for flag in self.flags]
        return sql.SQL(
            "SELECT session_id, {agent} AS agent, {fingerprint} AS fingerprint, {flagged} AS flagged "
            "FROM public.user_sessions"
        ).format(
            agent=sql.SQL("user_agent" if self.agent else "NULL::text"),
            fingerprint=sql.SQL(
                "nullif(fingerprint_hash, '')"
                if self.fingerprint and visitor == "fingerprint"
                else "NULL::text"
            ),
            flagged=sql.SQL(" OR ").join(flagged) if flagged else sql.SQL("false"),
        )

    def missing(self) -> list[str]:
        """What is not there and is missed, in words."""
        if not self.sessions:
            return ["user_sessions (robots cannot be told, a session is a visitor)"]
        lacking = [flag for flag in FLAGS if flag not in self.flags]
        return [f"user_sessions.{name}" for name in lacking] + (
            [] if self.fingerprint else ["user_sessions.fingerprint_hash (a session is a visitor)"]
        )
