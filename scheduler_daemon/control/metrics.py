"""What Prometheus reads: the status as numbers, in its text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Info, generate_latest

from scheduler_daemon.operations import Operations

MEDIA_TYPE = "text/plain"
PREFIX = "scheduler_daemon_"


def text(operations: Operations) -> bytes:
    """A registry of its own each time: what is gone from the status is gone from the answer."""
    registry = CollectorRegistry()
    status = operations.scheduler.status()
    Info(f"{PREFIX}build", "Version and node", registry=registry).info(
        {"version": status.version, "node": status.node}
    )
    behind = (status.now - status.oldest_unhandled).total_seconds() if status.oldest_unhandled else 0.0
    figures = {
        "up_seconds": ("Seconds since the daemon's start", status.uptime_s),
        "ready": ("1 once the startup jobs have ended", status.ready),
        "healthy": ("1 while the daemon does its work", not operations.scheduler.unhealthy()),
        "degraded_reasons": ("How many things are not as they should be", len(status.degraded)),
        "jobs": ("Jobs in the configuration", status.jobs),
        "runs_running": ("Runs in workers now", status.running),
        "runs_queued": ("Runs that wait", status.queued),
        "workers": ("Worker processes", len(status.workers)),
        "workers_max": ("Worker processes that are allowed", status.workers_max),
        "database_up": ("1 while the database answers", status.database_away_since is None),
        "oldest_unhandled_seconds": ("Age of the oldest instant that is due and not handled", behind),
        "clock_skew_seconds": ("The database's clock minus this machine's", status.clock_skew_s),
        "spool_bytes": ("Outcomes and logs on disk that wait for the database", status.spool_bytes),
        "disk_free_bytes": ("Free space of the state directory", status.disk_free_bytes),
    }
    for name, (meaning, value) in figures.items():
        Gauge(f"{PREFIX}{name}", meaning, registry=registry).set(float(value))
    return generate_latest(registry)
