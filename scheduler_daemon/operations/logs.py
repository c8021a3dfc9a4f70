"""What an operator does with logs besides reading what jobs and the daemon wrote."""

from __future__ import annotations

from datetime import timedelta

from scheduler_daemon.ledger.applog import AppLog
from scheduler_daemon.ledger.history import Actor, LogFilter
from scheduler_daemon.operations.house import House
from scheduler_daemon.operations.values import AppLogView, PrunedLogs


class LogOperations:
    def __init__(self, house: House) -> None:
        self._house = house

    async def of_the_application(self, wanted: LogFilter) -> list[AppLogView]:
        """Oldest first, the newest `limit` of them. Raises NoAppLogError."""
        rows = await AppLog(self._house.gateway).lines(wanted)
        return [AppLogView(**row) for row in reversed(rows)]

    async def prune(self, days: int | None, actor: Actor, *, dry_run: bool) -> PrunedLogs:
        """The daemon's own lines that are older than that [logs.keep], now instead of at the next round."""
        house = self._house
        keep = house.guardian.history.keep_logs if days is None else timedelta(days=days)
        before = house.clock.now() - keep
        if dry_run:
            return PrunedLogs(before=before, lines=await house.history.count_logs(before), dry_run=True)
        lines = await house.guardian.prune_logs(before)
        change = {"before": before.isoformat(timespec="seconds"), "lines": lines}
        await house.history.record_action(actor, "prune logs", None, (None, change))
        return PrunedLogs(before=before, lines=lines, dry_run=False)
