"""A time zone as stretches of constant offset, found where they are needed.

Instants are whole seconds since 1970-01-01 UTC. `zoneinfo` keeps its transitions to itself, so a year of
offsets is sampled once a day when that year is first asked for, and each change is pinned to its second.
No two changes of any IANA zone since 1970 are less than six days apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_S = 86_400
# Two offsets of one zone can differ by less than this: datetime allows -24 h to +24 h, both excluded.
MARGIN_S = 2 * DAY_S
# The instants at which some zone's calendar shows a year from 1970 to 2199.
BEGIN_S = -DAY_S
END_S = 84_006 * DAY_S + DAY_S
_BLOCK_S = 365 * DAY_S
_EVER = 1 << 61


class Stretch(NamedTuple):
    """[`start`, `end`) of one offset; `before` and `after` are the offsets on either side, all in seconds.

    An edge with the same offset on both sides is only the edge of what was looked at.
    """

    start: int
    end: int
    offset: int
    before: int
    after: int


class Timeline:
    """The stretches of one zone. `at` costs the same however many transitions the zone has had."""

    __slots__ = ("_blocks", "_epoch", "_last", "_zone")

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._epoch = EPOCH.replace(tzinfo=zone)
        self._blocks: dict[int, tuple[Stretch, ...]] = {}
        fixed = zone.utcoffset(None)
        self._last = (
            Stretch(0, 0, 0, 0, 0) if fixed is None else Stretch(-_EVER, _EVER, *[_seconds(fixed)] * 3)
        )

    def at(self, instant: int) -> Stretch:
        """The stretch that holds `instant`; a change of offset within two days of it is at the edge."""
        last = self._last
        if last[0] <= instant < last[1]:
            return last
        block = instant // _BLOCK_S
        for stretch in self._blocks.get(block) or self._explore(block):
            if instant < stretch.end:
                self._last = stretch
                return stretch
        raise AssertionError(f"no stretch of {self._zone} holds {instant}")

    def between(self, start: int, end: int) -> Iterator[tuple[int, Stretch]]:
        """[`start`, `end`) in order, as (where it goes on, the stretch there).

        A stretch may begin before it goes on: at `start`, and where two years' samples meet.
        """
        while start < end:
            stretch = self.at(start)
            yield start, stretch
            start = stretch.end

    def _explore(self, block: int) -> tuple[Stretch, ...]:
        begin, end = block * _BLOCK_S, (block + 1) * _BLOCK_S
        days = range(begin - MARGIN_S, end + MARGIN_S + 1, DAY_S)
        offsets = [self._offset(day) for day in days]
        changes = [
            self._pin(day - DAY_S, day, before)
            for day, before, after in zip(days[1:], offsets, offsets[1:], strict=False)
            if before != after
        ]
        edges = [change for change in changes if change < begin][-1:] or [begin]
        edges += [change for change in changes if begin <= change < end]
        edges += [change for change in changes if change >= end][:1] or [end]
        self._blocks[block] = tuple(
            Stretch(left, right, self._offset(left), self._offset(left - 1), self._offset(right))
            for left, right in pairwise(edges)
            if left < right
        )
        return self._blocks[block]

    def _pin(self, before: int, after: int, offset: int) -> int:
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(middle) == offset:
                before = middle
            else:
                after = middle
        return after

    def _offset(self, instant: int) -> int:
        moment = self._epoch + timedelta(0, instant)
        return _seconds(self._zone.fromutc(moment) - moment)


def _seconds(offset: timedelta) -> int:
    return offset.days * DAY_S + offset.seconds


@lru_cache(maxsize=256)
def timeline(zone: tzinfo) -> Timeline:
    """The timeline of `zone`. ZoneInfo objects compare by identity: newly read rules get a new one."""
    return Timeline(zone)
