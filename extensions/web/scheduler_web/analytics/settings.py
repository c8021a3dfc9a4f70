"""The section `extensions.web.analytics` of the configuration."""

from __future__ import annotations

import json
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Whole = Annotated[int, Field(ge=1)]


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'"{value}" is not a time zone such as Europe/Zurich') from None
    return value


class AnalyticsConfig(BaseModel):
    """What counts, and how (docs/analytics.md).

    `timezone`: the zone of a "day"; the daemon's where it is not set. `late_days`: how many days after its
    own an event may arrive and still correct it at once. `visitor`: what two sessions of one person have in
    common. `capture`: note changes of events as they happen (a column, an index and triggers on the
    application's tables); without it each pass reads the open days anew.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    late_days: Annotated[int, Field(ge=7, le=31)] = 7
    visitor: Literal["fingerprint", "session"] = "fingerprint"
    view_events: tuple[str, ...] = Field(default=("page_exit",), min_length=1)
    longest_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 30
    trend_percent: Whole = 10
    trend_views: Whole = 10
    capture: bool = True
    rebuild_sessions: Whole = 50_000

    def definitions(self, zone: str, crawlers: str) -> str:
        """All that a roll-up depends on: where this text changed, everything is computed anew."""
        return json.dumps(
            {
                "timezone": zone,
                "late_days": self.late_days,
                "visitor": self.visitor,
                "view_events": sorted(self.view_events),
                "longest_minutes": self.longest_minutes,
                "crawlers": crawlers,
            },
            sort_keys=True,
        )
