"""The kit for extension authors: a pytest plugin, installed with the package.

Nothing heavy is imported until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from scheduler_daemon.testing.values import Cue, Disposition, Outage, Play, Plays, Simulation

if TYPE_CHECKING:
    from scheduler_daemon.database.temporary import TemporaryServer
    from scheduler_daemon.extension import Extension
    from scheduler_daemon.jobplane.rehearsal import Rehearsed


class MakeDatabase(Protocol):
    def __call__(self, *migration_folders: Path, scheduler: bool = True) -> str:
        """The URL of a fresh database in which these folders' migrations are applied."""


@pytest.fixture(scope="session")
def _scheduler_server() -> Iterator[TemporaryServer]:
    from scheduler_daemon.database.temporary import TemporaryServer

    server = TemporaryServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def scheduler_postgres(_scheduler_server: TemporaryServer) -> str:
    """The URL of a PostgreSQL server that lives as long as this run of the tests (superuser, no TCP)."""
    return _scheduler_server.url


@pytest.fixture
def make_database(_scheduler_server: TemporaryServer) -> Iterator[MakeDatabase]:
    """A factory of fresh databases: `make_database(folder, …)`; dropped after the test."""
    from scheduler_daemon.database.temporary import scheduler_sets

    made: list[str] = []

    def make(*migration_folders: Path, scheduler: bool = True) -> str:
        made.append(_scheduler_server.make_database(*scheduler_sets(*migration_folders, scheduler=scheduler)))
        return made[-1]

    yield make
    for url in made:
        _scheduler_server.drop_database(url)


@pytest.fixture
def scheduler_database(make_database: MakeDatabase) -> str:
    """The URL of a fresh database with the daemon's schema `scheduler`."""
    return make_database()


class RunJob(Protocol):
    def __call__(
        self,
        extension: Extension,
        job: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        database_url: str | None = None,
        base_dir: Path | None = None,
    ) -> Rehearsed:
        """Run a job as a worker would, in this process: its result, steps, logs and progress.

        `config` is the extension's section. Call it from a plain test, not from an `async def`.
        """


@pytest.fixture
def run_job() -> RunJob:
    """`run_job(extension, "name", {"key": "value"})`; see RunJob."""
    from scheduler_daemon.jobplane.rehearsal import Stage, rehearse

    def run(
        extension: Extension, job: str, parameters: Mapping[str, Any] | None = None, **rest: Any
    ) -> Rehearsed:
        stage = Stage(**{key: value for key, value in rest.items() if value is not None})
        return rehearse(extension, job, parameters, stage)

    return run


def simulate(
    config: Path | str,
    start: datetime,
    end: datetime,
    *,
    outages: Sequence[Outage] = (),
    plays: Plays | None = None,
    extensions: Sequence[Extension] | None = None,
) -> Simulation:
    """What becomes of every instant in [start, end) under a configuration file: a year in seconds.

    A virtual clock drives the daemon's own configuration, cron engine, planning, dispatcher and claim rules;
    no job runs: `plays` says of jobs, by name, how long their runs take and how they end (at once, and well).
    With `extensions`, jobs of others are unavailable, sections and parameters are checked, and startup jobs
    run; without, every job is taken to be there. Times are aware.

    Raises ConfigurationError as a start of the daemon would, and ValueError for times that do not fit.
    Call it from a plain test, not from an `async def`.
    """
    from scheduler_daemon.testing.simulation import Scene, simulated

    scene = Scene(start=start, end=end, outages=outages, plays=plays or {})
    return simulated(Path(config), scene, extensions)


__all__ = [
    "Cue",
    "Disposition",
    "MakeDatabase",
    "Outage",
    "Play",
    "Plays",
    "RunJob",
    "Simulation",
    "simulate",
]
