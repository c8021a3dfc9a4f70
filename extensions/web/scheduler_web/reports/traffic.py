"""The traffic report as a message."""

from __future__ import annotations

from urllib.parse import quote

from scheduler_web.reports.embeds import BLURPLE, GREEN, GREY, RED, Embed, field, fit, link, plain
from scheduler_web.reports.figures import Content, Figures
from scheduler_web.wording import change, clock, count, percent, points, several

PICTURE = "traffic.png"
TOP, ROWS = 5, 5
NOTABLE = 0.05
"""From which change on the message is green or red."""
_BY = {"sources": "source", "countries": "country", "devices": "device"}
_TRENDS = {"up": "▲", "down": "▼"}


def embed(figures: Figures, base_url: str, *, picture: bool) -> Embed:
    """The message; `base_url` leads to the contents, `picture` says whether the chart is attached."""
    moment = figures.moment
    made: Embed = {
        "title": f"Traffic · {moment}",
        "description": _headline(figures),
        "color": _color(figures),
        "fields": [
            field(f"Until {moment.local:%H:%M} · against yesterday · 7-day mean", _comparison(figures)),
            field("Top content", [_line(n, c, base_url) for n, c in enumerate(figures.content[:TOP], 1)]),
            field("Sessions by", [_shares(name, rows, figures) for name, rows in figures.breakdowns.items()]),
        ],
        "footer": {"text": _footer(figures, picture)},
        "timestamp": moment.at.isoformat(timespec="seconds"),
    }
    if picture:
        made["image"] = {"url": f"attachment://{PICTURE}"}
    return fit(made)


def description(figures: Figures) -> str:
    """The chart in words, for those who do not see it."""
    highest = max(figures.chart, key=lambda day: day.views)
    return (
        f"Views and visitors of the last {len(figures.chart)} days. Most views: {count(highest.views)} on "
        f"{highest.day:%A} {highest.day.day} {highest.day:%B}. "
        f"Today until {figures.moment.local:%H:%M}: {count(figures.today.page_views)}."
    )


def _headline(figures: Figures) -> str:
    today, whole = figures.today, figures.yesterday_whole
    lines = [
        f"**{count(today.page_views)}** views by **{several(int(today.unique_visitors), 'visitor')}**"
        f" in **{several(int(today.sessions), 'session')}** today"
    ]
    if figures.moment.period == "am":
        lines.append(
            f"Yesterday in all: {count(whole.page_views)} views"
            f" by {several(int(whole.unique_visitors), 'visitor')}"
        )
    if figures.signups:
        lines.append(several(figures.signups, "sign-up"))
    return "\n".join(lines)


def _comparison(figures: Figures) -> list[str]:
    now, day, week = figures.today, figures.yesterday, figures.week
    counts = (
        ("Views", "page_views"),
        ("Visitors", "unique_visitors"),
        ("Sessions", "sessions"),
    )
    lines = [
        f"{label} **{count(getattr(now, name))}** · {change(getattr(now, name), getattr(day, name))}"
        f" · {change(getattr(now, name), getattr(week, name))}"
        for label, name in counts
    ]
    pages = "–" if now.pages_per_session is None else f"{now.pages_per_session:.1f}"
    return [
        *lines,
        f"Bounces **{percent(now.bounce_rate)}** · {points(now.bounce_rate, day.bounce_rate)}"
        f" · {points(now.bounce_rate, week.bounce_rate)}",
        f"Pages a session **{pages}** · {change(now.pages_per_session, day.pages_per_session)}"
        f" · {change(now.pages_per_session, week.pages_per_session)}",
        f"Median time **{clock(now.median_time_ms)}** · {change(now.median_time_ms, day.median_time_ms)}"
        f" · {change(now.median_time_ms, week.median_time_ms)}",
    ]


def _line(rank: int, content: Content, base_url: str) -> str:
    title = (
        link(content.title, base_url + quote(content.path) + "/") if content.path else plain(content.title)
    )
    trend = _TRENDS.get(content.trend, "")
    return f"{rank}\\. {title} **{count(content.views)}** {trend}".rstrip()


def _shares(name: str, rows: list[tuple[str, int]], figures: Figures) -> str:
    """One line: short fields side by side would be a long column on a phone."""
    sessions = figures.today.sessions
    shares = [
        f"{plain(of, 24)}\N{NO-BREAK SPACE}{percent(number / sessions)}"
        for of, number in rows[:ROWS]
        if sessions
    ]
    return f"**{_BY[name]}** {' · '.join(shares) or '–'}"


def _footer(figures: Figures, picture: bool) -> str:
    told = [f"{several(figures.robots, 'robot session')} left out"]
    if not picture:
        told.append("without a chart")
    return " · ".join([*told, figures.moment.zone.key])


def _color(figures: Figures) -> int:
    now, usual = figures.today.page_views, figures.week.page_views
    if not usual:
        return BLURPLE if now else GREY
    change_of = (now - usual) / usual
    return GREEN if change_of > NOTABLE else RED if change_of < -NOTABLE else BLURPLE
