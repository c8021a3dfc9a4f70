"""Whether the daemon turns, and what it says of itself in one line."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from scheduler_daemon.operations.house import House


class Pulse:
    """Engine and dispatcher must each turn within `limit_s`. Waiting for the database is no stall."""

    def __init__(self, house: House, *, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._house = house
        self._limit_s = limit_s
        self._clock = clock
        self._looked_at = clock()
        self._seen: dict[str, tuple[float, float]] = {}

    def stalled(self) -> str | None:
        """What has not moved, and for how long; both are asked for another turn."""
        now = self._clock()
        if now - self._looked_at > self._limit_s:  # we slept ourselves: they have had no chance to turn
            self._seen.clear()
        self._looked_at = now
        dispatcher = self._house.runner.dispatcher
        dispatcher.poke()
        still = {"engine": self._still("engine", self._house.engine.turned_at, now)}
        if not any(map(self._house.gateway.serves, dispatcher.turning)):
            still["dispatcher"] = self._still("dispatcher", dispatcher.turned_at, now)
        for name, still_s in still.items():
            if still_s > self._limit_s:
                return f"the {name} has made no turn for {still_s:.0f} s"
        return None

    def _still(self, name: str, turned_at: float, now: float) -> float:
        """Seconds through which we have watched it not move."""
        before, since = self._seen.get(name, (turned_at, now))
        if before != turned_at:
            since = now
        self._seen[name] = (turned_at, since)
        return now - since

    def status(self) -> str:
        """Such as "next publish_pipeline at 12:15:00 UTC; 1 running, 0 waiting"."""
        house = self._house
        pool, dispatcher = house.runner.pool, house.runner.dispatcher
        parts = [*dispatcher.readiness.hold.values(), _next_fire(house, house.clock.now())]
        if not house.ready:
            parts.insert(0, "startup jobs are running")
        return f"{'; '.join(parts)}; {len(pool.running)} running, {len(dispatcher.waiting)} waiting"


def _next_fire(house: House, now: datetime) -> str:
    """The soonest instant of a job that is enabled, by timetable: jobs that fire together are asked once."""
    soonest: tuple[datetime, str] | None = None
    for table, names in house.book.tables().items():
        enabled = [name for name in names if house.book.effectively_enabled(name, now)]
        instant = table.next_after(now) if enabled else None
        if instant is not None and (soonest is None or instant < soonest[0]):
            soonest = (instant, enabled[0] + (f" and {len(enabled) - 1} more" if len(enabled) > 1 else ""))
    if soonest is None:
        return "nothing is planned"
    day = "" if soonest[0].date() == now.date() else f"{soonest[0]:%Y-%m-%d} "
    return f"next {soonest[1]} at {day}{soonest[0]:%H:%M:%S} UTC"
