"""The configuration against what the job plane found, and against the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from scheduler_daemon.config.faults import masked
from scheduler_daemon.config.loading import Loaded
from scheduler_daemon.config.plaintext import plain_secrets
from scheduler_daemon.config.report import did_you_mean, one_line, problem, quoted
from scheduler_daemon.config.tree import Node, Place
from scheduler_daemon.cron import CronExpression, lint
from scheduler_daemon.errors import ConfigurationError, Problem
from scheduler_daemon.model import Catalogue, JobInfo, JobSpec, SectionProblem, Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """One job of the configuration and its implementation; without one, `reason` says why, in a line."""

    job: JobSpec
    info: JobInfo | None = None
    reason: str | None = None

    @property
    def available(self) -> bool:
        return self.info is not None


def bindings(settings: Settings, catalogue: Catalogue) -> tuple[Binding, ...]:
    """One for each job of the configuration, in its order."""
    return tuple(_bind(job, catalogue) for job in settings.jobs)


def _bind(job: JobSpec, catalogue: Catalogue) -> Binding:
    info = catalogue.find(job.extension, job.job)
    if info:
        return Binding(job=replace(job, concurrency=job.concurrency or info.concurrency), info=info)
    return Binding(job=job, reason=one_line(_why_not(job, catalogue)))


def _why_not(job: JobSpec, catalogue: Catalogue) -> str:
    extensions = {one.name: one for one in catalogue.extensions}
    extension = extensions.get(job.extension)
    if extension is None:
        return (
            f"the extension {quoted(job.extension)} is not installed{did_you_mean(job.extension, extensions)}"
        )
    if extension.error:
        return f"the extension {quoted(job.extension)} is faulty: {extension.error}"
    hint = did_you_mean(job.job, [one.name for one in extension.jobs])
    others = [one.name for one in catalogue.extensions if catalogue.find(one.name, job.job)]
    if others:
        hint = f" (the extension {quoted(others[0])} has one)"
    return f"the extension {quoted(job.extension)} has no job {quoted(job.job)}{hint}"


def unavailable_jobs(loaded: Loaded, catalogue: Catalogue) -> tuple[Problem, ...]:
    """Warnings about jobs that have no implementation, at the value that leads nowhere."""
    names = {one.name for one in catalogue.extensions if not one.error}
    return tuple(
        problem(
            loaded.locate(("scheduler", "jobs", one.job.name, key)),
            f"job {quoted(one.job.name)} is unavailable: {one.reason}",
            "warning",
        )
        for one in bindings(loaded.settings, catalogue)
        if not one.available
        for key in ("job" if one.job.extension in names else "extension",)
    )


def faulty_extensions(loaded: Loaded, catalogue: Catalogue) -> tuple[Problem, ...]:
    """Warnings about what is wrong with extensions, where no job of the configuration suffers from it."""
    suffering = {one.job.extension for one in bindings(loaded.settings, catalogue) if not one.available}
    return tuple(
        problem(loaded.tree.place, f"the extension {quoted(one.name)} is faulty: {one.error}", "warning")
        for one in catalogue.extensions
        if one.error and one.name not in suffering
    )


def require_fitting(loaded: Loaded, catalogue: Catalogue) -> None:
    """Raises ConfigurationError with every error that only the extensions' own code can tell."""
    found = (*section_problems(loaded, catalogue.problems), *plain_secrets(loaded, catalogue))
    errors = [one for one in found if one.severity == "error"]
    if errors:
        raise ConfigurationError(errors)


def section_problems(loaded: Loaded, problems: Sequence[SectionProblem]) -> tuple[Problem, ...]:
    """What extensions found wrong in their sections and parameters, at its place in the files."""
    return tuple(_section_problem(loaded, one) for one in problems)


def _section_problem(loaded: Loaded, one: SectionProblem) -> Problem:
    path = loaded.path((*one.where, *one.path))
    node = loaded.tree.nearest(path)
    place = _key_or_value(loaded.tree, path)
    start = one.where if one.where[:1] == ("extensions",) else one.where[3:]
    name = ".".join(str(part) for part in (*start, *one.path))
    return problem(place, f"{name}: {masked(node, one.message)}{_trap(node, one.message)}")


def _key_or_value(tree: Node, path: Sequence[str | int]) -> Place:
    """A scalar's own place; for a collection, its key's, which is where a person looks."""
    node, place = tree, tree.place
    for part in path:
        below = node.child(part)
        if below is None:
            continue
        key = node.entries[part].key if isinstance(part, str) else below.place
        place = key if below.entries or below.items else below.place
        node = below
    return place


def doubts(settings: Settings, now: datetime) -> tuple[Problem, ...]:
    """Warnings about schedules, each job's at its schedule, looking ahead from `now` (aware)."""
    return tuple(
        _at(job.schedule_position, f"{job.name}: {doubt}")
        for job in settings.jobs
        for doubt in lint(CronExpression.parse_schedule(job.schedule), ZoneInfo(job.timezone), job.dst, now)
    )


def _at(position: str, message: str) -> Problem:
    file, line, column = position.rsplit(":", 2)
    return Problem(
        file=file, line=int(line), column=int(column), message=one_line(message), severity="warning"
    )


def _trap(node: Node, message: str) -> str:
    wanted_text = any(word in message.casefold() for word in ("string", "text"))
    if node.plain and wanted_text and not isinstance(node.value, str) and node.text:
        kind = "a boolean" if isinstance(node.value, bool) else "a number"
        return f" (YAML reads {node.text} as {kind}: write {quoted(node.text)})"
    return ""


def unused_sections(loaded: Loaded, catalogue: Catalogue) -> tuple[Problem, ...]:
    """Warnings about sections of extensions that are not installed."""
    installed = [one.name for one in catalogue.extensions]
    sections = loaded.tree.find("extensions")
    return tuple(
        problem(
            entry.key,
            f"nothing reads this section: no extension {quoted(name)} is installed"
            f"{did_you_mean(name, installed)}",
            "warning",
        )
        for name, entry in (sections.entries.items() if sections else ())
        if name not in installed
    )
