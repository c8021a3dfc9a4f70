"""What ends a run: batches of starts, outcomes and log lines, each written in one statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from scheduler_daemon.database.gateway import Connection, Gateway
from scheduler_daemon.ledger.sql import sql
from scheduler_daemon.ledger.values import NodeIdentity, Retry
from scheduler_daemon.model import LogRecord, Outcome, RunStatus, StepRecord

T = TypeVar("T", str, str | None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    run_id: str
    token: str
    at: float
    worker_pid: int
    worker_start: int


@dataclass(frozen=True, kw_only=True, slots=True)
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
        """One transaction. An outcome that comes after a verdict of `lost` is kept as its late outcome."""
        ended = {ending.outcome.run_id for ending in batch.endings}
        starts = [start for start in batch.starts if start.run_id not in ended]
        async with self._gateway.connection() as connection:
            async with connection.pipeline():
                recorded = connection.cursor()
                if starts:
                    await connection.execute(sql("record_started"), _start_columns(starts))
                if batch.endings:
                    await recorded.execute(sql("record_outcomes"), _ending_columns(batch.endings))
                if batch.logs:
                    await connection.execute(sql("insert_logs"), self._log_columns(batch.logs))
            if batch.endings:
                done = {row[0] for row in await recorded.fetchall()}
                await _keep_late(connection, [e for e in batch.endings if UUID(e.outcome.run_id) not in done])
                retries = [e.retry for e in batch.endings if e.retry and UUID(e.outcome.run_id) in done]
                await insert_retries(connection, retries, self._node)

    async def prune_logs(self, before: datetime, *, batch: int) -> int:
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("prune_logs"), {"before": before, "batch": batch})
            return cursor.rowcount

    async def end_sql_of(self, run_id: str) -> int:
        """End what a run still does on the server: its connections carry its name."""
        async with self._gateway.connection() as connection:
            cursor = await connection.execute(sql("terminate_backends"), {"name": f"run:{run_id}"})
            return cursor.rowcount

    def _log_columns(self, logs: Sequence[LogRecord]) -> dict[str, Any]:
        return {
            "node": self._node.id,
            "at": [_moment(r.timestamp) for r in logs],
            "level": [r.level for r in logs],
            "module": [_clean(r.module) for r in logs],
            "message": [_clean(r.message) for r in logs],
            "run_id": [r.run_id and UUID(r.run_id) for r in logs],
            "job": [r.job for r in logs],
            "fields": [_json(r.fields) if r.fields else None for r in logs],
        }


async def insert_retries(connection: Connection, retries: Sequence[Retry], node: NodeIdentity) -> None:
    """In the transaction that ends the runs before them."""
    if retries:
        await connection.execute(
            sql("insert_retries"),
            {
                "node": node.id,
                "boot": node.boot_id,
                "id": [UUID(r.id) for r in retries],
                "of": [UUID(r.of) for r in retries],
                "job": [r.job for r in retries],
                "scope": [r.scope for r in retries],
                "not_before": [_moment(r.not_before) for r in retries],
                "concurrency": [r.concurrency for r in retries],
                "attempt": [r.attempt for r in retries],
                "first_run": [UUID(r.first_run) for r in retries],
            },
        )


async def _keep_late(connection: Connection, late: Sequence[Ending]) -> None:
    if late:
        await connection.execute(
            sql("record_late_outcomes"),
            {
                "id": [UUID(e.outcome.run_id) for e in late],
                "token": [UUID(e.token) for e in late],
                "outcome": [_json(asdict(e.outcome)) for e in late],
            },
        )


def _start_columns(starts: Sequence[Start]) -> dict[str, Any]:
    return {
        "id": [UUID(s.run_id) for s in starts],
        "token": [UUID(s.token) for s in starts],
        "started_at": [_moment(s.at) for s in starts],
        "pid": [s.worker_pid for s in starts],
        "start": [s.worker_start for s in starts],
    }


def _ending_columns(endings: Sequence[Ending]) -> dict[str, Any]:
    outcomes = [e.outcome for e in endings]
    return {
        "id": [UUID(o.run_id) for o in outcomes],
        "token": [UUID(e.token) for e in endings],
        "status": [o.status.value for o in outcomes],
        "reason": [o.reason for o in outcomes],
        "started_at": [None if o.started_at is None else _moment(o.started_at) for o in outcomes],
        "finished_at": [_moment(o.finished_at) for o in outcomes],
        "processed": [o.items_processed for o in outcomes],
        "failed": [o.items_failed for o in outcomes],
        "message": [_clean(o.message) for o in outcomes],
        "error": [_clean(o.error) for o in outcomes],
        "traceback": [_clean(o.traceback) for o in outcomes],
        "steps": [_json([asdict(s) for s in o.steps]) if o.steps else None for o in outcomes],
        "logs_dropped": [e.logs_dropped or None for e in endings],
        "pid": [e.worker_pid for e in endings],
        "start": [e.worker_start for e in endings],
    }


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def _clean(text: T) -> T:
    """PostgreSQL's text holds no NUL, and UTF-8 no lone surrogate."""
    if text is None:
        return text
    return text.replace("\0", "␀").encode("utf-8", "replace").decode()


def _json(value: Any) -> str:
    return json.dumps(value, default=str).replace("\\u0000", "␀")


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
