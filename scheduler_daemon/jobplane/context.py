"""The JobContext that a run is handed, and its steps."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from scheduler_daemon.extension import Logger
from scheduler_daemon.jobplane.text import clean, describe

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import AsyncConnectionPool

    from scheduler_daemon.jobplane.connections import Connections

STEP_LIMIT = 1_000
_NAME_LIMIT = 200
_NOTE_LIMIT = 500
_MOST = 2**63 - 1

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a run is given by its process: where it may write, whom it may ask."""

    base_dir: Path
    state_dir: Path
    scratch: Path
    timezone: str
    connections: Connections
    resources: Callable[[str], Sequence[tuple[str, Path]]]


class Steps:
    """The steps of one run, in order of their start."""

    def __init__(self, run_id: str, report: Report) -> None:
        self._run_id = run_id
        self._report = report
        self._records: list[dict[str, Any]] = []
        self.left_out = 0

    def begin(self, name: str) -> dict[str, Any] | None:
        if len(self._records) >= STEP_LIMIT:
            self.left_out += 1
            return None
        record = {"name": clean(name, _NAME_LIMIT), "status": "running", "duration_s": 0.0, "error": None}
        self._records.append(record)
        self._say(record)
        return record

    def end(self, record: dict[str, Any] | None, duration_s: float, error: str | None) -> None:
        if record is None:
            return
        record.update(status="failed" if error else "succeeded", duration_s=duration_s, error=error)
        self._say(record)

    def close(self) -> list[dict[str, Any]]:
        """All of them, none running any more."""
        for record in self._records:
            if record["status"] == "running":
                record.update(status="failed", error="it had not ended when the run did")
        return self._records

    def _say(self, record: dict[str, Any]) -> None:
        self._report({"t": "step", "id": self._run_id, **record})


class StepScope(AbstractContextManager["StepScope"]):
    """`ctx.step(...)`."""

    def __init__(self, steps: Steps, name: str, continue_on_error: bool, logger: Logger) -> None:
        self.name = name
        self.failed = False
        self.error: str | None = None
        self._steps = steps
        self._continue = continue_on_error
        self._logger = logger
        self._started = 0.0
        self._record: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._record = self._steps.begin(self.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if exc is not None:
            self.failed = True
            self.error = describe(exc)
        self._steps.end(self._record, time.monotonic() - self._started, self.error)
        swallow = self._continue and isinstance(exc, Exception) and not isinstance(exc, MemoryError)
        if swallow:
            self._logger.exception(f"step {self.name} failed: {self.error}", step=self.name)
        return swallow

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *exc: Any) -> bool:
        return self.__exit__(*exc)


@dataclass(kw_only=True)
class Context:
    """Implements `extension.JobContext`."""

    run_id: str
    job_name: str
    extension: str
    kind: str
    attempt: int
    scheduled_for: datetime | None
    parameters: Any
    config: Any
    logger: Logger
    surroundings: Surroundings
    report: Report

    def __post_init__(self) -> None:
        self.timezone = self.surroundings.timezone
        self.base_dir = self.surroundings.base_dir
        self.steps = Steps(self.run_id, self.report)
        self._scratch: Path | None = None
        self._cancelled = False
        self.noticed = False

    @property
    def state_dir(self) -> Path:
        folder = self.surroundings.state_dir / "extensions" / self.extension
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    @property
    def temporary_directory(self) -> Path:
        if self._scratch is None:
            self._scratch = self.surroundings.scratch / self.run_id
            self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._scratch

    @property
    def cancelled(self) -> bool:
        self.noticed = self.noticed or self._cancelled
        return self._cancelled

    def db_pool(self) -> AsyncConnectionPool[Any]:
        return self.surroundings.connections.pool()

    def sync_db(self) -> AbstractContextManager[Connection[Any]]:
        return self.surroundings.connections.sync()

    def step(self, name: str, *, continue_on_error: bool = False) -> StepScope:
        return StepScope(self.steps, name, continue_on_error, self.logger)

    def progress(self, done: int, total: int | None = None, note: str = "") -> None:
        self.report(
            {
                "t": "progress",
                "id": self.run_id,
                "done": _bounded(done),
                "total": None if total is None else _bounded(total),
                "note": clean(note, _NOTE_LIMIT),
            }
        )

    def resources(self, kind: str) -> Sequence[tuple[str, Path]]:
        return self.surroundings.resources(kind)

    def cancel(self) -> None:
        self._cancelled = True

    def clear(self) -> str | None:
        """Remove the temporary directory; say what could not be removed."""
        if self._scratch is None or not self._scratch.exists():
            return None
        left: list[str] = []
        shutil.rmtree(self._scratch, onerror=lambda _, path, error: left.append(f"{path}: {error[1]}"))
        with contextlib.suppress(OSError):
            self._scratch.parent.rmdir()
        return left[0] if left else None


def _bounded(number: int) -> int:
    return max(-_MOST, min(_MOST, int(number)))


def scheduled_instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
