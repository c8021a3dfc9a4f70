"""Looks after what time does: signs of life, dead nodes, expired overrides, old history, the disk."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog

from scheduler_daemon.clock import Clock
from scheduler_daemon.errors import DatabaseUnavailableError
from scheduler_daemon.ledger.history import History
from scheduler_daemon.ledger.outcomes import Outcomes
from scheduler_daemon.ledger.presence import Node, Presence, Verdict
from scheduler_daemon.ledger.values import NodeIdentity, StoredRun
from scheduler_daemon.model import HistorySettings, RunStatus
from scheduler_daemon.runner.retries import retry_of_stored
from scheduler_daemon.runner.runner import Runner
from scheduler_daemon.tasks import end

HEARTBEAT_S = 5.0
SILENCE = timedelta(seconds=30)
MAX_SKEW = timedelta(seconds=5)
SLOW_ANSWER = timedelta(seconds=1)
PRUNE_EVERY_S = 600.0
PRUNE_BATCH = 500
PAUSE_S = 0.05
DISK_LOW_BYTES = 500_000_000
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Books:
    """What the guardian reads and writes."""

    presence: Presence
    history: History
    outcomes: Outcomes


class Guardian:
    """Rounds at fixed intervals. `revision` is what this daemon runs by."""

    def __init__(
        self, *, books: Books, runner: Runner, node: NodeIdentity, clock: Clock, state_dir: Path
    ) -> None:
        self.revision = ""
        self.history = HistorySettings()
        self.nodes: list[Node] = []
        self.disk_free = 0
        self._books = books
        self._runner = runner
        self._node = node
        self._clock = clock
        self._state_dir = state_dir
        self._alive_since: datetime | None = None
        self._last_beat: datetime | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        rounds: Sequence[tuple[float, Callable[[], Awaitable[None]]]] = (
            (HEARTBEAT_S, self.beat),
            (1.0, self.obey_others),
            (PRUNE_EVERY_S, self.prune),
        )
        for interval, work in rounds:
            self._tasks.append(asyncio.create_task(self._every(interval, work), name=work.__name__))

    async def stop(self) -> None:
        await end(self._tasks)
        self._tasks.clear()

    def others_alive(self, now: datetime) -> bool:
        """Whether another node gave a sign of life within 30 s."""
        return any(
            n.id != self._node.id and n.stopped_at is None and n.heartbeat_at > now - SILENCE
            for n in self.nodes
        )

    async def resolve_own(self) -> int:
        """What earlier daemons of this state directory left; how many runs were lost."""
        left = await self._books.presence.left_behind()
        await self._end_jobless(left)
        return await self._resolve(
            left, Verdict(reason="daemon_died", message="its daemon died or was killed")
        )

    async def recover(self) -> None:
        """After an outage: rows whose claim was committed although its answer never came."""
        await self._runner.adopt(self._books.presence.own_live)

    async def end_jobless(self) -> None:
        """After a change of the configuration: what waits for a job that is not planned here any more."""
        await self._end_jobless(await self._books.presence.own_live())

    async def beat(self) -> None:
        """A sign of life, the clock's skew, the revision in force, and a verdict on silent nodes."""
        self._look_at_disk()
        presence, dispatcher = self._books.presence, self._runner.dispatcher
        moment = await presence.heartbeat(self.revision)
        if moment is None:
            dispatcher.readiness.hold_for("node_taken", "another daemon runs under this node's id")
            return
        self._note_beat(moment)
        await self._judge_clock()
        if "restored" in dispatcher.readiness.hold and not await presence.restored():
            dispatcher.readiness.release("restored")
        await self._compare_revision()
        self.nodes = await presence.nodes()
        if self._alive_since is not None and moment - self._alive_since >= SILENCE:
            await self._judge_others(moment - SILENCE)

    async def _judge_others(self, silent_since: datetime) -> None:
        orphans = await self._books.presence.orphans_of_others(silent_since)
        if orphans:
            silence = "its node gave no sign of life for 30 s"
            await self._resolve(
                orphans, Verdict(reason="node_gone", message=silence, silent_since=silent_since)
            )

    async def obey_others(self) -> None:
        """What other nodes asked of this one, and what has waited for runs on other nodes."""
        now = self._clock.now()
        for name in await self._expired(now):
            log.info("override expired", job=name)
        others = [n for n in self.nodes if n.id != self._node.id and n.stopped_at is None]
        if not others:
            return
        for run_id, reason in await self._books.presence.cancels_requested():
            self._runner.pool.cancel(str(run_id), reason)
        self._runner.dispatcher.waiting.look_at_all()

    async def prune(self) -> None:
        """Old history and logs, in small batches with a pause after each."""
        now, keep = self._clock.now(), self.history
        for job in await self._books.history.jobs_with_history():
            await _until_none(
                partial(
                    self._books.history.prune,
                    job,
                    before=now - keep.keep,
                    max_per_job=keep.max_per_job,
                    batch=PRUNE_BATCH,
                )
            )
        await self.prune_logs(now - keep.keep_logs)

    async def prune_logs(self, before: datetime) -> int:
        """How many lines went."""
        return await _until_none(partial(self._books.outcomes.prune_logs, before, batch=PRUNE_BATCH))

    async def _every(self, interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except DatabaseUnavailableError:
                self._alive_since = None
            except Exception:
                log.exception("a round failed", round=work.__name__)
            await asyncio.sleep(interval_s)

    async def _expired(self, now: datetime) -> Sequence[str]:
        overrides = self._runner.dispatcher.book.overrides
        if not any(o.until is not None and o.until <= now for o in overrides.values()):
            return ()
        await self._runner.dispatcher.settle()
        gone = await self._books.history.expire_overrides(now)
        for override in gone:
            overrides.pop(override.job, None)
        return [override.job for override in gone]

    def _note_beat(self, moment: datetime) -> None:
        """A judge must have written every heartbeat: after a gap it starts to count again."""
        gap = self._last_beat is None or moment - self._last_beat > timedelta(seconds=2.5 * HEARTBEAT_S)
        if gap or self._alive_since is None:
            self._alive_since = moment
        self._last_beat = moment

    async def _judge_clock(self) -> None:
        """Half of the answer's way is taken off; an answer that took long says nothing."""
        before = self._clock.now()
        shared = await self._books.presence.now()
        after = self._clock.now()
        if after - before > SLOW_ANSWER:
            return
        readiness = self._runner.dispatcher.readiness
        readiness.skew = shared - (before + (after - before) / 2)
        if abs(readiness.skew) > MAX_SKEW:
            seconds = -readiness.skew.total_seconds()
            readiness.hold_for("clock_skew", f"this machine's clock is {seconds:+.1f} s off the database's")
        else:
            readiness.release("clock_skew")

    async def _compare_revision(self) -> None:
        latest = await self._books.presence.latest_revision()
        dispatcher = self._runner.dispatcher
        if latest is not None and latest.hash != self.revision and latest.node != self._node.id:
            why = f"revision {latest.hash[:12]} of another node is in force"
            dispatcher.readiness.hold_for("other_revision", why)
        else:
            dispatcher.readiness.release("other_revision")

    async def _resolve(self, runs: Sequence[StoredRun], verdict: Verdict) -> int:
        """Running ones are lost, queued ones become ours."""
        running = [run for run in runs if run.status is RunStatus.RUNNING]
        queued = [run for run in runs if run.status is RunStatus.QUEUED and self._mine(run)]
        lost: set[UUID] = set()
        if running:
            book = self._runner.dispatcher.book
            specs = ((run, book.spec(run.job)) for run in running)
            retries = [r for run, spec in specs if spec is not None and (r := retry_of_stored(spec, run))]
            lost = await self._books.presence.declare_lost(running, replace(verdict, retries=retries))
            again = {retry.of for retry in retries}
            for run in running:
                if run.id in lost:
                    reason, message = verdict.reason, verdict.message
                    log.warning("run lost", job=run.job, run_id=str(run.id), why=message)
                    self._runner.lost(run, reason=reason, message=message, final=str(run.id) not in again)
            for retry in retries:
                self._runner.dispatcher.waiting.add(retry.concurrency)
        if queued:
            adopted, token = await self._books.presence.adopt(queued)
            await self._runner.adopt(_found([run for run in queued if run.id in adopted]), token)
        for run in running:
            self._runner.dispatcher.waiting.add(run.concurrency)
        return len(lost)

    async def _end_jobless(self, runs: Sequence[StoredRun]) -> None:
        book = self._runner.dispatcher.book
        gone = [run.id for run in runs if run.status is RunStatus.QUEUED and book.spec(run.job) is None]
        if gone:
            await self._runner.end_queued(gone, "removed", "its job is not planned here any more")

    def _mine(self, run: StoredRun) -> bool:
        return (
            run.scope in ("", str(self._node.id)) and self._runner.dispatcher.book.spec(run.job) is not None
        )

    def _look_at_disk(self) -> None:
        self.disk_free = shutil.disk_usage(self._state_dir).free
        self._runner.recorder.disk_low = self.disk_free < DISK_LOW_BYTES


async def _until_none(delete: Callable[[], Awaitable[int]]) -> int:
    """Batch after batch, with a pause after each: pruning must not delay a fire. How many went."""
    total = 0
    while number := await delete():
        total += number
        await asyncio.sleep(PAUSE_S)
    return total


def _found(runs: Sequence[StoredRun]) -> Callable[[], Awaitable[Sequence[StoredRun]]]:
    async def find() -> Sequence[StoredRun]:
        return runs

    return find
