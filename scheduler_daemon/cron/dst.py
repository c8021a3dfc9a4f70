"""The daylight-saving rule: from local times to instants, over the stretches of a zone.

Debian cron's rule (cron(8), Notes), for six fields and for every change of a zone's offset. A fixed-time
schedule has a `DstPolicy`: where the clock jumps forward, the local times jumped over fire once, together,
at the first instant after the gap (`after`), or not at all (`skip`); where it goes back, the repeated local
times count in the first pass, the second, or both. An elapsing schedule is one under ELAPSING: it fires at
whatever the clock shows.
Instants are whole seconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Iterator

from scheduler_daemon.cron.timeline import BEGIN_S, END_S, MARGIN_S, Stretch, Timeline
from scheduler_daemon.cron.walk import DAY_S, LocalTimes
from scheduler_daemon.model import DstGap, DstOverlap, DstPolicy

DEBIAN = DstPolicy()
ELAPSING = DstPolicy(gap=DstGap.SKIP, overlap=DstOverlap.BOTH)


class Instants:
    """The instants of a schedule's local times in one zone, under one policy."""

    __slots__ = ("_after", "_even_day", "_first", "_line", "_local", "_second")

    def __init__(self, local: LocalTimes, line: Timeline, policy: DstPolicy) -> None:
        self._local, self._line = local, line
        self._after = policy.gap is DstGap.AFTER
        self._first = policy.overlap is DstOverlap.FIRST
        self._second = policy.overlap is DstOverlap.SECOND
        self._even_day = -DAY_S

    def at_or_after(self, instant: int) -> int | None:
        """The first instant at or after `instant`; None: there is none.

        In a stretch the clock runs evenly, so the next local time is the answer, if the stretch lasts until
        then. If not, the clock shows only times between here and that one, none of them ours, at least until
        MARGIN_S before it: so years are crossed in one step. That does not hold within MARGIN_S of the start,
        where the clock may still go back to before the start: there the walk goes stretch by stretch.
        """
        midnight = self._even_day
        if midnight <= instant < midnight + DAY_S:
            time = self._local.times.at_or_after(instant - midnight)
            if time >= 0:
                return midnight + time
        instant, shown, local = max(instant, BEGIN_S), 0, -1
        while instant < END_S:
            stretch = self._line.at(instant)
            if instant == stretch.start and self._fires_after_gap(stretch):
                return instant
            low, high = self._window(stretch)
            begin, offset = max(instant, low), stretch.offset
            if not shown <= begin + offset <= local:
                shown = begin + offset
                local = self._local.at_or_after(shown)
            if local - offset < high:
                if self._local.times.count > 1:
                    self._remember(local, stretch)
                return local - offset
            instant = stretch.end
            if instant - begin >= MARGIN_S:
                instant = max(instant, local - offset - MARGIN_S)
        return None

    def at_or_before(self, instant: int) -> int | None:
        """The last instant at or before `instant`; None: there is none. The mirror image of `at_or_after`."""
        instant = min(instant, END_S)
        while instant >= BEGIN_S:
            stretch = self._line.at(instant)
            low, high = self._window(stretch)
            begin, offset = min(instant, high - 1), stretch.offset
            local = self._local.at_or_before(begin + offset)
            if local - offset >= low:
                return local - offset
            if self._fires_after_gap(stretch):
                return stretch.start
            instant = stretch.start - 1
            if begin - instant >= MARGIN_S:
                instant = min(instant, local - offset + MARGIN_S)
        return None

    def between(self, start: int, end: int) -> int:
        """How many instants are in [`start`, `end`)."""
        count = 0
        for begin, stretch in self._line.between(max(start, BEGIN_S), min(end, END_S)):
            low, high = self._window(stretch)
            offset = stretch.offset
            count += self._local.between(max(begin, low) + offset, min(end, high) + offset)
            if begin == stretch.start and self._fires_after_gap(stretch):
                count += not self._local.holds(begin + offset)
        return count

    def at_changes(self, start: int, end: int) -> Iterator[tuple[int, Stretch]]:
        """The local times that the changes of offset in [`start`, `end`) jump over or repeat.

        Each comes with the stretch after the change: `before` < `offset` was a jump, else a repetition.
        """
        for begin, stretch in self._line.between(max(start, BEGIN_S), min(end, END_S)):
            if begin != stretch.start:
                continue
            local, last = sorted((begin + stretch.before, begin + stretch.offset))
            while (local := self._local.at_or_after(local)) < last:
                yield local, stretch
                local += 1

    def _window(self, stretch: Stretch) -> tuple[int, int]:
        """The part [low, high) of a stretch that counts: without a pass of an overlap that does not."""
        start, end, offset, before, after = stretch
        if self._first and before > offset:
            start += before - offset
        elif self._second and offset > after:
            end -= offset - after
        return start, end

    def _fires_after_gap(self, stretch: Stretch) -> bool:
        """Whether the clock jumped over one of our local times to the stretch's start."""
        start, _, offset, before, _ = stretch
        return self._after and before < offset and self._local.at_or_after(start + before) < start + offset

    def _remember(self, local: int, stretch: Stretch) -> None:
        """Keep the start of the day just reached, if its clock runs evenly from midnight to midnight."""
        day = local - local % DAY_S - stretch.offset
        low, high = self._window(stretch)
        if low < day and day + DAY_S <= high:
            self._even_day = day
