"""What is not as it should be: for people, for /healthz, for whoever wants to be told. From memory alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from scheduler_daemon.model import Settings
from scheduler_daemon.operations.house import House
from scheduler_daemon.reporting import Event
from scheduler_daemon.runner.book import PlannedJob

LATE = timedelta(seconds=5)
AHEAD = timedelta(hours=1)
AWAY = "database_down"
"""The reason under which the dispatcher holds while the database is away."""
AT_START = {
    "state_dir": "state_dir",
    "database_url": "database.url",
    "control": "control",
    "jobplane_python": "jobplane.python",
    "metrics": "metrics.listen",
}
"""Settings that a reload leaves as they are, and their keys."""
Key = tuple[Event, str]


def degraded(house: House) -> list[str]:
    """Every reason why something is not as it should be."""
    reasons = _holds(house)
    if house.gateway.away_since is not None:
        reasons.append(f"database away since {house.gateway.away_since:%Y-%m-%d %H:%M:%S} UTC")
    reasons += [
        f'extension "{extension.name}" is {"faulty" if extension.jobs else "unavailable"}: {extension.error}'
        for extension in house.edition.catalogue.extensions
        if extension.error
    ]
    reasons += _unwell_jobs(house)
    if house.runner.recorder.disk_low:
        reasons.append(_disk(house))
    return reasons + at_next_start(house.started_with, house.edition.settings)


def unhealthy(house: House) -> list[str]:
    """Why the daemon cannot do its work: instants go unhandled, the database has been away for too long.

    One unwell job is no such reason, unless the configuration says so (`health.degraded_jobs`).
    """
    limits, now = house.edition.settings.health, house.clock.now()
    reasons = _holds(house)
    if not house.ready:
        reasons.append("startup jobs are still running")
    away = house.gateway.away_since
    if away is not None and now - away >= limits.database_away_after:
        reasons.append(f"database away since {away:%Y-%m-%d %H:%M:%S} UTC")
    oldest, job = oldest_unhandled(house, now)
    if oldest is not None and away is None:
        reasons.append(f'"{job}" was due at {oldest:%Y-%m-%d %H:%M:%S} UTC and nothing has become of it')
    if limits.degraded_jobs:
        reasons += _unwell_jobs(house)
    return reasons


def conditions(house: House) -> dict[Key, str]:
    """What holds now, for notifications: (event, the job or other thing that it concerns) → a line."""
    wanted, now = house.edition.settings.notifications, house.clock.now()
    found: dict[Key, str] = {}
    if holds := _holds(house):
        found[Event.DEGRADED, ""] = f"nothing is started: {'; '.join(holds)}"
    broken = {e.name: e.error for e in house.edition.catalogue.extensions if e.error}
    for name, error in broken.items():
        found[Event.DEGRADED, f"extension {name}"] = f"unavailable: {error}"
    for binding in house.edition.bindings:
        if binding.reason is not None and binding.job.extension not in broken:
            found[Event.DEGRADED, binding.job.name] = f"unavailable: {binding.reason}"
        if why := ahead(house.book.jobs.get(binding.job.name), now):
            found[Event.DEGRADED, binding.job.name] = why
    for job, why in house.runner.health.hanging.items():
        found[Event.HANGING, job] = why
    away = house.gateway.away_since
    if away is not None and now - away >= wanted.database_away_after:
        found[Event.DATABASE, ""] = f"the database is away since {away:%Y-%m-%d %H:%M:%S} UTC"
    if house.runner.recorder.disk_low:
        found[Event.DISK, ""] = _disk(house)
    if away is None and not holds:
        for planned, instant in _unhandled(house, now - wanted.late_after):
            found[Event.LATE, planned.spec.name] = (
                f"was due at {instant:%Y-%m-%d %H:%M:%S} UTC and nothing has become of it"
            )
    return found


def at_next_start(started_with: Settings, now: Settings) -> list[str]:
    """What the configuration says by now, and this daemon does not do yet."""
    return [
        f"{key} has changed in the configuration, which takes effect at the next start"
        for name, key in AT_START.items()
        if getattr(started_with, name) != getattr(now, name)
    ]


def oldest_unhandled(house: House, now: datetime) -> tuple[datetime | None, str | None]:
    """The oldest instant that is due for more than 5 s and has no disposition yet, and its job."""
    found = min(((at, job.spec.name) for job, at in _unhandled(house, now - LATE)), default=None)
    return found if found is not None else (None, None)


def _unhandled(house: House, until: datetime) -> Iterator[tuple[PlannedJob, datetime]]:
    """Jobs with an instant before `until` that their watermark has not passed."""
    for job in house.book.jobs.values():
        instant = job.table.next_after(job.watermark)
        if instant is not None and instant < until:
            yield job, instant


def ahead(planned: PlannedJob | None, now: datetime) -> str | None:
    """That a clock which ran ahead left the job's watermark in the future, and what to do."""
    if planned is None or planned.watermark <= now + AHEAD:
        return None
    until, name = f"{planned.watermark:%Y-%m-%d %H:%M:%S} UTC", planned.spec.name
    return (
        f"a clock that ran ahead left it accounted for until {until}: it does not fire before, "
        f"unless you say: systemprompt infra jobs rewind {name}"
    )


def _holds(house: House) -> list[str]:
    return [why for reason, why in house.runner.dispatcher.readiness.hold.items() if reason != AWAY]


def _unwell_jobs(house: House) -> list[str]:
    reasons = []
    for binding in house.edition.bindings:
        if binding.reason is not None:
            reasons.append(f'job "{binding.job.name}" is unavailable: {binding.reason}')
        if why := house.runner.health.degraded(binding.job.name):
            reasons.append(f'job "{binding.job.name}": {why}')
        if why := ahead(house.book.jobs.get(binding.job.name), house.clock.now()):
            reasons.append(f'job "{binding.job.name}": {why}')
    return reasons


def _disk(house: House) -> str:
    return f"disk nearly full: {house.guardian.disk_free / 1e6:.0f} MB free"
