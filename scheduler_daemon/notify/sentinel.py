"""What is worth telling: each trouble once when it begins, again after a while, and once when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from scheduler_daemon.model import Outcome, RunStatus
from scheduler_daemon.notify.notices import LONGEST, Notice
from scheduler_daemon.reporting import Event, NotificationSettings

BAD = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.LOST)
STANDING = (Event.LATE, Event.HANGING, Event.DEGRADED, Event.DATABASE, Event.DISK)
"""What holds or does not, as `conditions` says; the other events just happen."""
USUALLY = 5
"""Runs with items after which a run without any is news."""
FORGET_S = 3600.0
Key = tuple[Event, str]
CAUSES = {
    "daemon_down": "no daemon was running",
    "database_down": "the database was away",
    "suspended": "the machine slept, or the daemon stood still",
    "overload": "there was more to do than could be done",
    "restored": "the database was restored, and not yet accepted",
    "clock_skew": "this machine's clock was off",
    "other_revision": "another configuration was in force",
}


@dataclass(kw_only=True, slots=True)
class Trouble:
    """Since when, how often, when it was last told, and last seen. Unix seconds."""

    text: str
    since: float
    told_at: float
    seen_at: float
    count: int = 1


@dataclass(kw_only=True, slots=True)
class Habit:
    """How many runs of a job had items; `empty_before`: one without any is nothing new."""

    full: int = 0
    empty_before: bool = False


@dataclass(kw_only=True)
class Memory:
    """What outlives a restart."""

    troubles: dict[Key, Trouble] = field(default_factory=dict)
    habits: dict[str, Habit] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        troubles = [[event.value, subject, asdict(t)] for (event, subject), t in self.troubles.items()]
        return {"troubles": troubles, "habits": {job: asdict(habit) for job, habit in self.habits.items()}}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Memory:
        """Raises KeyError, TypeError or ValueError where it is not ours."""
        return cls(
            troubles={(Event(event), subject): Trouble(**t) for event, subject, t in stored["troubles"]},
            habits={job: Habit(**habit) for job, habit in stored["habits"].items()},
        )


class Sentinel:
    """`say` gets what is to be told. Times are Unix seconds, given by the caller."""

    def __init__(
        self, say: Callable[[Notice], None], settings: NotificationSettings, memory: Memory | None = None
    ) -> None:
        self.settings = settings
        self.memory = memory or Memory()
        self._say = say

    def run_started(self, job: str, late_s: float, now: float, run: str) -> None:
        """A planned run has started, `late_s` after its instant."""
        if late_s > self.settings.late_after.total_seconds():
            self._begins(Event.LATE, job, f"started {_span(late_s)} late", now, run)

    def run_ended(self, job: str, outcome: Outcome, now: float) -> None:
        """A run has ended, and no retry follows."""
        if outcome.status in BAD:
            self._begins(Event.FAILED, job, _failure(outcome), now, outcome.run_id)
        elif outcome.status is RunStatus.SUCCEEDED:
            self._ends(Event.FAILED, job, now)
            self._look_at_items(job, outcome, now)

    def missed(self, job: str, count: int, reason: str | None, now: float) -> None:
        """Planned instants whose time passed while nothing could run them."""
        cause = CAUSES.get(reason or "", reason or "no reason is known")
        times = "a planned run was" if count == 1 else f"{count} planned runs were"
        self._begins(Event.MISSED, job, f"{times} missed: {cause}", now)

    def conditions(self, holding: Mapping[Key, str], now: float) -> None:
        """Everything that holds now, of the events in STANDING, with a line for each."""
        for (event, subject), text in holding.items():
            self._begins(event, subject, text, now, counts=False)
        for event, subject in list(self.memory.troubles):
            if event in STANDING and (event, subject) not in holding:
                self._ends(event, subject, now)
        for key, trouble in list(self.memory.troubles.items()):
            if key[0] is Event.MISSED and now - trouble.seen_at > FORGET_S:
                del self.memory.troubles[key]

    def forget(self, known: frozenset[str]) -> None:
        """A reload: jobs that are gone have no troubles."""
        for key in [k for k in self.memory.troubles if k[1] and k[0] not in STANDING and k[1] not in known]:
            del self.memory.troubles[key]
        for job in [job for job in self.memory.habits if job not in known]:
            del self.memory.habits[job]

    def _look_at_items(self, job: str, outcome: Outcome, now: float) -> None:
        if outcome.items_processed is None:
            return
        habit = self.memory.habits.setdefault(job, Habit())
        if outcome.items_processed > 0:
            habit.full += 1
            self.memory.troubles.pop((Event.EMPTY, job), None)
        else:
            if habit.full >= USUALLY and not habit.empty_before:
                text = f"succeeded with nothing to show, which it never did in {habit.full} runs"
                self._begins(Event.EMPTY, job, text, now, outcome.run_id)
            habit.empty_before = True

    def _begins(
        self,
        event: Event,
        subject: str,
        text: str,
        now: float,
        run: str | None = None,
        *,
        counts: bool = True,
    ) -> None:
        if event not in self.settings.events:
            return
        text = text[:LONGEST]
        trouble = self.memory.troubles.get((event, subject))
        if trouble is None:
            self.memory.troubles[event, subject] = Trouble(text=text, since=now, told_at=now, seen_at=now)
            self._say(Notice(event=event, subject=subject, text=text, at=now, run=run))
            return
        trouble.count += counts
        trouble.text, trouble.seen_at = text, now
        if now - trouble.told_at >= self.settings.remind_after.total_seconds():
            trouble.told_at = now
            times = f", {trouble.count} times" if counts else ""
            still = f"still so, since {_moment(trouble.since)}{times}: {text}"
            self._say(Notice(event=event, subject=subject, text=still, at=now, run=run))

    def _ends(self, event: Event, subject: str, now: float) -> None:
        trouble = self.memory.troubles.pop((event, subject), None)
        if trouble is None or Event.RECOVERED not in self.settings.events or event is Event.LATE:
            return
        times = f" and {trouble.count} failed runs" if event is Event.FAILED and trouble.count > 1 else ""
        text = f"is well again after {_span(now - trouble.since)}{times}"
        if event is not Event.FAILED:
            text = f"over after {_span(now - trouble.since)}: {trouble.text}"
        self._say(Notice(event=Event.RECOVERED, subject=subject, text=text, at=now))


def _failure(outcome: Outcome) -> str:
    why = (outcome.error or outcome.message or outcome.reason or "no reason given").strip()
    return f"{outcome.status.value.replace('_', ' ')}: {why.splitlines()[0] if why else ''}"


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _span(seconds: float) -> str:
    """Such as "45 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")
