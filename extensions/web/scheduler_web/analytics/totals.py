"""Sums over a page's days, moved along with the roll-up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date

from scheduler_web.analytics.scope import Scope
from scheduler_web.analytics.visits import PageDay, Presence, Sums, Windows

_COLUMNS = (
    "views", "timed", "time_ms", "visitors", "views_7d", "views_30d", "visitors_7d", "visitors_30d",
    "trend_now", "trend_before",
)  # fmt: skip


def add_totals(
    scope: Scope,
    days: Mapping[PageDay, Sums],
    before: Mapping[Presence, Counter[date]],
    after: Mapping[Presence, Counter[date]],
) -> None:
    """Add the differences of the days, and of who was there in the last 7 and 30 days."""
    windows = Windows(scope.today)
    totals: dict[int, Counter[str]] = defaultdict(Counter)
    for (page, day), sums in days.items():
        _add_day(totals[page], windows, day, sums)
    for key, then in before.items():
        now, total = after[key[0], key[1]], totals[key[0]]
        total["visitors_7d"] += any(map(windows.week, now)) - any(map(windows.week, then))
        total["visitors_30d"] += any(map(windows.month, now)) - any(map(windows.month, then))
    changed = {page: total for page, total in totals.items() if any(total.values())}
    if changed:
        values = {name: [total[name] for total in changed.values()] for name in _COLUMNS}
        scope.statements.run("add_totals", pages=list(changed), **values)
        scope.statements.run("drop_empty_totals", pages=list(changed))


def _add_day(total: Counter[str], windows: Windows, day: date, sums: Sums) -> None:
    total["views"] += sums.views
    total["timed"] += sums.timed
    total["time_ms"] += sums.time_ms
    total["visitors"] += sums.newcomers
    total["views_7d"] += sums.views * windows.week(day)
    total["views_30d"] += sums.views * windows.month(day)
    total["trend_now"] += sums.views * windows.trend_now(day)
    total["trend_before"] += sums.views * windows.trend_before(day)
