"""Bit sets → English."""

from __future__ import annotations

from scheduler_daemon.cron.canonical import canonical
from scheduler_daemon.cron.fields import Fields


def describe(fields: Fields | None) -> str:
    if fields is None:
        return "When the daemon starts"
    return canonical(fields)
