"""What is doubtful about a schedule."""

from __future__ import annotations

from datetime import datetime, tzinfo

from scheduler_daemon.cron.expression import CronExpression
from scheduler_daemon.model import DstPolicy


def lint(expression: CronExpression, zone: tzinfo, dst: DstPolicy, now: datetime) -> tuple[str, ...]:
    """Warnings about `expression` as a schedule in `zone`, looking 12 months ahead from `now`."""
    return ("never fires",) if expression.never else ()
