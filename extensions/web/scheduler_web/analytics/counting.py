"""An incremental pass: count the touched sessions again, and add what that changes.

1. The touched sessions are those with events that arrived since the watermark, those that a trigger noted,
   and those that were not known when they were counted, and now are.
2. Each is read whole, for all open days, and compared with what was counted of it: doing so twice, or after
   an interruption, changes nothing more.
3. The differences go into the roll-up, the visitors' days and the totals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from scheduler_web.analytics.scope import Scope
from scheduler_web.analytics.totals import add_totals
from scheduler_web.analytics.visits import (
    Days,
    Difference,
    Key,
    PageDay,
    Presence,
    View,
    Visit,
    difference,
    newcomer_days,
)


def count_again(scope: Scope, sessions: list[str]) -> Difference:
    """Bring the roll-up up to date for these sessions; returns what changed."""
    old = _counted(scope, sessions)
    new = _read(scope, sessions, old)
    found = difference(old, new)
    if found.changed:
        _replace(scope, found.changed, old, new)
        before = _presence(scope, found)
        after = _changed_presence(found, before)
        _put_presence(scope, before, after)
        _count_visitors(scope, found, before, after)
        _put_days(scope, {key: sums for key, sums in found.days.items() if sums})
        add_totals(scope, found.days, before, after)
    return found


def _counted(scope: Scope, sessions: list[str]) -> dict[Key, Visit]:
    """What was counted of these sessions. Pages and times of a day are kept apart, and matched here."""
    rows = scope.statements.rows("old_sessions", sessions=sessions)
    return {
        (session, day): Visit(
            visitor=visitor,
            bot=bot,
            known=known,
            views=tuple(map(View, seen_at, pages, times)),
        )
        for session, day, visitor, bot, known, seen_at, pages, times in rows
    }


def _read(scope: Scope, sessions: list[str], old: Mapping[Key, Visit]) -> dict[Key, Visit]:
    """What the events say now."""
    people = _people(scope, sessions, old)
    rows = scope.statements.rows("views_of", sessions=sessions, **scope.parameters)
    pages = scope.lookup.urls(url for *_, url in rows if url is not None)
    found: dict[Key, dict[tuple[Any, int], View]] = defaultdict(dict)
    for session, moment, day, at, ms, page, url in rows:
        number = page if url is None else pages[url]
        views = found[session, day]
        twin = views.get((moment, number))
        views[moment, number] = View(at, number, max(ms, twin.ms if twin else 0))
    return {
        key: Visit(
            visitor=people[key[0]][0],
            bot=people[key[0]][1],
            known=people[key[0]][2],
            views=tuple(sorted(views.values(), key=lambda view: (view.at, view.page, view.ms))),
        )
        for key, views in found.items()
    }


def _people(scope: Scope, sessions: list[str], old: Mapping[Key, Visit]) -> dict[str, tuple[int, bool, bool]]:
    """Session → (visitor, robot, known). One that the application has removed since stays what it was."""
    rows = scope.statements.rows("sessions_of", {"sessions": scope.sessions}, sessions=sessions)
    agents = scope.lookup.agents(
        agent for _, _, agent, crawler, _, _ in rows if agent is not None and crawler is None
    )
    remembered = {session: visit for (session, _), visit in sorted(old.items(), key=_by_day) if visit.known}
    people = {}
    for session, known, agent, crawler, flagged, visitor in rows:
        before = remembered.get(session)
        if not known and before is not None:
            people[session] = (before.visitor, before.bot, True)
        else:
            robot = flagged or bool(crawler) or agents.get(agent, False)
            people[session] = (visitor, robot, known)
    return people


def _by_day(item: tuple[Key, Visit]) -> date:
    return item[0][1]


def _replace(
    scope: Scope, changed: Iterable[Key], old: Mapping[Key, Visit], new: Mapping[Key, Visit]
) -> None:
    gone = [key for key in changed if key in old]
    if gone:
        scope.statements.run(
            "drop_sessions", sessions=[key[0] for key in gone], days=[key[1] for key in gone]
        )
    kept = sorted((key, new[key]) for key in changed if key in new)
    if kept:
        scope.statements.run(
            "add_sessions",
            sessions=[key[0] for key, _ in kept],
            days=[key[1] for key, _ in kept],
            visitors=[visit.visitor for _, visit in kept],
            bots=[visit.bot for _, visit in kept],
            known=[visit.known for _, visit in kept],
            seen_at=[_array(view.at for view in visit.views) for _, visit in kept],
            pages=[_array(view.page for view in visit.views) for _, visit in kept],
            times=[_array(view.ms for view in visit.views) for _, visit in kept],
        )


def _array(values: Iterable[int]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def _presence(scope: Scope, found: Difference) -> dict[Presence, Days]:
    """On which days, and how often, the visitors concerned were on the pages concerned."""
    keys = sorted(found.presence)
    rows = scope.statements.rows("visitor_days", pages=[k[0] for k in keys], visitors=[k[1] for k in keys])
    before: dict[Presence, Days] = {key: {} for key in keys}
    for page, visitor, day, visits in rows:
        before[page, visitor][day] = visits
    return before


def _changed_presence(found: Difference, before: Mapping[Presence, Days]) -> dict[Presence, Days]:
    after = {}
    for key, days in before.items():
        changed = days.copy()
        for day, visits in found.presence[key].items():
            changed[day] = changed.get(day, 0) + visits
            if not changed[day]:
                del changed[day]
        after[key] = changed
    return after


def _put_presence(scope: Scope, before: Mapping[Presence, Days], after: Mapping[Presence, Days]) -> None:
    rows: dict[str, list[Any]] = {"add": [], "change": [], "drop": []}
    for key, now in after.items():
        then = before[key]
        for day, visits in now.items():
            if then.get(day) != visits:
                rows["change" if day in then else "add"].append((*key, day, visits))
        rows["drop"] += [(*key, day, visits) for day, visits in then.items() if day not in now]
    for what, found in rows.items():
        if found:
            pages, visitors, days, counts = (list(column) for column in zip(*found, strict=True))
            number = {} if what == "drop" else {"visits": counts}
            scope.statements.run(f"{what}_visitor_days", pages=pages, visitors=visitors, days=days, **number)


def _count_visitors(
    scope: Scope,
    found: Difference,
    before: Mapping[Presence, Days],
    after: Mapping[Presence, Days],
) -> None:
    for (page, visitor), then in before.items():
        now = after[page, visitor]
        for sign, days in ((-1, then), (+1, now)):
            for day in days:
                found.days[page, day].visitors += sign
            for day in newcomer_days(days):
                if day >= scope.open_from:
                    found.days[page, day].newcomers += sign


def _put_days(scope: Scope, days: Mapping[PageDay, Any]) -> None:
    if not days:
        return
    keys, sums = list(days), list(days.values())
    pages, dates = [page for page, _ in keys], [day for _, day in keys]
    columns = ("views", "visits", "visitors", "newcomers", "bounces", "timed", "time_ms")
    values = {name: [getattr(s, name) for s in sums] for name in columns}
    scope.statements.run("add_page_days", pages=pages, days=dates, **values)
    if any(s.views < 0 for s in sums):
        scope.statements.run("drop_empty_page_days", pages=pages, days=dates)
