"""One pass of the aggregation, in one transaction: the watermark moves with the numbers, or neither does.

A pass is *incremental* (the sessions touched since the watermark), *open* (all days that events still
change) or *full* (all days). Each leaves the same numbers; the first two are only quicker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from psycopg import Connection

from scheduler_web.analytics.capture import captured
from scheduler_web.analytics.counting import count_again
from scheduler_web.analytics.crawlers import list_version
from scheduler_web.analytics.lookup import Site
from scheduler_web.analytics.rebuild import memory_from, rebuild
from scheduler_web.analytics.scope import Scope, State
from scheduler_web.analytics.settings import AnalyticsConfig

Mode = Literal["incremental", "open", "full"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to do, and by which rules; `now` is aware."""

    settings: AnalyticsConfig
    site: Site
    zone: ZoneInfo
    now: datetime
    full: bool = False
    progress: Callable[[str], None] = lambda _: None


@dataclass(kw_only=True)
class Report:
    """What a pass did. `reason`: why it was no incremental one. `other`: views in 30 days of no content."""

    mode: Mode
    reason: str = ""
    sessions: int = 0
    events: int = 0
    pages: int = 0
    views: int = 0
    too_late: int = 0
    kept: list[date] = field(default_factory=list)
    closed: int = 0
    other: list[tuple[int, int, str, int]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def aggregate(connection: Connection[Any], request: Request) -> Report:
    """Bring every number up to date with the events; the caller's transaction commits all of it."""
    scope = Scope.make(connection, request.settings, request.site, request.zone, request.now)
    scope.statements.run("lock")
    work = _Pass(scope, request)
    report = work.run()
    work.save()
    report.missing = scope.schema.missing()
    report.other = scope.statements.rows("other_pages")
    return report


class _Pass:
    def __init__(self, scope: Scope, request: Request) -> None:
        self._scope = scope
        self._request = request
        self._state = State(*scope.statements.one("state"))
        self._watermark, self._cluster = scope.statements.one("horizon")
        self._captured = captured(scope.statements) if request.settings.capture else None
        self._definitions = request.settings.definitions(request.zone.key, list_version())
        self._contents = self._state.contents
        self._today, self._open_from = scope.today, scope.open_from
        if self._state.today is not None and self._state.today > self._today:
            self._today = self._state.today
            self._open_from = self._today - timedelta(days=request.settings.late_days)

    def run(self) -> Report:
        reason = self._why_full()
        self._contents, moved = self._scope.lookup.refresh(self._state.contents)
        if not reason and self._state.open_from and moved and min(moved) < self._state.open_from:
            reason = "addresses of closed days belong to other pages now"
        if reason:
            return self._full(reason)
        assert self._state.open_from is not None
        assert self._state.today is not None
        self._scope.open_from, self._scope.today = self._state.open_from, self._state.today
        sessions = self._touched()
        why_open = self._why_open(sessions, bool(moved))
        if why_open:
            report = self._open(why_open)
        else:
            report = self._incremental([session for session in sessions if session is not None])
        if self._open_from > self._scope.open_from or self._today > self._scope.today:
            report.closed = self._turn_day()
        return report

    def save(self) -> None:
        self._scope.statements.run(
            "save_state",
            watermark=self._watermark,
            cluster=self._cluster,
            today=self._scope.today,
            open_from=self._scope.open_from,
            definitions=self._definitions,
            contents=self._contents,
            captured=self._captured,
        )

    def _why_full(self) -> str:
        state = self._state
        if self._request.full:
            return "asked for"
        if state.watermark is None or state.open_from is None:
            return "the first pass"
        if state.cluster != self._cluster or int(state.watermark) > int(self._watermark):
            return "the database was restored or copied"
        if state.definitions != self._definitions:
            return "definitions changed"
        return ""

    def _touched(self) -> list[str | None]:
        """The sessions to count again; None among them: all events were removed at once."""
        statements = self._scope.statements
        found: set[str | None] = {session for (session,) in statements.rows("changed")}
        if self._captured is not None:
            found |= {s for (s,) in statements.rows("arrived", watermark=self._state.watermark)}
        if self._scope.schema.sessions:
            found |= {session for (session,) in statements.rows("met")}
        return sorted(found, key=lambda session: session or "")

    def _why_open(self, sessions: list[str | None], moved: bool) -> str:
        if self._captured is None:
            return "changes of engagement_events are not captured"
        if self._captured != self._state.captured:
            return "the capture of changes is new"
        if None in sessions:
            return "engagement_events was emptied"
        if moved:
            return "addresses belong to other pages now"
        most = self._request.settings.rebuild_sessions
        return f"more than {most:,} sessions changed" if len(sessions) > most else ""

    def _incremental(self, sessions: list[str]) -> Report:
        report = Report(mode="incremental", sessions=len(sessions))
        report.too_late = self._scope.statements.one(
            "too_late",
            watermark=self._state.watermark,
            open_start=self._scope.midnight(self._scope.open_from),
        )[0]
        if sessions:
            found = count_again(self._scope, sessions)
            pages = {page for page, _ in found.days if page}
            report.pages = len(pages)
            report.views = sum(sums.views for (page, _), sums in found.days.items() if not page)
            if pages:
                self._put_metrics(sorted(pages))
        return report

    def _open(self, reason: str) -> Report:
        rebuilt = rebuild(self._scope, closed_too=False, progress=self._request.progress)
        self._sum()
        return Report(mode="open", reason=reason, events=rebuilt.events)

    def _full(self, reason: str) -> Report:
        if self._state.definitions != self._definitions:
            self._scope.statements.run("forget_agents")
        self._scope.statements.rows("changed")
        self._scope.today, self._scope.open_from = self._today, self._open_from
        rebuilt = rebuild(self._scope, closed_too=True, progress=self._request.progress)
        self._scope.statements.run("analyze")
        self._sum()
        return Report(mode="full", reason=reason, events=rebuilt.events, kept=rebuilt.kept)

    def _turn_day(self) -> int:
        """Close the days that have become too old to change, and move the windows to the new day."""
        statements, scope = self._scope.statements, self._scope
        start, end = scope.midnight(scope.open_from), scope.midnight(self._open_from)
        counts = statements.rows("close_counts", start=start, end=end, **_reading(scope))
        if counts:
            days, events, known = (list(column) for column in zip(*counts, strict=True))
            statements.run("put_days", days=days, events=events, known=known)
        statements.run("close_medians", open_from=self._open_from)
        statements.run("close_sessions", open_from=self._open_from)
        statements.run("forget_visitors", before=memory_from(self._open_from))
        closed = (self._open_from - scope.open_from).days
        scope.today, scope.open_from = self._today, self._open_from
        self._sum()
        return closed

    def _sum(self) -> None:
        self._scope.statements.run("sum_totals", today=self._scope.today)
        self._put_metrics(None)

    def _put_metrics(self, pages: list[int] | None) -> None:
        """Of these pages, or of all."""
        statements, settings = self._scope.statements, self._request.settings
        metrics = {"metrics": statements.compose("metrics")}
        values = {"trend_views": settings.trend_views, "trend_percent": settings.trend_percent}
        for name in ("change_metrics", "add_metrics"):
            statements.run(name, metrics, pages=pages, today=self._scope.today, **values)


def _reading(scope: Scope) -> dict[str, Any]:
    return {name: value for name, value in scope.parameters.items() if name in ("zone", "view_events")}
