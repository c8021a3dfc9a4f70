"""What Prometheus reads: status and tally as numbers, in its text format.

The only label whose values are not fixed is `job`: names of the configuration and of the catalogue.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from scheduler_daemon.model import RunStatus
from scheduler_daemon.operations import House, Operations
from scheduler_daemon.operations.tally import JobTally
from scheduler_daemon.operations.values import Status

MEDIA_TYPE = "text/plain"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "scheduler_daemon_"
ENDS = tuple(status for status in RunStatus if not status.live)


def text(operations: Operations) -> bytes:
    """A registry of its own each time: what is gone from the daemon is gone from the answer."""
    registry = CollectorRegistry()
    registry.register(_Everything(operations))
    return generate_latest(registry)


class _Everything(Collector):
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def collect(self) -> Iterable[Metric]:
        house, status = self._operations.house, self._operations.scheduler.status()
        build = {"version": status.version, "python": platform.python_version(), "node": status.node}
        yield _gauge("build_info", "Version, interpreter and node", [(build, 1)])
        for name, (meaning, value) in _figures(self._operations, status).items():
            yield _gauge(name, meaning, [({}, value)])
        busy = sum(1 for worker in status.workers if worker.run)
        states = [({"state": "busy"}, busy), ({"state": "idle"}, len(status.workers) - busy)]
        yield _gauge("workers", "Worker processes", states)
        yield from _counts(house)
        yield from _of_jobs(house)


def _figures(operations: Operations, status: Status) -> Mapping[str, tuple[str, float]]:
    house, now = operations.house, status.now
    behind = (now - status.oldest_unhandled).total_seconds() if status.oldest_unhandled else 0.0
    away = (now - status.database_away_since).total_seconds() if status.database_away_since else 0.0
    monotonic = time.monotonic()
    return {
        "start_time_seconds": ("When the daemon started (Unix time)", status.started_at.timestamp()),
        "ready": ("1 once the startup jobs have ended", status.ready),
        "healthy": ("1 while /healthz succeeds", not operations.scheduler.unhealthy()),
        "degraded_reasons": ("How many things are not as they should be", len(status.degraded)),
        "jobs": ("Jobs in the configuration", status.jobs),
        "runs_running": ("Runs in workers now", status.running),
        "runs_queued": ("Runs that wait", status.queued),
        "workers_max": ("Worker processes that are allowed", status.workers_max),
        "database_up": ("1 while the database answers", status.database_away_since is None),
        "database_away_seconds": ("For how long the database has been away", away),
        "oldest_unhandled_seconds": ("Age of the oldest instant that is due and not handled", behind),
        "engine_turn_age_seconds": ("Since the timers last came round", monotonic - house.engine.turned_at),
        "dispatcher_turn_age_seconds": (
            "Since the dispatcher last came further; it rests while nothing is due",
            monotonic - house.runner.dispatcher.turned_at,
        ),
        "clock_skew_seconds": ("The database's clock minus this machine's", status.clock_skew_s),
        "spool_bytes": ("Outcomes and logs on disk that wait for the database", status.spool_bytes),
        "disk_free_bytes": ("Free space of the state directory", status.disk_free_bytes),
        "notifications_waiting": (
            "Messages that have not arrived",
            house.notifier.waiting if house.notifier else 0,
        ),
    }


def _counts(house: House) -> Iterator[Metric]:
    for name, meaning, count in (
        ("job_plane_restarts", "Zygotes that died by themselves", house.plane.restarts),
        ("log_lines_lost", "Log lines that were neither recorded nor kept", house.runner.recorder.logs_lost),
    ):
        family = CounterMetricFamily(PREFIX + name, meaning)
        family.add_metric([], count)
        yield family


def _of_jobs(house: House) -> Iterator[Metric]:
    bound = {binding.job.name: binding for binding in house.edition.bindings}
    known = [*bound, *(name for name in house.book.unscheduled if name in house.tally.jobs)]
    tallies = {name: house.tally.jobs.get(name) or JobTally() for name in known}
    now = house.clock.now()
    runs = CounterMetricFamily(
        PREFIX + "runs",
        "Runs by how they ended, and planned instants that were skipped or missed",
        labels=["job", "status"],
    )
    durations = HistogramMetricFamily(PREFIX + "run_duration_seconds", "From start to end", labels=["job"])
    lateness = HistogramMetricFamily(
        PREFIX + "run_lateness_seconds", "From the planned instant to the start", labels=["job"]
    )
    succeeded: list[tuple[dict[str, str], float]] = []
    for name, tally in tallies.items():
        for status in ENDS:
            runs.add_metric([name, status.value], tally.ends.get(status, 0))
        durations.add_metric([name], tally.durations.cumulative(), tally.durations.total)
        lateness.add_metric([name], tally.lateness.cumulative(), tally.lateness.total)
        if tally.last_success_at is not None:
            succeeded.append(({"job": name}, tally.last_success_at))
    yield from (runs, durations, lateness)
    yield _gauge("job_last_success_time_seconds", "Unix time, since the daemon's start", succeeded)
    degraded = [
        ({"job": name}, 1.0 if one.reason or house.runner.health.degraded(name) else 0.0)
        for name, one in bound.items()
    ]
    yield _gauge("job_degraded", "1: unavailable, its last run failed, or it hangs", degraded)
    enabled = [({"job": name}, float(house.book.effectively_enabled(name, now))) for name in house.book.jobs]
    yield _gauge("job_enabled", "1: its schedule is in force", enabled)


def _gauge(name: str, meaning: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Metric:
    listed = list(samples)
    labels = list(listed[0][0]) if listed else []
    family = GaugeMetricFamily(PREFIX + name, meaning, labels=labels)
    for values, value in listed:
        family.add_metric(list(values.values()), float(value))
    return family
