"""Hands runs to workers: as many at once as there are workers, forking up to the limit.

Under a burst, a worker is handed several runs in one message; those behind a run that turns out slow
are taken back as soon as another worker is free or may be forked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.ledger.outcomes import Ending
from scheduler_daemon.model import Outcome, RunStatus, WorkerSettings
from scheduler_daemon.runner.orders import RunEvents, RunOrder
from scheduler_daemon.runner.pace import Pace
from scheduler_daemon.runner.plane import JobPlane, WorkerLink
from scheduler_daemon.runner.slot import Slot

SLOW_S = 0.05
BURST_REST_S = 0.015
CLAIMING_REST_S = 0.04
"""In a burst the starts come first; what workers say of them is read this often."""
TAKEN_S = 1.0
IDLE_S = 60.0
REPLACE_EVERY_S = 1.0
FORK_RETRY_S = 1.0
DEATHS = 3


class Pool:
    def __init__(self, plane: JobPlane, settings: WorkerSettings, events: RunEvents) -> None:
        self.settings = settings
        self.forking = 0
        self.paused: str | None = None
        self._plane = plane
        self._events = events
        self._slots: list[Slot] = []
        self._by_link: dict[WorkerLink, Slot] = {}
        self._pending: deque[RunOrder] = deque()
        self._where: dict[str, Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._nothing_left = asyncio.Event()
        self._nothing_left.set()
        self._stopped = False
        self._no_fork_until = 0.0
        self._edition = 0
        self._expected = 0
        self._deaths: dict[str, int] = {}
        self._replaced_at = float("-inf")
        self._pace = Pace(len(os.sched_getaffinity(0)))

    @property
    def capacity(self) -> int:
        """How many more runs may be submitted before they had better wait in the ledger.

        A worker whose run goes on for a while takes no more: what waits for it says so, and outlives us.
        """
        return max(0, self._limit - (self.in_hand - self._taken))

    @property
    def thirsty(self) -> bool:
        """Half of the capacity is free: time to promote what waits in the ledger, many in one statement."""
        return 0 < self.capacity >= self._limit // 2

    @property
    def _limit(self) -> int:
        return (self.settings.max - self._taken) * self._pace.line

    def _rest_s(self) -> float:
        """How long a worker that was heard is left alone: not at all, except in a burst."""
        if self._expected > self.settings.max:
            return CLAIMING_REST_S
        return BURST_REST_S if self.in_hand > 2 * self.settings.max else 0.0

    @property
    def _taken(self) -> int:
        late = time.monotonic() - TAKEN_S
        return sum(slot.current is not None and slot.current_since < late for slot in self._slots)

    @property
    def in_hand(self) -> int:
        """How many runs wait here or are with a worker."""
        return len(self._pending) + len(self._where)

    @property
    def workers(self) -> Sequence[Slot]:
        return self._slots

    @property
    def running(self) -> list[RunOrder]:
        return [slot.current for slot in self._slots if slot.current is not None]

    def ids(self) -> set[str]:
        """Every run that waits here or is with a worker."""
        return {*self._where, *(order.id for order in self._pending)}

    async def start(self) -> None:
        self._keep_ready()
        self._watch = asyncio.create_task(self._look_after(), name="pool-watch")

    @contextlib.contextmanager
    def expecting(self, runs: int) -> Iterator[int]:
        """So many runs are about to be submitted; for how many more there is room."""
        room = max(0, self.capacity - self._expected)
        self._expected += runs
        try:
            yield room
        finally:
            self._expected -= runs

    def submit(self, orders: Iterable[RunOrder]) -> None:
        self._pending.extend(orders)
        if self._pending:
            self._nothing_left.clear()
        self._pump()

    def cancel(self, run_id: str, reason: str) -> bool:
        """False if this pool does not have the run."""
        if slot := self._where.get(run_id):
            slot.cancel(run_id, reason)
            return True
        for order in self._pending:
            if order.id == run_id:
                self._pending.remove(order)
                self._events.ended(order, _never_started(order, reason))
                self._check_empty()
                return True
        return False

    async def stop(self, grace_s: float, hurry: asyncio.Event) -> None:
        """Let runs finish for `grace_s`, then cancel them; returns when every worker is gone."""
        self._stopped = True
        await self._until_empty(grace_s, hurry)
        for order in list(self._pending):
            self.cancel(order.id, "shutdown")
        for run_id in list(self._where):
            self.cancel(run_id, "shutdown")
        longest = max((o.spec.kill_after.total_seconds() for o in self.running), default=0.0)
        await self._until_empty(longest + 5.0, asyncio.Event())
        if self._watch is not None:
            self._watch.cancel()
        for task in self._tasks:
            task.cancel()
        for slot in self._slots:
            slot.stop()

    def refresh(self, settings: WorkerSettings) -> None:
        """A reload: workers of the old zygote finish what they have and go."""
        self.settings = settings
        self._edition += 1
        for slot in self._slots:
            slot.stop()
        self._pump()
        self._keep_ready()

    def run_done(self, run_id: str, took_s: float | None) -> None:
        self._where.pop(run_id, None)
        if took_s is not None:
            self._pace.took(took_s)
        self._deaths.pop(run_id, None)

    def _freed(self, slot: Slot) -> None:
        """Of what it had, a worker has ended some."""
        if not slot.handed:
            slot.idle_since = time.monotonic()
            self._replace(slot)
        self._pump()
        self._check_empty()
        self._events.free()

    def _replace(self, slot: Slot) -> None:
        """By a fresh one, if it has done its share of runs. In a burst not all at once: forks take time."""
        now = time.monotonic()
        calm = self._rest_s() == 0.0 or now - self._replaced_at > REPLACE_EVERY_S
        if slot.runs_done >= self.settings.recycle_after and slot.idle and calm:
            self._replaced_at = now
            slot.stop()

    def returned(self, slot: Slot, orders: Sequence[RunOrder]) -> None:
        for order in orders:
            self._where.pop(order.id, None)
        self._pending.extendleft(reversed(orders))
        self._pump()

    def _pump(self) -> None:
        """Give what waits to whoever is free, and fork for the rest."""
        if not self._pending or self.paused:
            return
        share = self._pace.share(len(self._pending), self.settings.max)
        many = len(self._pending) > 2 * self.settings.max
        for slot in self._slots:
            if slot.ready and (wanted := min(share, self._room(slot, many))) > 0:
                self._feed(slot, wanted)
                if not self._pending:
                    return
        self._fork_for_pending()

    def _room(self, slot: Slot, many: bool) -> int:
        """How many runs a worker may be given: of many, before it runs dry; none behind one that is slow."""
        if not slot.handed:
            return self._pace.line
        slow = slot.current is not None and time.monotonic() - slot.current_since > SLOW_S
        return self._pace.line - len(slot.handed) if many and not slow and slot.runs_done else 0

    def _feed(self, slot: Slot, wanted: int) -> None:
        orders: list[RunOrder] = []
        passed: list[RunOrder] = []
        while self._pending and len(orders) < wanted:
            order = self._pending.popleft()
            (orders if order.isolate == slot.isolate else passed).append(order)
        self._pending.extendleft(reversed(passed))
        if orders:
            self._where.update((order.id, slot) for order in orders)
            slot.hand(orders)

    def _fork_for_pending(self) -> None:
        isolate = self._pending[0].isolate
        room = self.settings.max - len(self._slots) - self.forking
        if (room <= 0 and isolate is None) or time.monotonic() < self._no_fork_until:
            return
        for _ in range(min(room, len(self._pending) - self.forking)):
            self._fork(isolate)
        if room <= 0 and not any(slot.isolate == isolate for slot in self._slots):
            self._make_room(isolate)

    def _make_room(self, isolate: str | None) -> None:
        """All workers are of another kind: an idle one of these goes."""
        for slot in self._slots:
            if slot.idle and slot.isolate != isolate:
                slot.stop()
                return

    def _fork(self, isolate: str | None) -> None:
        self.forking += 1
        task = asyncio.create_task(self._forked(isolate), name="fork-worker")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forked(self, isolate: str | None) -> None:
        slot, edition = Slot(self, self._events, isolate), self._edition
        try:
            link = await self._plane.spawn(
                on_messages=self._on_messages,
                on_exit=self._on_exit,
                rest_s=self._rest_s,
                isolate=isolate,
            )
        except JobPlaneError:
            self._no_fork_until = time.monotonic() + FORK_RETRY_S
            return
        finally:
            self.forking -= 1
        slot.link = link
        self._slots.append(slot)
        self._by_link[link] = slot
        if edition != self._edition:  # it may have been forked from the old zygote
            slot.stop()
        self._pump()

    def _on_messages(self, link: WorkerLink, messages: list[dict[str, Any]]) -> None:
        slot = self._by_link.get(link)
        if slot is None:
            return
        done = slot.runs_done
        slot.receive(messages)
        if slot.runs_done != done:
            self._freed(slot)

    def _on_exit(self, link: WorkerLink, status: int) -> None:
        slot = self._by_link.pop(link, None)
        if slot is None:
            return
        self._slots.remove(slot)
        rest = slot.exited(status)
        for run_id in [r for r, s in self._where.items() if s is slot]:
            del self._where[run_id]
        self._pending.extendleft(reversed(rest))
        for order in rest:
            if reason := slot.asked_to_end(order.id):
                self.cancel(order.id, reason)
        if rest and slot.died_before_a_start:
            self._suspect(rest[0])
        self._pump()
        self._keep_ready()
        self._check_empty()
        self._events.free()

    def _suspect(self, order: RunOrder) -> None:
        """Workers that die as they are about to start the same run are not given it for ever."""
        self._deaths[order.id] = self._deaths.get(order.id, 0) + 1
        if self._deaths[order.id] >= DEATHS and order in self._pending:
            del self._deaths[order.id]
            self._pending.remove(order)
            self._events.ended(order, _never_started(order, "worker_died", RunStatus.LOST))

    async def _look_after(self) -> None:
        """Rounds: take runs back from behind slow ones, let idle workers go, retry forks."""
        rounds = 0
        while True:
            await asyncio.sleep(SLOW_S if self._where or self._pending else 1.0)
            rounds += 1
            now = time.monotonic()
            self._pump()
            self._keep_ready()
            for slot in self._slots:
                self._replace(slot)
                if len(slot.handed) > 1 and self._slow(slot, now) and self._room_elsewhere(slot):
                    slot.take_back()
            self._let_go(now)

    def _slow(self, slot: Slot, now: float) -> bool:
        since = slot.current_since if slot.current is not None else slot.handed_since
        return now - since > SLOW_S

    def _room_elsewhere(self, slot: Slot) -> bool:
        if any(other.idle and other.isolate == slot.isolate for other in self._slots):
            return True
        return len(self._slots) + self.forking < self.settings.max

    def _keep_ready(self) -> None:
        """`min` workers are there for runs to come: also after a reload, a death, or a full share of runs."""
        if self._stopped or self.paused or time.monotonic() < self._no_fork_until:
            return
        there = sum(not slot.stopping for slot in self._slots) + self.forking
        room = self.settings.max - len(self._slots) - self.forking
        for _ in range(min(self.settings.min - there, room)):
            self._fork(None)

    def _let_go(self, now: float) -> None:
        spare = sum(not slot.stopping for slot in self._slots) - self.settings.min
        for slot in list(self._slots):
            if spare > 0 and slot.idle and now - slot.idle_since > IDLE_S:
                slot.stop()
                spare -= 1

    def _check_empty(self) -> None:
        if not self._where and not self._pending:
            self._nothing_left.set()

    async def _until_empty(self, limit_s: float, hurry: asyncio.Event) -> None:
        waits = [
            asyncio.create_task(self._nothing_left.wait()),
            asyncio.create_task(hurry.wait()),
        ]
        await asyncio.wait(waits, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()


def _never_started(order: RunOrder, reason: str, status: RunStatus = RunStatus.CANCELLED) -> Ending:
    died = f"{DEATHS} workers died as they were about to start it"
    outcome = Outcome(
        run_id=order.id,
        status=status,
        reason=reason,
        finished_at=time.time(),
        error=died if status is RunStatus.LOST else "cancelled before it started",
    )
    return Ending(outcome=outcome, token=order.token)
