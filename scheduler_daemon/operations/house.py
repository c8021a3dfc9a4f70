"""Everything that a running daemon consists of, for those who operate it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from scheduler_daemon.clock import Clock
from scheduler_daemon.config import Loaded
from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.engine import Engine
from scheduler_daemon.ledger.history import History
from scheduler_daemon.ledger.plans import Plans
from scheduler_daemon.ledger.presence import Presence
from scheduler_daemon.ledger.values import NodeIdentity
from scheduler_daemon.model import Settings
from scheduler_daemon.notify.notifier import Notifier
from scheduler_daemon.operations.tally import Tally
from scheduler_daemon.runner.book import Book
from scheduler_daemon.runner.guardian import Guardian
from scheduler_daemon.runner.plane import JobPlane
from scheduler_daemon.runner.rollover import Edition, Rollover
from scheduler_daemon.runner.runner import Runner


@dataclass(kw_only=True)
class House:
    """Made by `daemon`; operations read it and act through it.

    `prepare(loaded)` brings up a job plane for a configuration and returns its edition, or raises
    ConfigurationError; `jobs_database_url` is what jobs connect to.
    """

    clock: Clock
    node: NodeIdentity
    gateway: Gateway
    presence: Presence
    history: History
    plans: Plans
    runner: Runner
    guardian: Guardian
    rollover: Rollover
    engine: Engine
    plane: JobPlane
    loaded: Loaded
    edition: Edition
    started_at: datetime
    started_with: Settings
    database: str = field(init=False)
    jobs_database_url: str = field(init=False)
    prepare: Callable[[Loaded], Awaitable[Edition]] = field(init=False)
    notifier: Notifier | None = None
    tally: Tally = field(default_factory=Tally)
    ready: bool = False
    turning: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def book(self) -> Book:
        return self.runner.dispatcher.book
