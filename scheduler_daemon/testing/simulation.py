"""A virtual clock that drives the real configuration, cron engine, planning, dispatcher and claim rules.

Not real here: APScheduler (which only says when to look), PostgreSQL (memory.py) and workers (stage.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, cast

from scheduler_daemon.config import Binding, Loaded, bindings, load, section_problems
from scheduler_daemon.errors import ConfigurationError
from scheduler_daemon.extension import Extension
from scheduler_daemon.jobplane.discovery import Found, Registry
from scheduler_daemon.jobplane.discovery import load as load_extension
from scheduler_daemon.ledger.claims import Claims
from scheduler_daemon.model import Catalogue, JobInfo
from scheduler_daemon.runner.book import Book, PlannedJob, timetable
from scheduler_daemon.testing.driver import Driver, VirtualClock
from scheduler_daemon.testing.memory import MemoryLedger
from scheduler_daemon.testing.stage import Stage
from scheduler_daemon.testing.values import Outage, Plays, Simulation


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is simulated: [start, end), and what happens in it."""

    start: datetime
    end: datetime
    outages: Sequence[Outage] = ()
    plays: Plays = field(default_factory=dict)

    def __post_init__(self) -> None:
        edges = [self.start, *chain(*((one.start, one.end) for one in self.outages)), self.end]
        for moment in edges:
            if moment.tzinfo is None:
                raise ValueError(f"{moment} has no time zone: write datetime(…, tzinfo=UTC)")
        if edges != sorted(edges):
            raise ValueError("outages must follow each other, between start and end")


def simulated(config: Path, scene: Scene, extensions: Sequence[Extension] | None) -> Simulation:
    """Raises ConfigurationError as a start of the daemon would; RuntimeError inside a running event loop."""
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("simulate() needs a plain test function, not an `async def`")
    loaded = load(config)
    bound = taken_as_there(loaded) if extensions is None else _bindings(loaded, extensions)
    clock = VirtualClock(scene.start)
    book = book_of(loaded, bound, clock.now())
    ledger = MemoryLedger(clock, book.jobs.values())
    stage = Stage(clock, loaded.settings.workers.max, scene.plays)
    driver = Driver(clock, (cast(Claims, ledger), ledger), stage, book)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(driver.play(scene.end, scene.outages))
    finally:
        loop.close()
    return Simulation(dispositions=tuple(ledger.dispositions()))


def book_of(loaded: Loaded, bound: Iterable[Binding], start: datetime) -> Book:
    """Every job of the configuration, whichever node it names; what is due at `start` is still to come."""
    book = Book(scheduler_enabled=loaded.settings.scheduler_enabled)
    for one in bound:
        book.jobs[one.job.name] = PlannedJob(
            spec=one.job,
            table=timetable(one.job),
            watermark=start - timedelta(seconds=1),
            info=one.info,
            unavailable=one.reason,
        )
    return book


def taken_as_there(loaded: Loaded) -> list[Binding]:
    """Every job, as if its extension were installed."""
    return [
        Binding(job=spec, info=JobInfo(extension=spec.extension, name=spec.job))
        for spec in loaded.settings.jobs
    ]


def _bindings(loaded: Loaded, extensions: Sequence[Extension]) -> Sequence[Binding]:
    registry = Registry()
    for extension in extensions:
        registry.add(load_extension(_found(extension)))
    known: list[dict[str, Any]] = [
        {"name": spec.name, "extension": spec.extension, "job": spec.job, "parameters": spec.parameters}
        for spec in loaded.settings.jobs
    ]
    problems = section_problems(loaded, registry.problems(loaded.settings.extensions, known))
    if problems:
        raise ConfigurationError(problems)
    infos = tuple(one.info() for one in registry.extensions.values())
    return bindings(loaded.settings, Catalogue(extensions=infos))


def _found(extension: Extension) -> Found:
    return Found(name=extension.name, distribution="simulation", version="", load=lambda: extension)
