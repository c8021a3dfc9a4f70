"""Maintenance that is safe on a database that matters: sessions, anonymous users, contexts, logs, tables."""

from __future__ import annotations

from pathlib import Path

from scheduler_core.sessions import CleanupInactiveSessions
from scheduler_daemon.extension import Extension

extension = Extension("core", migrations=Path(__file__).parent / "migrations")
extension.submit_job(CleanupInactiveSessions)

__all__ = ["extension"]
