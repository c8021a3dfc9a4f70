"""Maintenance that is safe on a database that matters: sessions, anonymous users, contexts, logs, tables."""

from __future__ import annotations

from pathlib import Path

from scheduler_core.contexts import CleanupEmptyContexts
from scheduler_core.database import DatabaseCleanup
from scheduler_core.logs import LogCleanup
from scheduler_core.sessions import CleanupInactiveSessions
from scheduler_core.users import CleanupAnonymousUsers
from scheduler_daemon.extension import Extension

extension = Extension("core", migrations=Path(__file__).parent / "migrations")
for job in (
    CleanupAnonymousUsers,
    CleanupEmptyContexts,
    CleanupInactiveSessions,
    DatabaseCleanup,
    LogCleanup,
):
    extension.submit_job(job)

__all__ = ["extension"]
