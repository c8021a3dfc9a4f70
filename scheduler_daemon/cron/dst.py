"""The daylight-saving rule: from local times to instants, over the stretches of a zone.

Debian cron's rule, cron(8) "Notes", for six fields and for every change of a zone's offset. A fixed-time
schedule has a `DstPolicy`: where the clock jumps forward, the local times jumped over fire once, together, at
the first instant after the gap (`after`), or not at all (`skip`); where it goes back, the repeated local times
count in the first pass, the second, or both. An elapsing schedule is one under ELAPSING: what the clock
shows, fires.
Instants are whole seconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Iterator

from scheduler_daemon.cron.timeline import BEGIN_S, END_S, MARGIN_S, Stretch, Timeline
from scheduler_daemon.cron.walk import LocalTimes
from scheduler_daemon.model import DstGap, DstOverlap, DstPolicy

DEBIAN = DstPolicy()
ELAPSING = DstPolicy(gap=DstGap.SKIP, overlap=DstOverlap.BOTH)
_AFTER, _FIRST, _SECOND = DstGap.AFTER, DstOverlap.FIRST, DstOverlap.SECOND


def first_at_or_after(times: LocalTimes, line: Timeline, instant: int, policy: DstPolicy) -> int | None:
    """The earliest instant at or after `instant`.

    In a stretch the clock runs evenly: the next local time there is the answer, if the stretch lasts. If not,
    what follows can only show local times from here to there, none of which is ours, until MARGIN_S before
    that local time's earliest instant: so years are crossed in one step. Within MARGIN_S of the start that
    is not yet true (the clock may go back to before the start), and the walk goes stretch by stretch.
    """
    instant = max(instant, BEGIN_S)
    while instant < END_S:
        stretch = line.at(instant)
        start, end, offset, _, _ = stretch
        if instant == start and fires_after_gap(times, stretch, policy):
            return instant
        low, high = window(stretch, policy)
        begin = max(instant, low)
        found = times.at_or_after(begin + offset) - offset
        if found < high:
            return found
        instant = max(end, found - MARGIN_S) if end - begin >= MARGIN_S else end
    return None


def last_at_or_before(times: LocalTimes, line: Timeline, instant: int, policy: DstPolicy) -> int | None:
    """The latest instant at or before `instant`: the mirror image of `first_at_or_after`."""
    instant = min(instant, END_S)
    while instant >= BEGIN_S:
        stretch = line.at(instant)
        start, _, offset, _, _ = stretch
        low, high = window(stretch, policy)
        begin = min(instant, high - 1)
        found = times.at_or_before(begin + offset) - offset
        if found >= low:
            return found
        if fires_after_gap(times, stretch, policy):
            return start
        instant = min(start - 1, found + MARGIN_S) if begin - start >= MARGIN_S else start - 1
    return None


def count(times: LocalTimes, line: Timeline, start: int, end: int, policy: DstPolicy) -> int:
    """How many instants are in [`start`, `end`)."""
    total = 0
    for stretch in line.between(max(start, BEGIN_S), min(end, END_S)):
        low, high = window(stretch, policy)
        offset = stretch.offset
        total += times.between(max(start, low) + offset, min(end, high) + offset)
        if stretch.start >= start and fires_after_gap(times, stretch, policy):
            total += not times.holds(stretch.start + offset)
    return total


def swallowed(times: LocalTimes, line: Timeline, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(local time, the gap's first instant after) of all that the gaps in [`start`, `end`) jump over."""
    for stretch in line.between(max(start, BEGIN_S), min(end, END_S)):
        if stretch.start < start:
            continue
        local = times.at_or_after(stretch.start + stretch.before)
        while local < stretch.start + stretch.offset:
            yield local, stretch.start
            local = times.at_or_after(local + 1)


def window(stretch: Stretch, policy: DstPolicy) -> tuple[int, int]:
    """The part [low, high) of a stretch that counts: without the pass of an overlap that does not."""
    start, end, offset, before, after = stretch
    if policy.overlap is _FIRST and before > offset:
        start += before - offset
    elif policy.overlap is _SECOND and offset > after:
        end -= offset - after
    return start, end


def fires_after_gap(times: LocalTimes, stretch: Stretch, policy: DstPolicy) -> bool:
    """Whether a local time was jumped over at the stretch's start, and fires there."""
    start, _, offset, before, _ = stretch
    return before < offset and policy.gap is _AFTER and times.at_or_after(start + before) < start + offset
