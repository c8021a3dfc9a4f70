"""What is doubtful about a schedule, for `check`: it can run, but perhaps not as its author thinks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import groupby

from scheduler_daemon.cron.expression import AtTransition, CronExpression
from scheduler_daemon.model import DstGap, DstOverlap, DstPolicy

_AHEAD = timedelta(days=365)
_MOST_LISTED = 3
_PASSES = {
    DstOverlap.FIRST: "fires the first time only",
    DstOverlap.SECOND: "fires the second time only",
    DstOverlap.BOTH: "fires both times",
}


def lint(expression: CronExpression, zone: tzinfo, dst: DstPolicy, now: datetime) -> tuple[str, ...]:
    """Warnings about `expression` as a schedule in `zone`, with the clock changes of 12 months from `now`."""
    if expression.never:
        return ("never fires: no date from 1970 to 2199 matches",)
    if expression.next_after(now, zone, dst=dst) is None:
        last = expression.previous_before(now, zone, dst=dst)
        if last is None:
            return (f"never fires: {zone}'s clock jumps over the only time that matches",)
        return (f"never fires again: the last instant was {last:%Y-%m-%d %H:%M:%S} UTC",)
    return (*_every_second(expression), *_either_day(expression), *_changes(expression, zone, dst, now))


def _every_second(expression: CronExpression) -> Iterator[str]:
    second, minute, hour, *days = str(expression).split()
    if second == "*":
        once = " ".join(["0", minute, hour, *days])
        often = "60 times in each minute that matches" if (minute, hour) != ("*", "*") else "every second"
        yield f'fires {often}; for once a minute write "{once}"'


def _either_day(expression: CronExpression) -> Iterator[str]:
    if expression.either_day:
        fields = str(expression).split()
        fields[5] = f"+{fields[5]}"
        yield (
            "fires on every day that matches the day of month or the day of week; "
            f'for days that match both write "{" ".join(fields)}"'
        )


def _changes(expression: CronExpression, zone: tzinfo, dst: DstPolicy, now: datetime) -> Iterator[str]:
    for transition, times in groupby(expression.gaps(now, now + _AHEAD, zone), _transition):
        day, listed = _listed(times)
        before, after = _jump(transition, zone)
        what = f"fires once at {after} instead" if dst.gap is DstGap.AFTER else "does not fire then"
        yield f"on {day} {zone}'s clock goes from {before} to {after}, past {listed}: {what}"
    for transition, times in groupby(expression.overlaps(now, now + _AHEAD, zone), _transition):
        day, listed = _listed(times)
        before, after = _jump(transition, zone)
        what = _PASSES[dst.overlap]
        yield f"on {day} {zone}'s clock goes back from {before} to {after}, repeating {listed}: {what}"


def _transition(at: AtTransition) -> datetime:
    return at.transition


def _listed(times: Iterator[AtTransition]) -> tuple[str, str]:
    """As ("2027-03-14", "02:10, 02:20, 02:30 and 3 more")."""
    days, clocks = zip(*(time.local.split() for time in times), strict=True)
    more = len(clocks) - _MOST_LISTED
    listed = ", ".join(clock.removesuffix(":00") for clock in clocks[:_MOST_LISTED])
    return days[0], listed + (f" and {more} more" if more > 0 else "")


def _jump(transition: datetime, zone: tzinfo) -> tuple[str, str]:
    """What the clock would have shown at the change, and what it shows."""
    last = (transition - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None)
    return f"{last + timedelta(seconds=1):%H:%M}", f"{transition.astimezone(zone):%H:%M}"
