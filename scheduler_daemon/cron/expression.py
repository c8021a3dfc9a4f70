"""CronExpression: a schedule as a value, and every question that one can ask of it. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple, Self

from scheduler_daemon.cron.canonical import canonical
from scheduler_daemon.cron.describe import describe
from scheduler_daemon.cron.dst import DEBIAN, ELAPSING, Instants
from scheduler_daemon.cron.fields import Fields
from scheduler_daemon.cron.parsing import REBOOT, read, refuse_as_schedule
from scheduler_daemon.cron.timeline import DAY_S, EPOCH, timeline
from scheduler_daemon.cron.walk import FAR, Days, LocalTimes, TimesOfDay
from scheduler_daemon.model import DstPolicy


class AtTransition(NamedTuple):
    """A local time (`YYYY-MM-DD HH:MM:SS`) that the clock jumps over or repeats, and when it does."""

    local: str
    transition: datetime


class CronExpression:
    """A cron expression: OCPS 1.4 syntax, years 1970-2199, Debian's daylight-saving rule. Immutable.

    `zone` is the zone whose wall clock the fields mean (a ZoneInfo; any tzinfo does). `moment`, `start` and
    `end` are aware datetimes; what comes back is aware, in UTC, and a whole second. `dst` is the policy for
    fixed-time schedules (`fixed_time`); an elapsing schedule follows the clock and needs none.
    Expressions are equal if their canonical texts (`str()`) are.
    """

    __slots__ = ("_canonical", "_fields", "_kept", "_local", "_never", "fixed_time")

    fixed_time: bool
    """Neither the minute nor the hour field starts with `*`: gaps and overlaps follow the policy."""

    def __init__(self, fields: Fields | None) -> None:
        """For `parse` alone; no fields at all stand for `@reboot`."""
        self._fields = fields
        self._canonical: str | None = None
        self._never: bool | None = None if fields else True
        self.fixed_time = fields is not None and not (fields.minute.starred or fields.hour.starred)
        self._local = _local_times(fields)
        self._kept: tuple[tzinfo, DstPolicy, Instants] | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read five, six or seven fields or a nickname. Raises CronError."""
        return cls(read(text))

    @classmethod
    def parse_schedule(cls, text: str) -> CronExpression:
        """Read a job's schedule: six or seven fields or a nickname, but `@reboot`. Raises CronError.

        The same text gives the same expression: a configuration is checked, bound and planned.
        """
        return _schedule(text)

    @property
    def reboot(self) -> bool:
        """`@reboot`: parses (OCPS 1.1 §7.2), names no instant."""
        return self._fields is None

    @property
    def either_day(self) -> bool:
        """Both day fields are restricted and one of them is enough."""
        return self._fields is not None and not self._fields.both

    @property
    def never(self) -> bool:
        """There is no instant at all from 1970 to 2199, as on 31 February."""
        if self._never is None:
            self._never = self._local.at_or_after(0) == FAR
        return self._never

    def next_after(self, moment: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN) -> datetime | None:
        """The first instant after `moment`; None: there is none."""
        since = moment - EPOCH
        found = self._in(zone, dst).at_or_after(since.days * DAY_S + since.seconds + 1)
        return None if found is None else EPOCH + timedelta(0, found)

    def previous_before(self, moment: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN) -> datetime | None:
        """The last instant before `moment`; None: there is none."""
        found = self._in(zone, dst).at_or_before(_ceiling(moment) - 1)
        return None if found is None else EPOCH + timedelta(0, found)

    def between(
        self, start: datetime, end: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN
    ) -> Iterator[datetime]:
        """The instants in (`start`, `end`], ascending: after a watermark, up to now."""
        instants, last = self._in(zone, dst), _floor(end)
        found = instants.at_or_after(_floor(start) + 1)
        while found is not None and found <= last:
            yield EPOCH + timedelta(0, found)
            found = instants.at_or_after(found + 1)

    def count(self, start: datetime, end: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN) -> int:
        """How many instants are in (`start`, `end`], at a cost that does not grow with their number."""
        return self._in(zone, dst).between(_floor(start) + 1, _floor(end) + 1)

    def gaps(self, start: datetime, end: datetime, zone: tzinfo) -> Iterator[AtTransition]:
        """The fixed-time instants that gaps in (`start`, `end`] jump over, whatever the policy does then."""
        return self._at_changes(start, end, zone, jumps=True)

    def overlaps(self, start: datetime, end: datetime, zone: tzinfo) -> Iterator[AtTransition]:
        """The fixed-time instants that overlaps starting in (`start`, `end`] repeat, whatever the policy."""
        return self._at_changes(start, end, zone, jumps=False)

    def _at_changes(
        self, start: datetime, end: datetime, zone: tzinfo, *, jumps: bool
    ) -> Iterator[AtTransition]:
        if not self.fixed_time:
            return
        for local, stretch in self._in(zone, DEBIAN).at_changes(_floor(start) + 1, _floor(end) + 1):
            if (stretch.before < stretch.offset) is jumps:
                text = (EPOCH + timedelta(0, local)).strftime("%Y-%m-%d %H:%M:%S")
                yield AtTransition(text, EPOCH + timedelta(0, stretch.start))

    def matches(self, moment: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN) -> bool:
        """Whether `moment` is an instant of this schedule; one with a fraction of a second is none."""
        instant = _ceiling(moment)
        return self._in(zone, dst).at_or_after(instant) == instant == _floor(moment)

    def _in(self, zone: tzinfo, dst: DstPolicy) -> Instants:
        """The instants in `zone` under `dst`; the last ones asked for are kept."""
        kept = self._kept
        if kept and kept[0] is zone and kept[1] is dst:
            return kept[2]
        instants = Instants(self._local, timeline(zone), dst if self.fixed_time else ELAPSING)
        self._kept = zone, dst, instants
        return instants

    def describe(self) -> str:
        """The schedule in English, as "At 07:00 and 19:00, every day"."""
        if self._fields is None:
            return "When the daemon starts"
        return describe(self._fields) + (" (never)" if self.never else "")

    def __str__(self) -> str:
        if self._canonical is None:
            self._canonical = canonical(self._fields) if self._fields else REBOOT
        return self._canonical

    def __repr__(self) -> str:
        return f"CronExpression.parse({str(self)!r})"

    def __reduce__(self) -> tuple[Callable[[str], CronExpression], tuple[str]]:
        return CronExpression.parse, (str(self),)

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, CronExpression) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


def _local_times(fields: Fields | None) -> LocalTimes:
    if fields is None:
        return LocalTimes(TimesOfDay(1, 1, 1), Days(0, 0, 0, 0, both=True))
    times = TimesOfDay(fields.second.bits, fields.minute.bits, fields.hour.bits)
    days = Days(fields.day.bits, fields.month.bits, fields.weekday.bits, fields.year.bits, both=fields.both)
    return LocalTimes(times, days)


def _floor(moment: datetime) -> int:
    since = moment - EPOCH
    return since.days * DAY_S + since.seconds


def _ceiling(moment: datetime) -> int:
    since = moment - EPOCH
    return since.days * DAY_S + since.seconds + (since.microseconds > 0)


@lru_cache(maxsize=20_000)
def _schedule(text: str) -> CronExpression:
    expression = CronExpression.parse(text)
    refuse_as_schedule(text)
    return expression
