"""A time as an operator types it, in a job's zone: what it may mean, and what the clock did then."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler_daemon.cron.timeline import EPOCH, timeline
from scheduler_daemon.errors import RequestError

EARLIEST, LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2199, 12, 30, tzinfo=UTC)
EXAMPLES = '2026-03-29, "2026-03-29 02:30", 02:30 or 2026-03-29T02:30:00+02:00'


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The instants in [`start`, `end`) are meant; `text` is what was typed, or its time in words.

    `swallowed`: the local time that the zone's clock jumped over, `start` then being the jump.
    `repeated`: the clock showed this time twice, and again an hour (or so) after `start`.
    """

    text: str
    start: datetime
    end: datetime
    swallowed: str | None = None
    repeated: timedelta | None = None


def asked(text: str, zone: ZoneInfo, now: datetime) -> Asked:
    """A date (the whole day), a minute, or a second; without an offset in `zone`. Raises RequestError."""
    wanted = text.strip()
    moment = _read(wanted, now.astimezone(zone))
    length = _precision(wanted)
    if moment.tzinfo is not None:
        start = moment.astimezone(UTC)
        return _checked(Asked(text=text, start=start, end=start + length), text)
    if length >= timedelta(days=1):
        end = _instant(moment + length, zone, fold=0)
        return _checked(Asked(text=text, start=_instant(moment, zone, fold=0), end=end), text)
    start = _instant(moment, zone, fold=0)
    if start.astimezone(zone).replace(tzinfo=None) != moment:
        jump = EPOCH + timedelta(seconds=timeline(zone).at(int((start - EPOCH).total_seconds())).start)
        local = f"{moment:%Y-%m-%d %H:%M:%S}"
        return Asked(text=text, start=jump, end=jump + timedelta(seconds=1), swallowed=local)
    again = _instant(moment, zone, fold=1) - start
    return _checked(Asked(text=text, start=start, end=start + length, repeated=again or None), text)


def exactly(moment: datetime) -> Asked:
    """One instant."""
    return Asked(text=f"{moment:%Y-%m-%d %H:%M:%S} UTC", start=moment, end=moment + timedelta(seconds=1))


def _read(text: str, here: datetime) -> datetime:
    try:
        if len(text) <= 8 and ":" in text:
            clock = datetime.fromisoformat(f"{here:%Y-%m-%d}T{text.zfill(5)}")
            return clock.replace(tzinfo=None)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(f'"{text}" is not a time: write {EXAMPLES}') from None
    if not 1970 <= moment.year <= 2199:
        raise RequestError(f'"{text}": schedules are evaluated from 1970 to 2199')
    return moment


def _precision(text: str) -> timedelta:
    if ":" not in text:
        return timedelta(days=1) if "T" not in text and " " not in text else timedelta(hours=1)
    clock = re.split(r"[+\-Z]", re.split(r"[T ]", text)[-1])[0]
    return timedelta(minutes=1) if clock.count(":") == 1 else timedelta(seconds=1)


def _instant(local: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
    return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _checked(one: Asked, text: str) -> Asked:
    if not (one.start >= EARLIEST and one.end <= LATEST):
        raise RequestError(f'"{text}": schedules are evaluated from 1970 to 2199')
    return one
