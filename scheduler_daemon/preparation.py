"""From a configuration to an edition: its job plane, its extensions' migrations, its bindings."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import structlog

from scheduler_daemon.config import Loaded, bindings, require_fitting
from scheduler_daemon.database.migrations import SCHEDULER, Applied, MigrationSet, apply
from scheduler_daemon.database.roles import JOB_ROLE, ensure_job_role
from scheduler_daemon.errors import MigrationError
from scheduler_daemon.maintenance import reach
from scheduler_daemon.model import Catalogue, ExtensionInfo, Settings
from scheduler_daemon.runner.plane import Discovery, JobPlane
from scheduler_daemon.runner.rollover import Edition

log = structlog.get_logger(__name__)


class Preparation:
    """Brings up the job plane for one configuration after another.

    url, jobs_url: what the daemon, and what its jobs connect to. `learn(secrets)` is told what to hide.
    """

    def __init__(
        self, plane: JobPlane, *, url: str, jobs_url: str, learn: Callable[[Iterable[str]], None]
    ) -> None:
        self._plane = plane
        self._url = url
        self._jobs_url = jobs_url
        self._learn = learn

    async def first(self, loaded: Loaded) -> Edition:
        """At the start. Raises ConfigurationError."""
        return await self._prepare(loaded, self._plane.start)

    async def another(self, loaded: Loaded) -> Edition:
        """Beside the one that is in use, which stays if this raises ConfigurationError."""
        return await self._prepare(loaded, self._plane.reload)

    async def _prepare(self, loaded: Loaded, bring_up: Callable[..., Awaitable[object]]) -> Edition:
        self._learn(loaded.secrets)
        usable = Catalogue()

        async def accept(catalogue: Catalogue) -> None:
            require_fitting(loaded, catalogue)
            nonlocal usable
            usable = await self._migrated(catalogue)

        await bring_up(Discovery.of(loaded.settings, self._jobs_url), accept)
        bound = bindings(loaded.settings, usable)
        return Edition(settings=loaded.settings, catalogue=usable, bindings=bound)

    async def _migrated(self, catalogue: Catalogue) -> Catalogue:
        """Apply what is missing; an extension whose migration fails has no jobs then, and the rest works."""
        role = JOB_ROLE if self._url != self._jobs_url else None
        usable = []
        for extension in catalogue.extensions:
            try:
                await apply(self._url, _migrations([extension], role), log=log.info)
            except MigrationError as error:
                why = f"{extension.distribution}[{extension.name}]: its migration failed: {error}"
                log.error("extension unavailable", extension=extension.name, error=why)
                extension = replace(extension, jobs=(), error=why)
            usable.append(extension)
        return replace(catalogue, extensions=tuple(usable))


def job_plane(settings: Settings) -> JobPlane:
    """Not started yet."""
    return JobPlane(python=settings.jobplane_python or Path(sys.executable), log=log)


async def migrate_once(loaded: Loaded) -> list[Applied]:
    """What `scheduler-daemon migrate` does: as a start would. A daemon may be running meanwhile."""
    settings = loaded.settings
    async with reach(settings) as database, contextlib.AsyncExitStack() as exits:
        applied = await apply(database.url, [SCHEDULER])
        if database.job_role is not None:
            await ensure_job_role(database.url)
        folder = exits.enter_context(tempfile.TemporaryDirectory(prefix="scheduler-migrate-"))
        plane = job_plane(settings)
        exits.push_async_callback(plane.stop, 0)
        request = replace(Discovery.of(settings, None), state_dir=Path(folder))
        catalogue = await plane.start(request)
        return applied + await apply(database.url, _migrations(catalogue.extensions, database.job_role))


def _migrations(extensions: Iterable[ExtensionInfo], role: str | None) -> list[MigrationSet]:
    return [
        MigrationSet(owner=extension.name, folder=Path(extension.migrations), role=role)
        for extension in extensions
        if extension.migrations is not None and extension.error is None
    ]
