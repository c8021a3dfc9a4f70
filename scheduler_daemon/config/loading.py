"""`load`: every mistake of the configuration at once, or a whole, frozen Settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scheduler_daemon.config import faults
from scheduler_daemon.config.checks import check
from scheduler_daemon.config.folders import folders
from scheduler_daemon.config.references import expand
from scheduler_daemon.config.report import Report
from scheduler_daemon.config.settings import job_specs, revision_text, settings, with_defaults
from scheduler_daemon.config.sources import Sources
from scheduler_daemon.config.tree import Node, Place, planted
from scheduler_daemon.errors import ConfigurationError, Problem
from scheduler_daemon.model import JobSpec, Settings

_PLAN = ("timezone", "scheduler")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A valid configuration, where each of its values was written, and the secrets that it refers to."""

    settings: Settings
    warnings: tuple[Problem, ...] = ()
    files: tuple[Path, ...] = ()
    secrets: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    tree: Node = field(repr=False, compare=False)

    def locate(self, where: tuple[str | int, ...]) -> Place:
        """(file, line, column) of a value, or of what is nearest above it.

        where: keys and indexes from the root; a job may be named: ("scheduler", "jobs", NAME, …).
        """
        return self.tree.nearest(self.path(where)).place

    def path(self, where: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """`where` with a job's name replaced by its index."""
        if where[:2] == ("scheduler", "jobs") and len(where) > 2 and isinstance(where[2], str):
            names = [job.name for job in self.settings.jobs]
            if where[2] in names:
                return (*where[:2], names.index(where[2]), *where[3:])
        return where


def load(path: Path, *, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read the configuration at `path` with all that it includes.

    Raises ConfigurationError with every mistake found.
    """
    report = Report()
    file = _absolute(path)
    sources = Sources(report)
    written = sources.read(file)
    secrets: set[str] = set()
    root = with_defaults(expand(written, environ, report, secrets))
    checked = faults.validate(root, report)
    check(root, report)
    places = folders(file, root, environ, report)
    if report.errors or checked is None:
        raise ConfigurationError(report.errors)
    return Loaded(
        settings=settings(file, root, checked, places, revision_text(written)),
        warnings=report.warnings,
        files=tuple(sources.files),
        secrets=frozenset(secrets),
        tree=root,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What a stored revision planned. The jobs' parameters hold references, not secrets."""

    enabled: bool
    jobs: tuple[JobSpec, ...]
    tzdata: str


def planned(revision_text: str) -> Planned:
    """Read a stored revision back. Raises ConfigurationError where this version does not understand it."""
    stored = json.loads(revision_text)
    plan = {key: value for key, value in stored["configuration"].items() if key in _PLAN}
    report = Report()
    root = with_defaults(planted(Place(file=Path("revision")), plan))
    checked = faults.validate(root, report)
    if checked is None:
        raise ConfigurationError(report.errors)
    return Planned(enabled=checked.scheduler.enabled, jobs=job_specs(root, checked), tzdata=stored["tzdata"])


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow symlinks
    except OSError:
        raise ConfigurationError(
            [Problem(file=str(path), line=1, column=1, message="the working directory is gone")]
        ) from None
