"""Sums over a page's days, moved along with the roll-up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from scheduler_web.analytics.scope import Scope
from scheduler_web.analytics.visits import Days, PageDay, Presence, Spans, Sums, Windows

_COLUMNS = (
    "views", "timed", "time_ms", "visitors", "views_7d", "views_30d", "visitors_7d", "visitors_30d",
    "trend_now", "trend_before",
)  # fmt: skip


def add_totals(
    scope: Scope,
    days: Mapping[PageDay, Sums],
    before: Mapping[Presence, Days],
    after: Mapping[Presence, Days],
) -> None:
    """Add the differences of the days, and of who was there in the last 7 and 30 days."""
    windows = Windows(scope.today)
    totals: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COLUMNS, 0))
    for (page, day), sums in days.items():
        _add_day(totals[page], windows[day], sums)
    for key, then in before.items():
        now, total = after[key], totals[key[0]]
        total["visitors_7d"] += any(windows[day].week for day in now) - any(windows[day].week for day in then)
        total["visitors_30d"] += any(windows[day].month for day in now) - any(
            windows[day].month for day in then
        )
    changed = {page: total for page, total in totals.items() if any(total.values())}
    if changed:
        values = {name: [total[name] for total in changed.values()] for name in _COLUMNS}
        scope.statements.run("add_totals", pages=list(changed), **values)
        scope.statements.run("drop_empty_totals", pages=list(changed))


def _add_day(total: dict[str, int], spans: Spans, sums: Sums) -> None:
    total["views"] += sums.views
    total["timed"] += sums.timed
    total["time_ms"] += sums.time_ms
    total["visitors"] += sums.newcomers
    total["views_7d"] += sums.views * spans.week
    total["views_30d"] += sums.views * spans.month
    total["trend_now"] += sums.views * spans.trend_now
    total["trend_before"] += sums.views * spans.trend_before
