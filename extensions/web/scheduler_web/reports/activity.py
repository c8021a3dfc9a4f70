"""What happened across the services in the 24 hours until a moment: read, and made a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from psycopg import Connection

from scheduler_web.analytics.statements import Statements
from scheduler_web.reports.delivery import PACKAGE
from scheduler_web.reports.embeds import BLURPLE, RED, Embed, fit, plain
from scheduler_web.reports.embeds import field as embed_field
from scheduler_web.reports.period import Moment
from scheduler_web.wording import several, size

TITLES, JOBS, ERRORS = 5, 6, 5
_NEEDS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "content": ("contents", "markdown_content", ("published_at", "updated_at", "public", "title")),
    "users": ("new_users", "users", ("roles", "created_at")),
    "upgraded": ("upgraded", "user_sessions", ("converted_at", "user_id")),
    "conversations": ("contexts", "user_contexts", ("created_at",)),
    "messages": ("messages", "task_messages", ("role", "created_at")),
    "jobs": ("jobs", "scheduler_job_runs", ("job", "status", "lateness_ms", "instants")),
    "errors": ("errors", "logs", ("level", "timestamp", "module", "message")),
}
"""Part → its statement, the table that it reads, and the columns without which it cannot be told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """Rows of each part; `missing` names the tables of those that could not be told."""

    moment: Moment
    parts: Mapping[str, list[tuple[Any, ...]]]
    bytes: int
    growth: int | None
    growth_days: int
    missing: tuple[str, ...] = field(default=())

    def data(self) -> dict[str, Any]:
        """As web_reports keeps it."""
        return {
            "until": self.moment.local.isoformat(timespec="seconds"),
            **{name: [list(row) for row in rows] for name, rows in self.parts.items()},
            "database": {"bytes": self.bytes, "growth": self.growth, "days": self.growth_days},
            "missing": list(self.missing),
        }


def read(connection: Connection[Any], moment: Moment, late_ms: int) -> Activity:
    """Everything that the summary tells; a run is late that started more than `late_ms` after its time."""
    statements = Statements(PACKAGE, connection)
    span = {"start": moment.at - timedelta(days=1), "end": moment.at}
    parts, missing = {}, []
    for name, (statement, table, wanted) in _NEEDS.items():
        columns = {column for (column,) in statements.rows("columns", table=table)}
        if columns >= set(wanted):
            more = {"late_ms": late_ms} if name == "jobs" else {}
            parts[name] = statements.rows(statement, **span, **more)
        else:
            missing.append(table)
    now = statements.one("size")[0]
    last = statements.one("last_size", day=moment.today)
    return Activity(
        moment=moment,
        parts=parts,
        bytes=now,
        growth=None if last is None else now - last[1],
        growth_days=0 if last is None else (moment.today - last[0]).days,
        missing=tuple(missing),
    )


def embed(activity: Activity) -> Embed:
    """The summary as a message."""
    made: Embed = {
        "title": f"The last 24 hours · {activity.moment}",
        "description": _headline(activity),
        "color": RED if _troubled(activity) else BLURPLE,
        "fields": [
            embed_field(name, lines)
            for name, lines in (
                ("Content", _content(activity)),
                ("People", _people(activity)),
                ("Jobs", _jobs(activity)),
                ("Errors in the log", _errors(activity)),
                ("Database", _database(activity)),
            )
            if lines
        ],
        "footer": {"text": _footer(activity)},
        "timestamp": activity.moment.at.isoformat(timespec="seconds"),
    }
    return fit(made)


def _troubled(activity: Activity) -> bool:
    return bool(activity.parts.get("errors")) or any(
        failed or missed for _, _, failed, _, missed in activity.parts.get("jobs", [])
    )


def _headline(activity: Activity) -> str:
    jobs = activity.parts.get("jobs", [])
    failed, missed = sum(row[2] for row in jobs), sum(row[4] for row in jobs)
    errors = max((total for *_, total in activity.parts.get("errors", [])), default=0)
    trouble = [
        several(number, *words)
        for number, words in (
            (failed, ("failed run",)),
            (missed, ("missed run",)),
            (errors, ("error in the log", "errors in the log")),
        )
        if number
    ]
    return "**" + ", ".join(trouble) + "**" if trouble else "Nothing went wrong."


def _content(activity: Activity) -> list[str]:
    rows = activity.parts.get("content")
    if rows is None:
        return []
    new = [title for published, title in rows if published]
    lines = [f"{several(len(new), 'text')} published, {len(rows) - len(new):,} updated"]
    shown = new[:TITLES] or [title for _, title in rows[:TITLES]]
    lines += [f"• {plain(title, 60)}" for title in shown]
    rest = (len(new) or len(rows)) - len(shown)
    return [*lines, f"… and {rest:,} more"] if rest > 0 else lines


def _people(activity: Activity) -> list[str]:
    parts, lines = activity.parts, []
    if users := parts.get("users"):
        registered, anonymous = users[0]
        upgraded = f", {parts['upgraded'][0][0]:,} upgraded" if "upgraded" in parts else ""
        lines.append(f"{several(registered, 'new user')}{upgraded} · {anonymous:,} anonymous")
    if contexts := parts.get("conversations"):
        said = ""
        if "messages" in parts:
            people, agents = parts["messages"][0]
            said = f", {several(people + agents, 'message')} ({people:,} from people)"
        lines.append(f"{several(contexts[0][0], 'conversation')}{said}")
    return lines


def _jobs(activity: Activity) -> list[str]:
    rows = activity.parts.get("jobs")
    if rows is None:
        return []
    runs, failed, late, missed = (sum(row[n] for row in rows) for n in (1, 2, 3, 4))
    lines = [f"{several(runs, 'run')}: {failed:,} failed, {late:,} late, {missed:,} missed"]
    bad = [row for row in rows if any(row[2:])]
    for job, _, job_failed, job_late, job_missed in bad[:JOBS]:
        told = ((job_failed, "failed"), (job_missed, "missed"), (job_late, "late"))
        lines.append(
            f"• {plain(job, 60)}: " + ", ".join(f"{number:,} {word}" for number, word in told if number)
        )
    return [*lines, f"… and {len(bad) - JOBS:,} more jobs"] if len(bad) > JOBS else lines


def _errors(activity: Activity) -> list[str]:
    rows = activity.parts.get("errors")
    if rows is None:
        return []
    lines = [
        f"**{number:,}** × {plain(message, 90)} ({plain(module, 40)})"
        for module, message, number, _ in rows[:ERRORS]
    ]
    return lines or ["none"]


def _database(activity: Activity) -> list[str]:
    told = size(activity.bytes)
    if activity.growth is not None:
        sign = "+" if activity.growth >= 0 else "−"
        since = "since the last summary" if activity.growth_days <= 1 else f"in {activity.growth_days} days"
        told += f", {sign}{size(abs(activity.growth))} {since}"
    return [told]


def _footer(activity: Activity) -> str:
    zone = activity.moment.zone.key
    return f"not there: {', '.join(activity.missing)} · {zone}" if activity.missing else zone
