"""The numbers of a traffic report, read from the roll-up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from psycopg import Connection, sql

from scheduler_web.analytics.statements import Statements
from scheduler_web.reports.chart import Day
from scheduler_web.reports.delivery import PACKAGE
from scheduler_web.reports.period import Moment

CHART_DAYS = 14
_PROPERTIES = {
    "sources": (("utm_source", "referrer_source"), "direct"),
    "countries": (("country",), "unknown"),
    "devices": (("device_type",), "unknown"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """One day's, or the mean of several days'. Rates from 0 to 1, times in milliseconds; None: no data."""

    sessions: float = 0
    page_views: float = 0
    unique_visitors: float = 0
    bounce_rate: float | None = None
    pages_per_session: float | None = None
    median_time_ms: float | None = None
    avg_time_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    id: str
    title: str
    path: str
    views: int
    visitors: int
    median_time_ms: float | None
    trend: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """`today`, `yesterday`, `week`: until the same time of the day. `month` and `fortnight`: whole days."""

    moment: Moment
    today: Traffic
    yesterday: Traffic
    week: Traffic
    yesterday_whole: Traffic
    fortnight: Traffic
    month: Traffic
    robots: int
    signups: int | None
    content: tuple[Content, ...]
    breakdowns: Mapping[str, list[tuple[str, int]]]
    chart: tuple[Day, ...]

    def data(self) -> dict[str, Any]:
        """As admin_traffic_reports keeps it."""
        columns = {
            "today": self.today,
            "yesterday": self.yesterday,
            "7d_avg": self.week,
            "14d_avg": self.fortnight,
            "30d_avg": self.month,
            "yesterday_whole": self.yesterday_whole,
        }
        values = {name: asdict(traffic) for name, traffic in columns.items()}
        metrics = {
            metric: {name: traffic[metric] for name, traffic in values.items()}
            for metric in asdict(Traffic())
        }
        return {
            **metrics,
            "until": self.moment.local.isoformat(timespec="seconds"),
            "robot_sessions": self.robots,
            "signups": {"today": self.signups},
            "top_content": [asdict(content) for content in self.content],
            **{name: [list(row) for row in rows] for name, rows in self.breakdowns.items()},
            "sparklines": {
                "days": [day.day.isoformat() for day in self.chart],
                "page_views": [day.views for day in self.chart],
                "unique_visitors": [day.visitors for day in self.chart],
            },
        }


def read(connection: Connection[Any], moment: Moment) -> Figures:
    """Everything that the report tells, of the day until `moment`."""
    statements = Statements(PACKAGE, connection)
    until = {"today": moment.today, "until_s": moment.until_s}
    days = _days(statements, moment)
    whole = _whole_days(statements, moment)
    measured, hourly = _measured(statements, moment)
    today = days[moment.today]
    chart = {moment.days_ago(n): whole[moment.days_ago(n)] for n in reversed(range(CHART_DAYS))}
    chart[moment.today] = today
    return Figures(
        moment=moment,
        today=today,
        yesterday=days[moment.days_ago(1)],
        week=mean(days[day] for day in measured[:7] if day >= hourly),
        yesterday_whole=whole[moment.days_ago(1)],
        fortnight=mean(whole[day] for day in measured[:14]),
        month=mean(whole[day] for day in measured),
        robots=statements.one("robots", **until)[0],
        signups=_signups(statements, moment),
        content=tuple(_content(row) for row in statements.rows("top_content", **until)),
        breakdowns=_breakdowns(statements, until),
        chart=tuple(Day(day, int(of.page_views), int(of.unique_visitors)) for day, of in chart.items()),
    )


def mean(days: Iterable[Traffic]) -> Traffic:
    """The mean day: counts by day, rates and times by the days that have them. Of no day: one of nothing."""
    known = list(days) or [Traffic()]
    rows = [asdict(day) for day in known]
    means: dict[str, float | None] = {}
    for name in rows[0]:
        values = [row[name] for row in rows if row[name] is not None]
        means[name] = sum(values) / len(values) if values else None
    return Traffic(**means)  # type: ignore[arg-type]  # counts are never None


def _measured(statements: Statements, moment: Moment) -> tuple[list[date], date]:
    """Up to 30 days before today on which the site was measured, latest first, and the first with hours.

    Days before the first event would only pull the mean down; a report that is made late, after midnight,
    finds its seventh day closed.
    """
    first, hourly = statements.one("measured")
    days = [moment.days_ago(n) for n in range(1, 31)]
    return [day for day in days if first is not None and day >= first], hourly or moment.today


class _Days(dict[Any, Traffic]):
    def __missing__(self, day: Any) -> Traffic:
        return Traffic()


def _days(statements: Statements, moment: Moment) -> _Days:
    span = {"first": moment.days_ago(7), "today": moment.today, "until_s": moment.until_s}
    times = {day: (median, average) for day, median, average in statements.rows("medians", **span)}
    found = _Days()
    for day, sessions, views, visitors, bounces in statements.rows("hours", **span):
        median, average = times.get(day, (None, None))
        found[day] = Traffic(
            sessions=sessions,
            page_views=views,
            unique_visitors=visitors,
            bounce_rate=bounces / sessions,
            pages_per_session=views / sessions,
            median_time_ms=median,
            avg_time_ms=average,
        )
    return found


def _whole_days(statements: Statements, moment: Moment) -> _Days:
    found = _Days()
    rows = statements.rows("site_days", first=moment.days_ago(30), last=moment.today)
    for day, views, visits, visitors, bounces, timed, time_ms in rows:
        found[day] = Traffic(
            sessions=visits,
            page_views=views,
            unique_visitors=visitors,
            bounce_rate=bounces / visits,
            pages_per_session=views / visits,
            avg_time_ms=float(time_ms) / timed if timed else None,
        )
    return found


def _signups(statements: Statements, moment: Moment) -> int | None:
    columns = {name for (name,) in statements.rows("columns", table="users")}
    if not {"roles", "created_at"} <= columns:
        return None
    start, end = moment.midnight, moment.at + timedelta(seconds=1)
    return int(statements.one("signups", start=start, end=end)[0])


def _content(row: tuple[Any, ...]) -> Content:
    identifier, title, path, views, visitors, median, trend = row
    return Content(
        id=identifier,
        title=title,
        path=path or "",
        views=views,
        visitors=visitors,
        median_time_ms=median,
        trend=trend,
    )


def _breakdowns(statements: Statements, until: Mapping[str, Any]) -> dict[str, list[tuple[str, int]]]:
    columns = {name for (name,) in statements.rows("columns", table="user_sessions")}
    found = {}
    for name, (wanted, otherwise) in _PROPERTIES.items():
        there = [sql.SQL("nullif(s.{}, '')").format(sql.Identifier(c)) for c in wanted if c in columns]
        if there:
            fragments = {"property": sql.SQL("coalesce({})").format(sql.SQL(", ").join(there))}
            found[name] = statements.rows("breakdown", fragments, otherwise=otherwise, **until)
    return found
