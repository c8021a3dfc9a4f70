"""What a pass works with: its transaction, its definitions, its days."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection, sql

from scheduler_web.analytics.lookup import Lookup, Site
from scheduler_web.analytics.schema import Schema
from scheduler_web.analytics.settings import AnalyticsConfig
from scheduler_web.analytics.statements import Statements


@dataclass(frozen=True, slots=True)
class State:
    """How far the roll-up is (public.analytics_state)."""

    watermark: str | None
    cluster: int | None
    today: date | None
    open_from: date | None
    definitions: str | None
    contents: str | None
    captured: int | None


@dataclass(kw_only=True)
class Scope:
    """One pass. `open_from`: the first day that events still change; `today`: the day that windows end on."""

    statements: Statements
    schema: Schema
    settings: AnalyticsConfig
    zone: ZoneInfo
    lookup: Lookup
    today: date
    open_from: date
    notes: list[str] = field(default_factory=list)

    @classmethod
    def make(
        cls, connection: Connection[Any], settings: AnalyticsConfig, site: Site, zone: ZoneInfo, now: datetime
    ) -> Scope:
        """For a pass at `now` (aware)."""
        statements = Statements(__package__, connection)
        schema = Schema.look(statements)
        today = now.astimezone(zone).date()
        return cls(
            statements=statements,
            schema=schema,
            settings=settings,
            zone=zone,
            lookup=Lookup(statements, schema, site),
            today=today,
            open_from=today - timedelta(days=settings.late_days),
        )

    def midnight(self, day: date) -> datetime:
        """The first instant of a day of the site."""
        return datetime.combine(day, time(), self.zone)

    @property
    def parameters(self) -> dict[str, Any]:
        """What every statement that reads events needs."""
        return {
            "zone": self.zone.key,
            "longest_ms": self.settings.longest_minutes * 60_000,
            "view_events": list(self.settings.view_events),
            "open_start": self.midnight(self.open_from),
        }

    @property
    def sessions(self) -> sql.Composable:
        return self.schema.session_source(self.settings.visitor)
