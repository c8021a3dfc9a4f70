"""One run of one job in this process, with the real context: `run_job` of `scheduler_daemon.testing`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scheduler_daemon.extension import Extension
from scheduler_daemon.jobplane.connections import Connections
from scheduler_daemon.jobplane.context import Surroundings
from scheduler_daemon.jobplane.discovery import Found, Registry, load
from scheduler_daemon.jobplane.journal import Journal
from scheduler_daemon.jobplane.run import RefusedError, Run
from scheduler_daemon.jobplane.tasks import RunTasks
from scheduler_daemon.jobplane.wire import Message
from scheduler_daemon.model import StepRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What a rehearsed run finds: `config` is the extension's section, `base_dir` where paths start."""

    config: Mapping[str, Any] = field(default_factory=dict)
    database_url: str | None = None
    base_dir: Path | None = None
    state_dir: Path | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsed:
    """How the run ended, as the daemon would have recorded it, and all that it said."""

    status: Literal["succeeded", "failed", "cancelled"]
    message: str | None
    error: str | None
    traceback: str | None
    items_processed: int | None
    items_failed: int | None
    steps: Sequence[StepRecord]
    logs: Sequence[Message]
    progress: Sequence[Message]

    @property
    def lines(self) -> list[str]:
        return [record["message"] for record in self.logs]


def rehearse(
    extension: Extension, job: str, parameters: Mapping[str, Any] | None = None, stage: Stage | None = None
) -> Rehearsed:
    """Run `job` as a worker would: parameters and section checked, steps and logs kept, errors caught.

    Raises LookupError where the extension registers no such job, with what is wrong with it, and
    RuntimeError inside a running event loop: the job gets one of its own.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("run_job() needs a plain test function, not an `async def`")
    stage = stage or Stage()
    loaded = load(Found(name=extension.name, distribution="rehearsal", version="", load=lambda: extension))
    if job not in loaded.jobs:
        raise LookupError("; ".join(loaded.faults) or f'"{extension.name}" registers no job "{job}"')
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        rehearsal = _Rehearsal(Path(folder), stage)
        rehearsal.registry.add(loaded)
        return rehearsal.run(extension.name, job, parameters or {})


class _Rehearsal:
    def __init__(self, folder: Path, stage: Stage) -> None:
        self.registry = Registry()
        self._stage = stage
        self._said: list[Message] = []
        self._journal = Journal(self._said.append, ())
        self._connections = Connections(stage.database_url)
        self._surroundings = Surroundings(
            base_dir=stage.base_dir or folder,
            state_dir=stage.state_dir or folder / "state",
            scratch=folder / "scratch",
            timezone=stage.timezone,
            connections=self._connections,
            resources=self.registry.resources,
        )

    def run(self, extension: str, job: str, parameters: Mapping[str, Any]) -> Rehearsed:
        run = Run(_message(extension, job, parameters))
        loop = asyncio.new_event_loop()
        try:
            sections = {extension: self._stage.config}
            run.prepare(self.registry, sections, self._surroundings, self._journal, self._said.append)
            self._journal.begin(run.id)
            outcome = run.execute(loop, RunTasks(loop))
            assert run.context is not None
            outcome["steps"] = run.context.steps.close()
            loop.run_until_complete(self._connections.close())
        except RefusedError as exc:
            outcome = run.refusal(str(exc))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        return self._result(outcome)

    def _result(self, outcome: Message) -> Rehearsed:
        told = ("status", "message", "error", "traceback", "items_processed", "items_failed")
        return Rehearsed(
            **{name: outcome[name] for name in told},
            steps=[StepRecord(**step) for step in outcome["steps"]],
            logs=[message for message in self._said if message["t"] == "log"],
            progress=[message for message in self._said if message["t"] == "progress"],
        )


def _message(extension: str, job: str, parameters: Mapping[str, Any]) -> Message:
    return {
        "t": "run",
        "id": "rehearsal",
        "name": job,
        "extension": extension,
        "job": job,
        "kind": "manual",
        "attempt": 1,
        "scheduled_for": None,
        "parameters": dict(parameters),
    }
