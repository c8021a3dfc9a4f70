"""Whether this daemon can run things now, since when it can, and when and why it could not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from scheduler_daemon.clock import Clock
from scheduler_daemon.runner.planning import Outage, Situation

EARLY = timedelta(seconds=1)
REMEMBERED = timedelta(days=1)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
FINAL = "restored"
log = structlog.get_logger(__name__)


class Readiness:
    """`hold` maps reasons (the database is away, the clock is off, …) for which nothing is claimed to a line
    for people. `skew` is the database's time minus this machine's. `on_end(outage)` is told of each outage.
    `settled`: all that was due by then has its row. What comes after it is part of an outage that is noticed
    later: a claim may wait for its answer for a minute before the database counts as away.
    """

    def __init__(self, clock: Clock) -> None:
        self.hold: dict[str, str] = {}
        self.able_since = self.settled = clock.now()
        self.outages: list[Outage] = []
        self.skew = timedelta(0)
        self.on_end: Callable[[Outage], None] = lambda outage: None
        self._clock = clock
        self._held_since: dict[str, datetime] = {}

    def began(self, now: datetime, *, alone: bool) -> None:
        """A start: what came due before it was missed. Beside other nodes, the last minute is left to them
        first, and is then late, not missed.
        """
        self.able_since = now if alone else now - timedelta(minutes=1)
        self.outages.append(Outage(start=BEGINNING, end=self.able_since, reason="daemon_down"))

    def hold_for(self, reason: str, message: str, *, since: datetime | None = None) -> None:
        """Claim nothing until `release(reason)`; what comes due meanwhile is a misfire for that reason."""
        if reason not in self.hold:
            self._held_since[reason] = since or self._clock.now()
            log.warning("claiming is held", reason=reason, why=message)
        self.hold[reason] = message

    def release(self, reason: str) -> None:
        if self.hold.pop(reason, None) is not None:
            log.info("claiming goes on", reason=reason)
            self.ended(self._held_since.pop(reason), reason)

    def ended(self, start: datetime, reason: str) -> None:
        """Nothing could run since `start`; from now on it can."""
        now = self._clock.now()
        self.outages = [o for o in self.outages if o.end > now - REMEMBERED]
        self.outages.append(self._outage(start, now, reason))
        self.able_since = now
        self.on_end(Outage(start=start, end=now, reason=reason))

    def situation(self, now: datetime) -> Situation:
        """An instant later than the database's clock + 1 s waits (`too_early`)."""
        return Situation(now=now - self.too_early, able_since=self.able_since, outages=self.outages)

    def shared_now(self) -> datetime:
        """The database's time, which all nodes share."""
        return self._clock.now() + self.skew

    def account(self, now: datetime) -> Situation:
        """The situation at a shared moment; what holds us now is an outage until then."""
        holds = (self._outage(since, now, reason) for reason, since in self._held_since.items())
        able_since = now if self.hold else self.able_since
        return Situation(now=now, able_since=able_since, outages=[*self.outages, *holds])

    @property
    def too_early(self) -> timedelta:
        """How far this machine's clock is ahead of what may be claimed."""
        return max(timedelta(0), -(self.skew + EARLY))

    def _outage(self, start: datetime, end: datetime, reason: str) -> Outage:
        """What a copy of a database missed was done by the original: it is not caught up."""
        return Outage(start=min(start, self.settled), end=end, reason=reason, final=reason == FINAL)
