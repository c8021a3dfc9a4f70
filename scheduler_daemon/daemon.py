"""The composition root: build, start, wait, stop in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any
from uuid import uuid4

import structlog

from scheduler_daemon import __version__, systemd
from scheduler_daemon.clock import Clock
from scheduler_daemon.config import Loaded
from scheduler_daemon.control.exposition import Exposition
from scheduler_daemon.control.server import ControlServer
from scheduler_daemon.database.embedded import EmbeddedServer
from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.database.migrations import SCHEDULER, apply
from scheduler_daemon.database.pools import connect_with_retry, describe
from scheduler_daemon.database.roles import ensure_job_role
from scheduler_daemon.engine import ClockWatch, Engine
from scheduler_daemon.errors import SchedulerError
from scheduler_daemon.ledger.claims import Claims
from scheduler_daemon.ledger.history import Actor, History
from scheduler_daemon.ledger.outcomes import Outcomes
from scheduler_daemon.ledger.plans import Plans
from scheduler_daemon.ledger.presence import Presence
from scheduler_daemon.ledger.values import NodeIdentity
from scheduler_daemon.logs import LedgerTap
from scheduler_daemon.model import JobSpec, Settings
from scheduler_daemon.operations import House, Operations
from scheduler_daemon.operations.lookout import JournalLines, Lookout
from scheduler_daemon.operations.pulse import Pulse
from scheduler_daemon.preparation import Preparation, job_plane
from scheduler_daemon.runner.book import Book
from scheduler_daemon.runner.dispatcher import Dispatcher
from scheduler_daemon.runner.guardian import Books, Guardian
from scheduler_daemon.runner.plane import JobPlane
from scheduler_daemon.runner.pool import Pool
from scheduler_daemon.runner.readiness import BEGINNING
from scheduler_daemon.runner.recorder import Recorder
from scheduler_daemon.runner.rollover import Edition, Rollover
from scheduler_daemon.runner.runner import Runner
from scheduler_daemon.runner.spool import Spool
from scheduler_daemon.runner.startup import StartupRuns
from scheduler_daemon.state import StateDirectory, machine_id
from scheduler_daemon.tasks import end

DATABASE_PATIENCE = timedelta(seconds=60)
LAST_WORD_S = 5.0
STOP_MARGIN = timedelta(seconds=45)
DATABASE_RESTART_S = (0.1, 1.0, 5.0)
log = structlog.get_logger(__name__)
Announce = Callable[[House], None]


class Daemon:
    """One run of the daemon on one configuration. `announce` is called once everything is up."""

    def __init__(self, loaded: Loaded, *, tap: LedgerTap, announce: Announce) -> None:
        self._loaded = loaded
        self._tap = tap
        self._announce = announce
        self._clock = Clock()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._exits = contextlib.AsyncExitStack()
        self._started = asyncio.Event()
        self._house: House
        self._watchdog: systemd.Watchdog
        self._terminals = [fd for fd in (0, 1, 2) if os.isatty(fd)]

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises SchedulerError where it cannot start."""
        self._take_signals()
        async with self._exits:
            operations = await self._unless_stopped(self._build())
            if operations is not None:
                await self._start(operations)
                log.debug("running")
                await self._stop.wait()
            systemd.notify(stopping=True)
            log.info("stopping")
        log.info("stopped")

    async def _unless_stopped(self, building: Coroutine[Any, Any, Operations]) -> Operations | None:
        """Building may wait long, as for a database that does not answer: a stop ends that. None: it did."""
        work, stopped = asyncio.create_task(building), asyncio.create_task(self._stop.wait())
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.is_set():
            await end([stopped])
            return await work
        await end([work])
        return None

    async def _build(self) -> Operations:
        """Everything there is, from the bottom up; nothing of it decides or runs anything yet."""
        settings = self._loaded.settings
        state = StateDirectory(settings.state_dir)
        state.prepare()
        state.lock()
        self._exits.callback(state.release)
        node = _identity(state)
        url, jobs_url = await self._open_database(settings)
        await apply(url, [SCHEDULER], log=log.info)
        if settings.database_url is None:
            await ensure_job_role(url)
        plane = job_plane(settings)
        self._exits.push_async_callback(plane.stop, 0)
        gateway = Gateway(url, log=log.warning)
        await gateway.open()
        self._exits.push_async_callback(gateway.close)
        learn = self._tap.redactor.learn
        preparation = Preparation(plane, url=url, jobs_url=jobs_url, learn=learn)
        edition = await preparation.first(self._loaded)
        house = self._furnish(gateway, plane, node, edition)
        house.database, house.jobs_database_url = describe(url), jobs_url
        house.prepare = preparation.another
        self._house = house
        return Operations(house)

    async def _open_database(self, settings: Settings) -> tuple[str, str]:
        """The daemon's URL and the jobs': of the embedded server, or of the one that the settings name."""
        if settings.database_url is None:
            server = EmbeddedServer(settings.state_dir, log=log.info)
            self._exits.push_async_callback(server.stop)
            await server.start()
            keeper = asyncio.create_task(_keep_running(server), name="database-keeper")
            self._exits.push_async_callback(_cancel, keeper)
            return server.url, server.jobs_url
        connection = await connect_with_retry(settings.database_url, log.warning, DATABASE_PATIENCE)
        await connection.close()
        return settings.database_url, settings.database_url

    def _furnish(self, gateway: Gateway, plane: JobPlane, node: NodeIdentity, edition: Edition) -> House:
        settings, clock = self._loaded.settings, self._clock
        scope = str(node.id)
        claims = Claims(gateway, node, offset=clock.offset)
        presence = Presence(gateway, node, offset=clock.offset)
        history = History(gateway, node.id)

        def scope_of(spec: JobSpec) -> str:
            return scope if spec.nodes == "every" else ""

        plans = Plans(gateway, node.id, scope_of)
        outcomes = Outcomes(gateway, node)
        recorder = Recorder(outcomes, Spool(settings.state_dir / "spool.jsonl"))
        runner = Runner(recorder=recorder, outcomes=outcomes, presence=presence)
        claims.over = runner.over
        pool = Pool(plane, settings.workers, runner)
        runner.wire(pool, Dispatcher(claims=claims, book=Book(), pool=pool, clock=clock, scope=scope))
        books = Books(presence=presence, history=history, outcomes=outcomes)
        return House(
            clock=clock,
            node=node,
            gateway=gateway,
            presence=presence,
            history=history,
            plans=plans,
            runner=runner,
            guardian=Guardian(
                books=books, runner=runner, node=node, clock=clock, state_dir=settings.state_dir
            ),
            rollover=Rollover(plans, claims, node=(node.name, scope)),
            engine=Engine(clock, runner.dispatcher.due),
            plane=plane,
            loaded=self._loaded,
            edition=edition,
            started_at=clock.now(),
            started_with=settings,
        )

    async def _start(self, operations: Operations) -> None:
        """From here on things happen: what was left behind is resolved before anything is scheduled."""
        house, settings = self._house, self._loaded.settings
        runner, dispatcher = house.runner, house.runner.dispatcher
        self._exits.push_async_callback(_quietly, house.presence.stop)
        await runner.recorder.replay()
        await runner.recorder.start()
        self._exits.push_async_callback(runner.recorder.stop)
        self._tap.sink = runner.recorder.logged
        lookout = await self._look_out(house)
        await self._settle_accounts(operations)
        await runner.pool.start()
        self._exits.push_async_callback(self._stop_runs)
        await house.guardian.resolve_own()
        self._survive_outages()
        server = ControlServer(operations, settings.control)
        exposition = Exposition(operations, settings.metrics.listen)
        for part in (server, exposition):
            await part.start()
            self._exits.push_async_callback(part.stop)
        self._exits.callback(runner.streams.end)
        if self._stop.is_set():
            return
        _settle_memory()
        startup = StartupRuns(house.edition.bindings, dispatcher, runner)
        await startup.hand_out(house.clock.now())
        await self._start_loops(dispatcher)
        await lookout.watch()
        systemd.notify(status=f"running {len(startup)} startup jobs", extend=settings.startup_timeout)
        await startup.ended(settings.startup_timeout, self._stop)
        if not self._stop.is_set():
            house.ready = True
            systemd.notify(ready=True)
            self._watchdog.look()
            self._announce(house)

    async def _look_out(self, house: House) -> Lookout:
        """Those outside hear of everything from here on, also of what an earlier daemon left behind."""
        house.runner.redactor = self._tap.redactor
        house.runner.watchers.append(house.tally)
        if self._tap.journald is not None:
            house.runner.watchers.append(JournalLines(self._tap.journald))
        lookout = Lookout(house, self._tap)
        await lookout.start()
        self._exits.push_async_callback(lookout.stop)
        house.notifier = lookout.notifier
        return lookout

    async def _start_loops(self, dispatcher: Dispatcher) -> None:
        house = self._house
        watch = ClockWatch(house.clock, lambda since: dispatcher.readiness.ended(since, "suspended"))
        dispatcher.before_turn = watch.check
        pulse = Pulse(house, limit_s=(systemd.watchdog_limit() or 60.0) / 2)
        self._watchdog = systemd.Watchdog(pulse.stalled, pulse.status)
        for part in (house.guardian, watch, dispatcher, house.engine, self._watchdog):
            await part.start()
            self._exits.push_async_callback(part.stop)
        dispatcher.due(house.book.jobs)
        self._started.set()

    async def _settle_accounts(self, operations: Operations) -> None:
        """This daemon's own row, what was missed while none ran, and the configuration put in force."""
        house = self._house
        dispatcher, revision = house.runner.dispatcher, house.edition.settings.revision
        now = house.clock.now()
        house.guardian.nodes = await house.presence.nodes()
        if await house.presence.restored():
            why = "this database was restored or copied: nothing runs until `scheduler-daemon accept`"
            dispatcher.readiness.hold_for("restored", why, since=BEGINNING)
        else:
            dispatcher.readiness.began(now, alone=not house.guardian.others_alive(now))
        await house.presence.register(revision)
        await operations.scheduler.put_in_force(self._loaded, house.edition)
        own = next((node for node in house.guardian.nodes if node.id == house.node.id), None)
        await operations.scheduler.note_start(own)
        dispatcher.on_outage = operations.scheduler.note_outage

    def _survive_outages(self) -> None:
        house = self._house
        dispatcher = house.runner.dispatcher

        async def back(since: Any) -> None:
            await house.runner.recorder.replay()
            await house.guardian.recover()
            dispatcher.readiness.release("database_down")
            dispatcher.waiting.look_at_all()

        def away(since: Any) -> None:
            why = f"database away since {since:%H:%M:%S} UTC"
            dispatcher.readiness.hold_for("database_down", why, since=since)

        house.gateway.on_away, house.gateway.on_back = away, back

    async def _stop_runs(self) -> None:
        grace, pool = self._house.edition.settings.shutdown_grace, self._house.runner.pool
        longest = max((order.spec.kill_after for order in pool.running), default=timedelta(0))
        systemd.notify(extend=grace + longest + STOP_MARGIN)
        await pool.stop(grace.total_seconds(), self._hurry)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    def _asked_to_stop(self) -> None:
        """A second signal hurries."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _hung_up(self) -> None:
        """Asked to reload; or the terminal that it was started on is gone, which says so in the same way."""
        if self._terminals and not any(map(os.isatty, self._terminals)):
            self._asked_to_stop()
            return
        task = asyncio.create_task(self._reload())
        self._exits.push_async_callback(_cancel, task)

    async def _reload(self) -> None:
        actor = Actor(uid=os.getuid(), user_name="SIGHUP", pid=os.getpid())
        await self._started.wait()
        try:
            await Operations(self._house).scheduler.reload(actor)
        except SchedulerError as error:
            log.error("reload refused; nothing has changed", why=str(error))
        except Exception:
            log.exception("reload failed; nothing has changed")


def _identity(state: StateDirectory) -> NodeIdentity:
    return NodeIdentity(
        id=state.node_id(),
        boot_id=uuid4(),
        name=socket.gethostname(),
        machine_id=machine_id(),
        pid=os.getpid(),
        version=__version__,
    )


async def _keep_running(server: EmbeddedServer) -> None:
    """The embedded server is restarted if it dies."""
    tries = 0
    while True:
        cause = await server.wait_exit()
        log.error("the embedded PostgreSQL ended; it is started again", cause=cause)
        await asyncio.sleep(DATABASE_RESTART_S[min(tries, len(DATABASE_RESTART_S) - 1)])
        tries += 1
        try:
            await server.start()
            tries = 0
        except SchedulerError as error:
            log.error("the embedded PostgreSQL does not start", why=str(error))


def _settle_memory() -> None:
    """What a start made stays: the collector would stop everything each time to look through it."""
    gc.collect()
    gc.freeze()


async def _cancel(task: asyncio.Task[Any]) -> None:
    await end([task])


async def _quietly(work: Callable[[], Awaitable[None]]) -> None:
    """At the stop: a database that is away is no news any more, nor is one that gives no answer."""
    with contextlib.suppress(SchedulerError, TimeoutError):
        async with asyncio.timeout(LAST_WORD_S):
            await work()
