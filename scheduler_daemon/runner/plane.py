"""The daemon's side of the job plane: one zygote in use, older ones until their workers have gone.

`start` and `reload` bring up a zygote; an extension that kills it, hangs it or leaves threads in it is
set aside, and the next zygote does without. Nothing here imports an extension.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.extension import Logger
from scheduler_daemon.jobplane import processes
from scheduler_daemon.jobplane.wire import PING_EVERY_S, PROTOCOL, Discovery, Message
from scheduler_daemon.model import Catalogue, ExtensionInfo, JobInfo, SectionProblem
from scheduler_daemon.runner.generation import CulpritError, Generation, KilledError, ending
from scheduler_daemon.runner.worker_link import Callbacks, WorkerLink

__all__ = ["Discovery", "JobPlane", "WorkerLink"]

IMPORT_TIMEOUT_S = 10.0
_STOP_S = 2.0
_CHANCES = 2
_SPAWN_WAIT_S = 20.0
_LONGEST_PAUSE_S = 30.0

Accept = Callable[[Catalogue], Awaitable[None]]


@dataclass(slots=True)
class _SetAside:
    """What an earlier zygote of the same start said of extensions that the next one does not load."""

    infos: dict[str, ExtensionInfo] = field(default_factory=dict)
    problems: list[SectionProblem] = field(default_factory=list)
    foreign: dict[str, dict[str, str]] = field(default_factory=dict)


class JobPlane:
    """`python` is the interpreter that extensions live in, where a request names none. After a zygote that
    died by itself, another is started, and `on_catalogue` is told what that one found."""

    def __init__(
        self,
        *,
        python: Path,
        log: Logger,
        import_timeout_s: float = IMPORT_TIMEOUT_S,
        on_catalogue: Callable[[Catalogue], None] | None = None,
    ) -> None:
        self.catalogue = Catalogue()
        self.restarts = 0
        self._python = python
        self._log = log
        self._import_timeout_s = import_timeout_s
        self._on_catalogue = on_catalogue
        self._request: Discovery | None = None
        self._current: Generation | None = None
        self._generations: set[Generation] = set()
        self._numbers = itertools.count(1)
        self._workers = itertools.count(1)
        self._usable = asyncio.Event()
        self._stopping = False
        self._turn = asyncio.Lock()
        self._restarting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pinger: asyncio.Task[None] | None = None

    async def start(self, request: Discovery, accept: Accept | None = None) -> Catalogue:
        """Raises JobPlaneError where no zygote can be had at all, and what `accept` raises."""
        self._stopping = False
        for mark in await asyncio.to_thread(processes.forsaken, request.state_dir):
            await self._sweep(mark)
        await asyncio.to_thread(_clear_scratch, request.state_dir)
        catalogue = await self.reload(request, accept)
        self._pinger = asyncio.create_task(self._ping(), name="job plane ping")
        return catalogue

    async def reload(self, request: Discovery, accept: Accept | None = None) -> Catalogue:
        """A new zygote; the old one goes when its workers have.

        `accept` sees the catalogue first; if it raises, or on JobPlaneError, the old one stays in use.
        """
        async with self._turn:
            return await self._replace(request, accept)

    async def _replace(self, request: Discovery, accept: Accept | None) -> Catalogue:
        generation, catalogue = await self._bring_up(request)
        if accept:
            try:
                await accept(catalogue)
            except BaseException:
                await generation.stop(_STOP_S)
                raise
        if generation.ended:
            raise JobPlaneError("the new zygote died before it was in use")
        old, self._current = self._current, generation
        self._request, self.catalogue = request, catalogue
        self._usable.set()
        if old:
            old.retire()
        return catalogue

    async def spawn(
        self,
        *,
        on_messages: Callable[[WorkerLink, list[Message]], None],
        on_exit: Callable[[WorkerLink, int], None],
        rest_s: Callable[[], float] = lambda: 0.0,
        isolate: str | None = None,
    ) -> WorkerLink:
        """A worker forked from the zygote; with `isolate`, a fresh process for that one extension.

        Waits while a zygote is being restarted. Raises JobPlaneError. Callbacks come only after the
        caller has the link.
        """
        try:
            async with asyncio.timeout(_SPAWN_WAIT_S):
                await self._usable.wait()
        except TimeoutError:
            raise JobPlaneError("the job plane has no zygote that could fork a worker") from None
        if self._current is None:
            raise JobPlaneError("the job plane is stopped")
        callbacks = Callbacks(
            on_messages, lambda link, status: self._on_worker_exit(on_exit, link, status), rest_s
        )
        return await self._current.spawn(next(self._workers), isolate, callbacks)

    async def stop(self, grace: float) -> None:
        """Let workers finish their run for `grace` seconds, then end all. Twice, or before start, is fine."""
        self._stopping = True
        self._usable.set()
        for task in (self._pinger, self._restarting):
            if task:
                task.cancel()
        self._pinger = self._restarting = None
        links = [link for generation in self._generations for link in generation.links.values()]
        for link in links:
            link.send([{"t": "stop"}])
        if links and grace > 0:
            await asyncio.wait([link.gone for link in links], timeout=grace)
        await asyncio.gather(*(generation.stop(_STOP_S) for generation in list(self._generations)))
        self._current = None
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _bring_up(self, request: Discovery) -> tuple[Generation, Catalogue]:
        aside = _SetAside()
        timeout_s = request.import_timeout_s or self._import_timeout_s
        chances = _CHANCES
        while True:
            number = next(self._numbers)
            interpreter = (request.python or self._python, processes.mark(request.state_dir, number))
            generation = Generation(number, interpreter, self._log, self._on_zygote_end)
            self._generations.add(generation)
            try:
                answer = await generation.discover(_message(request, aside), timeout_s)
            except CulpritError as exc:
                culprit = exc.culprit
                if culprit.killed and chances:
                    chances -= 1
                    continue
                aside.infos[culprit.extension] = ExtensionInfo(
                    name=culprit.extension,
                    distribution=culprit.distribution,
                    error=culprit.error,
                    traceback=culprit.traceback,
                )
                continue
            except KilledError:
                if not chances:
                    raise
                chances -= 1
                continue
            except BaseException:
                await generation.stop(0)
                raise
            if answer.get("protocol") != PROTOCOL:
                await generation.stop(0)
                raise JobPlaneError(
                    f"{interpreter[0]} has another version of scheduler-daemon; install this one"
                )
            if _set_aside_threaded(aside, request, answer):
                await generation.stop(_STOP_S)
                continue
            catalogue = _catalogue(answer, aside)
            self._tell_faults(catalogue)
            return generation, catalogue

    def _tell_faults(self, catalogue: Catalogue) -> None:
        for one in catalogue.extensions:
            if one.error is not None:
                trace = {"exception": one.traceback} if one.traceback else {}
                what = "extension faulty" if one.jobs else "extension unavailable"
                self._log.error(what, extension=one.name, error=one.error, **trace)

    def _on_zygote_end(self, generation: Generation, status: int) -> None:
        self._generations.discard(generation)
        if status != 0:
            self._in_background(self._sweep(generation.mark))
        if generation is not self._current or self._stopping:
            return
        self._current = None
        self._usable.clear()
        self.restarts += 1
        self._log.error("the zygote died; its workers with it", cause=ending(status), pid=generation.pid)
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.create_task(self._restart(), name="job plane restart")

    async def _restart(self) -> None:
        assert self._request is not None
        pause_s = 0.0
        while not self._usable.is_set():
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s or 1.0, _LONGEST_PAUSE_S)
            try:
                async with self._turn:
                    if self._usable.is_set():  # a reload was faster
                        return
                    catalogue = await self._replace(self._request, None)
            except JobPlaneError as exc:
                self._log.error("no zygote can be started", error=str(exc), next_try_s=pause_s)
                continue
            self._log.warning("a new zygote is in use", restarts=self.restarts)
            if self._on_catalogue:
                self._on_catalogue(catalogue)

    async def _sweep(self, mark: str) -> None:
        """End what an earlier daemon, or a zygote that could not, left behind."""
        if killed := await asyncio.to_thread(processes.sweep, mark):
            self._log.warning("ended processes that a job had left behind", processes=killed[:20])

    def _on_worker_exit(
        self, on_exit: Callable[[WorkerLink, int], None], link: WorkerLink, status: int
    ) -> None:
        on_exit(link, status)
        if self._request:
            scratch = self._request.state_dir / "scratch" / f"worker-{link.worker}-{link.pid}"
            if scratch.exists():
                self._in_background(asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True))

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_EVERY_S)
            for generation in self._generations:
                for link in generation.links.values():
                    link.send([{"t": "ping"}])

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _clear_scratch(state_dir: Path) -> None:
    """Another plane may be at work here, that of `check` beside a daemon: only what dead workers left."""
    for folder in (state_dir / "scratch").glob("worker-*"):
        if not Path("/proc", folder.name.rpartition("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _message(request: Discovery, aside: _SetAside) -> Message:
    exclude = {name: info.error or "leaves threads behind" for name, info in aside.infos.items()}
    return {**request.message(), "exclude": exclude, "foreign": aside.foreign}


def _set_aside_threaded(aside: _SetAside, request: Discovery, answer: Message) -> bool:
    """Remember extensions that left threads in this zygote; True if there is any: it must not fork."""
    threaded = {e["name"]: e for e in answer["extensions"] if e["leaves_threads"]}
    for name, extension in threaded.items():
        aside.infos[name] = _extension(extension)
        aside.foreign[name] = extension["resources"]
    where: set[tuple[str, ...]] = {("extensions", name) for name in threaded}
    where |= {("scheduler", "jobs", j.name, "parameters") for j in request.jobs if j.extension in threaded}
    aside.problems += [p for p in map(_problem, answer["problems"]) if p.where in where]
    return bool(threaded)


def _catalogue(answer: Message, aside: _SetAside) -> Catalogue:
    extensions = [*map(_extension, answer["extensions"]), *aside.infos.values()]
    return Catalogue(
        extensions=tuple(sorted(extensions, key=lambda info: info.name)),
        problems=(*map(_problem, answer["problems"]), *aside.problems),
    )


def _extension(message: Message) -> ExtensionInfo:
    known = {key: message[key] for key in ExtensionInfo.__dataclass_fields__}
    return ExtensionInfo(**{**known, "jobs": tuple(JobInfo(**job) for job in message["jobs"])})


def _problem(message: Message) -> SectionProblem:
    return SectionProblem(
        where=tuple(message["where"]), path=tuple(message["path"]), message=message["message"]
    )
