"""Quiet hours. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler_daemon.reporting import QuietHours


def quiet_until(hours: QuietHours | None, moment: datetime) -> datetime | None:
    """When the quiet hours that hold at `moment` (aware) end; None: they do not hold.

    By the clock on the wall: where it jumps, quiet hours are shorter or longer.
    """
    if hours is None:
        return None
    zone = ZoneInfo(hours.zone)
    local = moment.astimezone(zone)
    now = local.time().replace(tzinfo=None)
    if hours.start < hours.end:
        quiet = hours.start <= now < hours.end
        ends_on = local.date()
    else:
        quiet = now >= hours.start or now < hours.end
        ends_on = local.date() + timedelta(days=now >= hours.start)
    if not quiet:
        return None
    end = datetime.combine(ends_on, hours.end, zone).astimezone(UTC)
    return end if end > moment else moment.astimezone(UTC) + timedelta(minutes=1)
