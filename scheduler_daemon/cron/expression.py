"""CronExpression: a schedule as a value, and every question that one can ask of it. No clock, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple, Self

from scheduler_daemon.cron import dst as rule
from scheduler_daemon.cron.canonical import canonical
from scheduler_daemon.cron.describe import describe
from scheduler_daemon.cron.dst import DEBIAN, ELAPSING
from scheduler_daemon.cron.fields import KINDS, YEAR, Field, Fields, quote, read_field
from scheduler_daemon.cron.timeline import DAY_S, EPOCH, timeline
from scheduler_daemon.cron.walk import FAR, Days, LocalTimes, TimesOfDay
from scheduler_daemon.errors import CronError
from scheduler_daemon.model import DstPolicy

REBOOT = "@reboot"
NICKNAMES = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_ORDER = "second minute hour day-of-month month day-of-week [year]"
_SECOND_ZERO, _EVERY_YEAR = Field(1, starred=False, restricted=True), Field(YEAR.every)
_WORD = re.compile(r"[^ \t]+")


class Swallowed(NamedTuple):
    """A fixed-time instant that a gap jumped over: its local time, and the first instant after the gap."""

    local: str
    transition: datetime


class CronExpression:
    """A cron expression: OCPS 1.4 syntax, years 1970-2199, Debian's daylight-saving rule. Immutable.

    `zone` is the zone whose wall clock the fields mean (a ZoneInfo; any tzinfo does). `moment`, `start` and
    `end` are aware datetimes; what comes back is aware, in UTC, and a whole second. `dst` is the policy for
    fixed-time schedules (`fixed_time`); an elapsing schedule follows the clock and needs none.
    Expressions are equal if their canonical texts (`str()`) are.
    """

    __slots__ = ("_canonical", "_fields", "_never", "_times", "fixed_time")

    fixed_time: bool
    """Neither the minute nor the hour field starts with `*`: gaps and overlaps follow the policy."""

    def __init__(self, fields: Fields | None) -> None:
        """For `parse` alone; no fields at all stand for `@reboot`."""
        self._fields = fields
        self._canonical: str | None = None
        self._never: bool | None = None if fields else True
        self.fixed_time = fields is not None and not (fields.minute.starred or fields.hour.starred)
        self._times = (
            _local_times(fields) if fields else LocalTimes(TimesOfDay(1, 1, 1), Days(0, 0, 0, 0, both=True))
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read five, six or seven fields or a nickname. Raises CronError."""
        words = [(word[0], word.start() + 1) for word in _WORD.finditer(text)]
        if words and words[0][0].startswith("@"):
            return cls._parse_nickname(text, words)
        if len(words) not in (5, 6, 7):
            raise CronError(
                f"{quote(text)} has {len(words)} fields; a schedule has six or seven: {_ORDER}",
                field="expression",
                text=text,
                column=1,
            )
        kinds = KINDS[len(words) == 5 :]
        read = [read_field(kind, word, column) for kind, (word, column) in zip(kinds, words, strict=False)]
        if len(words) == 5:
            read.insert(0, _SECOND_ZERO)
        if len(read) == 6:
            read.append(_EVERY_YEAR)
        return cls(Fields(*read))

    @classmethod
    def parse_schedule(cls, text: str) -> Self:
        """Read a job's schedule: six or seven fields or a nickname, never `@reboot`. Raises CronError."""
        expression = cls.parse(text)
        if expression.reboot:
            raise CronError(
                f'"{REBOOT}" is no schedule; a job that runs when the daemon starts has run_on_startup',
                field="expression",
                text=text,
                column=text.index(REBOOT) + 1,
            )
        if len(text.split()) == 5:
            right = f"0 {' '.join(text.split())}"
            raise CronError(
                f'{quote(text)} has five fields; schedules start with seconds: did you mean "{right}"?',
                field="expression",
                text=text,
                column=1,
            )
        return expression

    @classmethod
    def _parse_nickname(cls, text: str, words: list[tuple[str, int]]) -> Self:
        name, column = words[0]
        if len(words) == 1 and name == REBOOT:
            return cls(None)
        if len(words) == 1 and name in NICKNAMES:
            return cls.parse(NICKNAMES[name])
        raise CronError("x", field="expression", text=name, column=column)

    @property
    def reboot(self) -> bool:
        """`@reboot`: parses (OCPS 1.1 §7.2), names no instant."""
        return self._fields is None

    @property
    def never(self) -> bool:
        """There is no instant at all from 1970 to 2199, as on 31 February."""
        if self._never is None:
            self._never = self._times.at_or_after(0) == FAR
        return self._never

    def next_after(self, moment: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN) -> datetime | None:
        """The first instant after `moment`; None: there is none."""
        since = moment - EPOCH
        policy = dst if self.fixed_time else ELAPSING
        found = rule.first_at_or_after(
            self._times, timeline(zone), since.days * DAY_S + since.seconds + 1, policy
        )
        return None if found is None else EPOCH + timedelta(seconds=found)

    def previous_before(self, moment: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN) -> datetime | None:
        """The last instant before `moment`; None: there is none."""
        policy = dst if self.fixed_time else ELAPSING
        found = rule.last_at_or_before(self._times, timeline(zone), _ceiling(moment) - 1, policy)
        return None if found is None else EPOCH + timedelta(seconds=found)

    def between(
        self, start: datetime, end: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN
    ) -> Iterator[datetime]:
        """The instants in (`start`, `end`], ascending: from a watermark, which is accounted for, to now."""
        policy = dst if self.fixed_time else ELAPSING
        line, instant, last = timeline(zone), _floor(start), _floor(end)
        while (found := rule.first_at_or_after(self._times, line, instant + 1, policy)) is not None:
            if found > last:
                return
            yield EPOCH + timedelta(seconds=found)
            instant = found

    def count(self, start: datetime, end: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN) -> int:
        """How many instants are in (`start`, `end`], in time that does not depend on how many they are."""
        policy = dst if self.fixed_time else ELAPSING
        return rule.count(self._times, timeline(zone), _floor(start) + 1, _floor(end) + 1, policy)

    def gaps(self, start: datetime, end: datetime, zone: tzinfo) -> Iterator[Swallowed]:
        """The fixed-time instants that gaps in (`start`, `end`] jumped over, whatever the policy makes of them."""
        if self.fixed_time:
            for local, gap in rule.swallowed(self._times, timeline(zone), _floor(start) + 1, _floor(end) + 1):
                text = (EPOCH + timedelta(seconds=local)).strftime("%Y-%m-%d %H:%M:%S")
                yield Swallowed(text, EPOCH + timedelta(seconds=gap))

    def matches(self, moment: datetime, zone: tzinfo, *, dst: DstPolicy = DEBIAN) -> bool:
        """Whether `moment` is an instant of this schedule; one with a fraction of a second is none."""
        policy = dst if self.fixed_time else ELAPSING
        instant = _ceiling(moment)
        found = rule.first_at_or_after(self._times, timeline(zone), instant, policy)
        return found == instant == _floor(moment)

    def describe(self) -> str:
        """The schedule in English, as "At 07:00 and 19:00, every day"."""
        return describe(self._fields)

    def __str__(self) -> str:
        if self._canonical is None:
            self._canonical = canonical(self._fields) if self._fields else REBOOT
        return self._canonical

    def __repr__(self) -> str:
        return f"CronExpression.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, CronExpression) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


def _local_times(fields: Fields) -> LocalTimes:
    times = TimesOfDay(fields.second.bits, fields.minute.bits, fields.hour.bits)
    days = Days(fields.day.bits, fields.month.bits, fields.weekday.bits, fields.year.bits, both=fields.both)
    return LocalTimes(times, days)


def _floor(moment: datetime) -> int:
    since = moment - EPOCH
    return since.days * DAY_S + since.seconds


def _ceiling(moment: datetime) -> int:
    since = moment - EPOCH
    return since.days * DAY_S + since.seconds + (since.microseconds > 0)
