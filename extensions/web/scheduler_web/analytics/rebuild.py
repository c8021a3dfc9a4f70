"""Computing days anew from the application's events: all of them, or those that are open.

Open and closed days are read by one statement each, and everything else is made from what they read, so that
events written meanwhile are either in all of it or in none. A closed day of which the application has since
removed events or sessions stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from psycopg import sql

from scheduler_web.analytics.scope import Scope
from scheduler_web.analytics.visits import MEMORY

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilt:
    """`kept`: closed days that could not be computed anew. `events`: how many were read."""

    events: int
    days: int
    kept: list[date]


def rebuild(scope: Scope, *, closed_too: bool, progress: Progress = lambda _: None) -> Rebuilt:
    """Replace the roll-up of open days, or of all (`closed_too`), by what the events say now."""
    progress("reading the events")
    _stage(scope, closed_too)
    counts = {day: (events, known) for day, events, known in scope.statements.rows("stage_counts")}
    kept = _kept(scope, counts) if closed_too else []
    if kept:
        scope.statements.run("unstage_days", days=kept)
    progress("open days")
    scope.statements.run("empty_open")
    scope.statements.run("fill_sessions")
    scope.statements.run("stage_open_days")
    scope.statements.run("stage_site")
    scope.statements.run("analyze_staged")
    progress("the daily roll-up")
    _fill(scope, kept, closed_too)
    closed = {day: both for day, both in counts.items() if day < scope.open_from and day not in kept}
    if closed:
        events, known = (list(column) for column in zip(*closed.values(), strict=True))
        scope.statements.run("put_days", days=list(closed), events=events, known=known)
    opened = scope.statements.one("open_counts")
    read = sum(events for events, _ in closed.values()) + opened[0]
    scope.statements.run("unstage")
    return Rebuilt(events=read, days=len(closed) + opened[1], kept=kept)


def _stage(scope: Scope, closed_too: bool) -> None:
    """Read the events; when some have an address or an agent never met before, learn it and read again."""
    scope.statements.run("settings")
    active = {"open_start": sql.Literal(scope.parameters["open_start"])}
    which = sql.SQL("true") if closed_too else scope.statements.compose("active", active)
    while True:
        scope.statements.run("stage_people", {"sessions": scope.sessions, "which": which})
        scope.statements.run("analyze_people")
        scope.statements.run("stage_open", **scope.parameters)
        scope.statements.run("stage_closed", closed_too=closed_too, **scope.parameters)
        addresses, agents = scope.statements.one("unresolved")
        if not addresses and not agents:
            return
        if addresses:
            rows = scope.statements.rows("new_urls", closed_too=closed_too, **scope.parameters)
            scope.lookup.urls(url for (url,) in rows)
        if agents:
            rows = scope.statements.rows("new_agents", {"sessions": scope.sessions})
            scope.lookup.agents(agent for (agent,) in rows)
        scope.statements.run("unstage")


def _kept(scope: Scope, counts: dict[date, tuple[int, int]]) -> list[date]:
    """Closed days that were counted from more events, or from more known sessions' events, than there are."""
    recorded = {day: (events, known) for day, events, known in scope.statements.rows("days")}
    return sorted(
        day
        for day, (events, known) in recorded.items()
        if day < scope.open_from
        and (events > counts.get(day, (0, 0))[0] or known > counts.get(day, (0, 0))[1])
    )


def _fill(scope: Scope, kept: list[date], closed_too: bool) -> None:
    statements, open_from, memory = scope.statements, scope.open_from, memory_from(scope.open_from)
    blind = [day for day in kept if day < memory]
    if blind:
        statements.run("keep_newcomers", before=blind[-1] + timedelta(days=MEMORY + 1), kept=kept)
    if closed_too:
        statements.run("save_visitor_days", kept=kept)
        statements.run("empty_visitor_days")
    else:
        statements.run("recall_visitor_days", open_from=open_from)
        statements.run("drop_open_visitor_days", open_from=open_from)
    statements.run("empty_page_days", kept=kept, closed_too=closed_too, open_from=open_from)
    statements.run("fill_page_days", memory=memory, open_from=open_from, closed_too=closed_too)
    if blind:
        statements.run("restore_newcomers")
        statements.run("drop_kept")
    statements.run("drop_before")


def memory_from(open_from: date) -> date:
    """The first day that distinct counts look back to."""
    return open_from - timedelta(days=MEMORY)
