"""Of which time a report tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Moment:
    """`at` (aware), as the site's clocks show it."""

    at: datetime
    zone: ZoneInfo

    @property
    def local(self) -> datetime:
        return self.at.astimezone(self.zone)

    @property
    def today(self) -> date:
        return self.local.date()

    @property
    def period(self) -> Literal["am", "pm"]:
        return "am" if self.local.hour < 12 else "pm"

    @property
    def until_s(self) -> int:
        """Seconds that the clocks show after midnight."""
        return self.local.hour * 3600 + self.local.minute * 60 + self.local.second

    @property
    def midnight(self) -> datetime:
        return datetime.combine(self.today, datetime.min.time(), self.zone)

    def days_ago(self, days: int) -> date:
        return self.today - timedelta(days=days)

    def __str__(self) -> str:
        """Such as "Sunday 22 November, 19:00"."""
        return f"{self.local:%A} {self.local.day} {self.local:%B}, {self.local:%H:%M}"
