"""Two timetables side by side: which fires one adds, removes and moves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice

from scheduler_daemon.operations.reports import FireChange, Moved
from scheduler_daemon.runner.planning import Timetable

ONE_BY_ONE = 20_000
SHOWN = 5
FAR = timedelta(days=1)


def compare(before: Timetable | None, after: Timetable | None, start: datetime, end: datetime) -> FireChange:
    """Fires in (start, end]. As many removed as added, none further than a day apart: they have moved."""
    old, new = (0 if table is None else table.count(start, end) for table in (before, after))
    if before is None or after is None:
        return _change((old, new), added=_first(after, start, end), removed=_first(before, start, end))
    if max(old, new) > ONE_BY_ONE:
        return FireChange(before=old, after=new, exact=before == after)
    instants, others = set(before.between(start, end)), set(after.between(start, end))
    removed, added = sorted(instants - others), sorted(others - instants)
    if len(removed) == len(added) and all(abs(a - b) <= FAR for a, b in zip(removed, added, strict=True)):
        return _moved((old, new), list(zip(removed, added, strict=True)))
    return FireChange(
        before=old,
        after=new,
        added=len(added),
        removed=len(removed),
        first_added=added[:SHOWN],
        first_removed=removed[:SHOWN],
    )


def differs(change: FireChange) -> bool:
    return bool(change.added or change.removed or change.moved) or not change.exact


def _change(counts: tuple[int, int], *, added: Sequence[datetime], removed: Sequence[datetime]) -> FireChange:
    """All of one side, for the other has none."""
    old, new = counts
    return FireChange(
        before=old,
        after=new,
        added=new,
        removed=old,
        first_added=added,
        first_removed=removed,
    )


def _moved(counts: tuple[int, int], pairs: Sequence[tuple[datetime, datetime]]) -> FireChange:
    return FireChange(
        before=counts[0],
        after=counts[1],
        moved=len(pairs),
        first_moved=[Moved(before=a, after=b) for a, b in pairs[:SHOWN]],
    )


def _first(table: Timetable | None, start: datetime, end: datetime) -> Sequence[datetime]:
    found: Iterable[datetime] = () if table is None else table.between(start, end)
    return tuple(islice(found, SHOWN))
