"""Checked models → the frozen values that the other rooms know; and the text that a revision keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scheduler_daemon.config import zones
from scheduler_daemon.config.folders import Folders
from scheduler_daemon.config.report import shown
from scheduler_daemon.config.schema import Job, JobOptions, Root
from scheduler_daemon.config.tree import Entry, Node, mapping, sequence
from scheduler_daemon.model import (
    ControlSettings,
    DstPolicy,
    HistorySettings,
    JobSpec,
    Settings,
    WorkerSettings,
)
from scheduler_daemon.reporting import (
    Event,
    HealthSettings,
    HeartbeatSettings,
    MetricsSettings,
    NotificationSettings,
    QuietHours,
)

_MERGED = ("dst", "parameters")


def revision_text(root: Node) -> str:
    """The configuration as canonical JSON, secrets still as references, with the version of tzdata."""
    known = {"configuration": root.data(), "tzdata": zones.version()}
    return json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def with_defaults(root: Node) -> Node:
    """The tree with `scheduler.defaults` given to every job; `dst` and `parameters` key by key."""
    scheduler, defaults, jobs = (
        root.find(*path) for path in (("scheduler",), ("scheduler", "defaults"), ("scheduler", "jobs"))
    )
    if not (scheduler and defaults and defaults.entries and jobs and jobs.items):
        return root
    filled = sequence(jobs.place, [_filled(job, defaults) for job in jobs.items])
    inside = {**scheduler.entries, "jobs": Entry(key=scheduler.entries["jobs"].key, node=filled)}
    entry = Entry(key=root.entries["scheduler"].key, node=mapping(scheduler.place, inside))
    return mapping(root.place, {**root.entries, "scheduler": entry})


def _filled(job: Node, defaults: Node) -> Node:
    if not isinstance(job.value, dict):
        return job
    entries = dict(job.entries)
    for name, default in defaults.entries.items():
        own = entries.get(name)
        if name not in JobOptions.model_fields:
            continue
        if own is None:
            entries[name] = default
        elif name in _MERGED and own.node.entries and default.node.entries:
            both = mapping(own.node.place, {**default.node.entries, **own.node.entries})
            entries[name] = Entry(key=own.key, node=both)
    return mapping(job.place, entries)


def settings(file: Path, root: Node, checked: Root, places: Folders, text: str) -> Settings:
    return Settings(
        file=file,
        base_dir=places.base_dir,
        state_dir=places.state_dir,
        timezone=checked.timezone,
        database_url=checked.database.url,
        control=ControlSettings(
            socket=places.socket, group=checked.control.group, readers=checked.control.readers
        ),
        workers=WorkerSettings(**checked.workers.model_dump()),
        jobplane_python=places.python,
        import_timeout=checked.jobplane.import_timeout,
        shutdown_grace=checked.shutdown_grace,
        startup_timeout=checked.startup_timeout,
        history=HistorySettings(
            keep=checked.history.keep,
            max_per_job=checked.history.max_per_job,
            keep_logs=checked.logs.keep,
        ),
        notifications=_notifications(checked),
        heartbeat=HeartbeatSettings(**checked.heartbeat.model_dump()),
        health=HealthSettings(**checked.health.model_dump()),
        metrics=MetricsSettings(**checked.metrics.model_dump()),
        scheduler_enabled=checked.scheduler.enabled,
        jobs=job_specs(root, checked),
        extensions=checked.extensions,
        revision=hashlib.sha256(text.encode()).hexdigest(),
        revision_text=text,
    )


def _notifications(checked: Root) -> NotificationSettings:
    given = checked.notifications
    values: dict[str, Any] = {name: getattr(given, name) for name in type(given).model_fields}
    hours = values.pop("quiet_hours")
    values["quiet"] = QuietHours(start=hours[0], end=hours[1], zone=checked.timezone) if hours else None
    values["events"] = frozenset(Event if given.events is None else given.events)
    values["urgent"] = frozenset(given.urgent)
    return NotificationSettings(**values)


def job_specs(root: Node, checked: Root) -> tuple[JobSpec, ...]:
    """In the order of the configuration."""
    jobs = root.find("scheduler", "jobs")
    nodes = jobs.items if jobs else ()
    names = {file: shown(file) for file in {node.place.file for node in nodes}}
    return tuple(
        _job_spec(node, job, checked.timezone, names)
        for node, job in zip(nodes, checked.scheduler.jobs, strict=True)
    )


def _job_spec(node: Node, job: Job, timezone: str, names: Mapping[Path, str]) -> JobSpec:
    values: dict[str, Any] = {name: getattr(job, name) for name in _OF_JOB}
    values |= {
        "timezone": job.timezone or timezone,
        "dst": DstPolicy(gap=job.dst.gap, overlap=job.dst.overlap),
        "concurrency": job.concurrency or "",
        "position": _position(node, names),
        "schedule_position": _position(node.child("schedule") or node, names),
    }
    return JobSpec(**values)


_OF_JOB = tuple(Job.model_fields)


def _position(node: Node, names: Mapping[Path, str]) -> str:
    file, line, column = node.place
    return f"{names.get(file) or shown(file)}:{line}:{column}"
