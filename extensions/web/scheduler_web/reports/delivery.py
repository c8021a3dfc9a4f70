"""Each report once: who may send it is settled in the database before anything is sent.

A report is claimed (`sending`) and committed first, then sent, then settled. A crash in between leaves
`sending`, which nobody sends again: it may have arrived. So no crash makes a second message, and the one that
can be lost is the one whose run died in the moments of sending it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from scheduler_web.analytics.statements import Statements
from scheduler_web.reports.discord import DiscordError

PACKAGE = "scheduler_web.reports"


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """What is sent at most once. `until`: the time that the message tells of; `planned`: by the schedule.

    A planned message is not taken for sent because somebody sent an earlier one of the same period by hand.
    """

    report: str
    day: date
    period: str
    until: datetime
    planned: bool = False

    @property
    def values(self) -> dict[str, Any]:
        return {"report": self.report, "day": self.day, "period": self.period}


def store(connection: Connection[Any], slot: Slot, data: Mapping[str, Any]) -> None:
    """Keep the report's numbers; whether it was sent stays as it is. Commits."""
    statements = Statements(PACKAGE, connection)
    if slot.report == "traffic":
        statements.run("put_traffic", day=slot.day, period=slot.period, data=Jsonb(data))
    kept = {} if slot.report == "traffic" else data
    statements.run("put_report", data=Jsonb(kept), **slot.values)
    connection.commit()


def deliver(
    connection: Connection[Any], slot: Slot, run_id: str, send: Callable[[], str], *, again: bool = False
) -> str:
    """Send it if it is ours to send; returns what became of it, in words.

    Raises DiscordError when it could not be sent; whether it may be tried again is settled by then.
    """
    statements = Statements(PACKAGE, connection)
    claimed = statements.one(
        "claim", run=run_id, again=again, until=slot.until, planned=slot.planned, **slot.values
    )
    connection.commit()
    if claimed is None:
        return _why_not(statements, slot)
    try:
        message = send()
    except DiscordError as exc:
        _settle(connection, slot, run_id, "uncertain" if exc.uncertain else "failed", None)
        raise
    _settle(connection, slot, run_id, "sent", message)
    return "sent"


def _settle(connection: Connection[Any], slot: Slot, run_id: str, delivery: str, message: str | None) -> None:
    Statements(PACKAGE, connection).run(
        "settle", delivery=delivery, message=message, run=run_id, **slot.values
    )
    connection.commit()


def _why_not(statements: Statements, slot: Slot) -> str:
    delivery, at, run = statements.one("delivery", **slot.values)
    if delivery == "sent":
        return f"not sent again: it was sent at {at:%H:%M} UTC by run {run}"
    how = "ended while sending it" if delivery == "sending" else "got no answer from Discord"
    return f"not sent again: run {run} {how}, so it may have arrived (-p resend=true sends it)"
