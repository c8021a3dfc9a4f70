"""What ends a run: batches of starts, outcomes and log lines, each written in one statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from scheduler_daemon.database.gateway import Connection, Gateway
from scheduler_daemon.ledger.sql import as_plain_rows, as_rows, sql
from scheduler_daemon.ledger.values import NodeIdentity, Retry
from scheduler_daemon.model import LogRecord, Outcome, RunStatus, StepRecord


@dataclass(kw_only=True, slots=True)
class Start:
    run_id: str
    token: str
    at: float
    worker_pid: int
    worker_start: int


@dataclass(kw_only=True, slots=True)
class Ending:
    """An outcome with what proves that it is ours: the claim's token."""

    outcome: Outcome
    token: str
    worker_pid: int | None = None
    worker_start: int | None = None
    logs_dropped: int = 0
    retry: Retry | None = None


@dataclass(kw_only=True, slots=True)
class Batch:
    """In the order in which it must be written: starts, endings, logs."""

    starts: list[Start] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    logs: list[LogRecord] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.starts or self.endings or self.logs)


class Outcomes:
    def __init__(self, gateway: Gateway, node: NodeIdentity) -> None:
        self._gateway = gateway
        self._node = node

    async def write(self, batch: Batch) -> None:
        """One transaction. An outcome that comes after a verdict of `lost` is kept as its late outcome, which
        may be a second transaction.
        """
        ended = {ending.outcome.run_id for ending in batch.endings}
        starts = [start for start in batch.starts if start.run_id not in ended]
        async with self._gateway.connection() as connection:
            async with connection.pipeline():
                recorded = connection.cursor()
                if starts:
                    await connection.execute(
                        sql("record_started"), {"rows": as_plain_rows(map(_start, starts))}
                    )
                if batch.endings:
                    await recorded.execute(
                        sql("record_outcomes"), {"rows": as_plain_rows(map(_ending_row, batch.endings))}
                    )
                if batch.logs:
                    await connection.execute(
                        sql("insert_logs"),
                        {"node": self._node.id, "rows": as_plain_rows(map(_log_row, batch.logs))},
                    )
                if not any(ending.retry for ending in batch.endings):
                    await connection.commit()
            done = batch.endings
            if done and recorded.rowcount < len(done):
                there = {str(row[0]) for row in await recorded.fetchall()}
                done = [e for e in batch.endings if e.outcome.run_id in there]
                await _keep_late(connection, [e for e in batch.endings if e.outcome.run_id not in there])
            await insert_retries(connection, [e.retry for e in done if e.retry], self._node)

    async def prune_logs(self, before: datetime, *, batch: int) -> int:
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("prune_logs"), {"before": before, "batch": batch})
            return cursor.rowcount

    async def end_sql_of(self, run_id: str) -> int:
        """End what a run still does on the server: its connections carry its name."""
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("terminate_backends"), {"name": f"run:{run_id}"})
            return cursor.rowcount


async def insert_retries(connection: Connection, retries: Sequence[Retry], node: NodeIdentity) -> None:
    """In the transaction that ends the runs before them."""
    if retries:
        rows = as_rows(asdict(retry) for retry in retries)
        await connection.execute(sql("insert_retries"), {"node": node.id, "boot": node.boot_id, "rows": rows})


async def _keep_late(connection: Connection, late: Sequence[Ending]) -> None:
    if late:
        rows = ({"id": e.outcome.run_id, "token": e.token, "outcome": asdict(e.outcome)} for e in late)
        await connection.execute(sql("record_late_outcomes"), {"rows": as_rows(rows)})


def _start(start: Start) -> dict[str, Any]:
    return {
        "id": start.run_id,
        "token": start.token,
        "started_at": start.at,
        "pid": start.worker_pid,
        "start": start.worker_start,
    }


def _ending_row(ending: Ending) -> dict[str, Any]:
    """What is rare is left out: most runs succeed without a word."""
    outcome = ending.outcome
    row = {
        "id": outcome.run_id,
        "token": ending.token,
        "status": outcome.status,
        "finished_at": outcome.finished_at,
        **_given(
            ("started_at", outcome.started_at),
            ("pid", ending.worker_pid),
            ("start", ending.worker_start),
            ("reason", outcome.reason),
            ("processed", outcome.items_processed),
            ("failed", outcome.items_failed),
            ("message", outcome.message),
            ("error", outcome.error),
            ("traceback", outcome.traceback),
            ("logs_dropped", ending.logs_dropped or None),
        ),
    }
    if outcome.steps:
        row["steps"] = [asdict(step) for step in outcome.steps]
    return row


def _log_row(record: LogRecord) -> dict[str, Any]:
    return {
        "at": record.timestamp,
        "level": record.level,
        "module": record.module,
        "message": record.message,
        **_given(("run_id", record.run_id), ("job", record.job), ("fields", record.fields or None)),
    }


def _given(*parts: tuple[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts if value is not None}


def batch_to_json(batch: Batch) -> str:
    """One line of the spool."""
    return json.dumps(
        {
            "starts": [asdict(s) for s in batch.starts],
            "endings": [asdict(e) for e in batch.endings],
            "logs": [asdict(r) for r in batch.logs],
        },
        default=str,
    )


def batch_from_json(line: str) -> Batch:
    """Raises ValueError or KeyError for a line that is not whole."""
    data: Mapping[str, Any] = json.loads(line)
    return Batch(
        starts=[Start(**s) for s in data["starts"]],
        endings=[_ending(e) for e in data["endings"]],
        logs=[LogRecord(**r) for r in data["logs"]],
    )


def _ending(data: dict[str, Any]) -> Ending:
    outcome = dict(data.pop("outcome"))
    outcome["status"] = RunStatus(outcome["status"])
    outcome["steps"] = tuple(StepRecord(**s) for s in outcome["steps"])
    retry = data.pop("retry", None)
    return Ending(outcome=Outcome(**outcome), retry=Retry(**retry) if retry else None, **data)
