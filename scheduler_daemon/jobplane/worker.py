"""A worker: one run at a time in the main thread, on an event loop that lives as long as the worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scheduler_daemon.jobplane.channel import Channel
from scheduler_daemon.jobplane.connections import Connections
from scheduler_daemon.jobplane.context import Surroundings
from scheduler_daemon.jobplane.discovery import Registry
from scheduler_daemon.jobplane.journal import Journal, Output, install
from scheduler_daemon.jobplane.run import RefusedError, Run
from scheduler_daemon.jobplane.seat import Seat
from scheduler_daemon.jobplane.tasks import RunTasks
from scheduler_daemon.jobplane.tidy import Tidy
from scheduler_daemon.jobplane.wire import Message

_SETTLE_S = 1.0


class Worker:
    """Numbered algorithm of `serve`: 1 wait for a run; 2 prepare it; 3 say what ended and what starts, in
    one frame; 4 execute; 5 clear away what it left; 6 keep the outcome for step 3, or send it."""

    def __init__(self, seat: Seat, registry: Registry, request: Mapping[str, Any]) -> None:
        self._registry = registry
        self._sections: Mapping[str, Any] = request["sections"]
        self._channel = Channel(socket.socket(fileno=seat.channel), (seat.stdout, seat.stderr))
        outputs = (Output(seat.stdout, "stdout", "info"), Output(seat.stderr, "stderr", "warning"))
        self._journal = Journal(self._channel.post, outputs)
        self._connections = Connections(request["database_url"])
        self._surroundings = Surroundings(
            base_dir=Path(request["base_dir"]),
            state_dir=Path(request["state_dir"]),
            scratch=Path(request["state_dir"]) / "scratch" / f"worker-{seat.worker}-{os.getpid()}",
            timezone=request["timezone"],
            connections=self._connections,
            resources=registry.resources,
        )
        self._queue: deque[Run] = deque()
        self._runs: dict[str, Run] = {}
        self._leaving: str | None = None
        self._idle = False
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._tasks = RunTasks(self._loop)

    def serve(self) -> None:
        install(self._journal)
        os.register_at_fork(after_in_child=self._forked)
        asyncio.set_event_loop(self._loop)
        self._channel.start(self)
        self._tidy = Tidy(self._loop, self._tasks, self._journal, self._connections)
        self._channel.send({"t": "ready"})
        held: list[Message] = []
        while run := self._next(held):
            held = [self._perform(run, held)]
            del self._runs[run.id]
        self._finish(held)

    def _forked(self) -> None:
        self._channel.forget()
        self._journal.detach()

    def receive(self, message: Message) -> None:
        """In the IO thread."""
        kind = message["t"]
        if kind == "run":
            run = self._runs[message["id"]] = Run(message)
            self._queue.append(run)
            self._stir()
        elif kind == "cancel":
            self._cancel(message["id"], message["reason"])
        elif kind == "take_back":
            self._channel.send({"t": "returned", "ids": self._take_back()})
        elif kind == "stop":
            self._leaving = self._leaving or "stopped"
            self._stir()

    def drain(self) -> None:
        self._journal.drain()

    def _stir(self) -> None:
        if self._idle:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _cancel(self, run_id: str, reason: str) -> None:
        run = self._runs.get(run_id)
        if run is None:
            return
        run.cancel(reason)
        with contextlib.suppress(ValueError):  # the main thread has it, and sees cancel_reason
            self._queue.remove(run)
            del self._runs[run_id]
            self._channel.send(run.refusal(""))

    def _take_back(self) -> list[str]:
        ids: list[str] = []
        with contextlib.suppress(IndexError):
            while True:
                ids.append(self._queue.popleft().id)
                del self._runs[ids[-1]]
        return ids

    def _next(self, held: list[Message]) -> Run | None:
        while not self._leaving:
            with contextlib.suppress(IndexError):
                return self._queue.popleft()
            if held:
                self._channel.send(*held)
                held.clear()
            self._loop.run_until_complete(self._rest())
        return None

    async def _rest(self) -> None:
        self._wake.clear()
        self._idle = True
        if not self._queue and not self._leaving:
            await self._wake.wait()
        self._idle = False

    def _perform(self, run: Run, held: list[Message]) -> Message:
        try:
            run.prepare(self._registry, self._sections, self._surroundings, self._journal, self._channel.post)
            if run.cancel_reason:
                raise RefusedError(run.cancel_reason)
        except RefusedError as exc:
            self._channel.send(*held)
            return run.refusal(str(exc))
        assert run.context is not None
        self._journal.begin(run.id)
        run.started_at = time.time()
        self._channel.send(*held, {"t": "started", "id": run.id, "at": run.started_at})
        outcome = run.execute(self._loop, self._tasks)
        self._leaving = self._leaving or self._tidy.after(run)
        outcome["steps"] = run.context.steps.close()
        if left_out := run.context.steps.left_out:
            self._journal.note("warning", f"{left_out:,} more steps are not recorded")
        outcome["logs_dropped"] = self._journal.end()
        return outcome

    def _finish(self, held: list[Message]) -> None:
        ids = self._take_back()
        self._channel.send(*held, *([{"t": "returned", "ids": ids}] if ids else []))
        if self._leaving != "stopped":
            self._channel.send({"t": "leaving", "reason": self._leaving})
        with contextlib.suppress(Exception):  # nothing that fails here may keep the process alive
            self._loop.run_until_complete(asyncio.wait_for(self._connections.close(), _SETTLE_S))
        self._channel.close()
        os._exit(0)
