"""Extensions: find their entry points, load them, check them. One extension's fault stays its own.

Errors name `distribution[entry]`. A faulty job is left out and said in its extension's `error`; the
extension's other jobs stay usable. What cannot be loaded at all has an error and no jobs.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler_daemon.cron import CronExpression
from scheduler_daemon.errors import CronError
from scheduler_daemon.extension import ENTRY_POINT_GROUP, Extension, Job
from scheduler_daemon.jobplane.sections import MismatchError, build, schema
from scheduler_daemon.jobplane.text import describe, format_traceback, place
from scheduler_daemon.model import ExtensionInfo, JobInfo, SectionProblem

_NOT_IN_NAMES = re.compile(r"[-_.]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An entry point that nobody has imported yet."""

    name: str
    distribution: str
    version: str
    load: Callable[[], Any]

    def __str__(self) -> str:
        return f"{self.distribution}[{self.name}]"


@dataclass(kw_only=True, slots=True)
class Loaded:
    """One extension as it is in this process; `jobs` are those that can run."""

    found: Found
    extension: Extension | None = None
    jobs: dict[str, Job] = field(default_factory=dict)
    infos: dict[str, JobInfo] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    traceback: str | None = None
    leaves_threads: bool = False

    def fault(self, text: str, exc: BaseException | None = None) -> None:
        self.faults.append(text)
        if exc is not None:
            self.traceback = format_traceback(exc, ours=(__file__,))

    def info(self) -> ExtensionInfo:
        migrations = self.extension.migrations if self.extension else None
        return ExtensionInfo(
            name=self.found.name,
            distribution=self.found.distribution,
            version=self.found.version,
            jobs=tuple(self.infos.values()),
            config_schema=schema(self.extension.config_model) if self.extension else None,
            migrations=str(migrations) if migrations else None,
            error=f"{self.found}: {'; '.join(self.faults)}" if self.faults else None,
            traceback=self.traceback,
            leaves_threads=self.leaves_threads,
        )


def find(first: Iterable[str] = ()) -> list[Found]:
    """Every entry point of the group: those named in `first` first, then by name.

    The order decides who keeps a name that two claim: an extension that the configuration uses.
    """
    wanted = list(dict.fromkeys(first))
    try:
        entries = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
        found = [_found(entry, entry.dist) for entry in entries if entry.dist]
    except Exception:  # one package's entry_points.txt cannot be read: ask each package by itself
        found = _find_one_by_one()

    def order(item: Found) -> tuple[int, str, str]:
        return (wanted.index(item.name) if item.name in wanted else len(wanted), item.name, item.distribution)

    return sorted(found, key=order)


def _found(entry: importlib.metadata.EntryPoint, distribution: importlib.metadata.Distribution) -> Found:
    name, version = distribution.metadata["Name"], distribution.metadata["Version"]
    return Found(name=entry.name, distribution=str(name), version=str(version or ""), load=entry.load)


def _find_one_by_one() -> list[Found]:
    """Slower: reads every package's metadata. The first of a name on the path is the one that counts."""
    distributions: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        name = str(distribution.metadata["Name"])
        distributions.setdefault(_NOT_IN_NAMES.sub("-", name).lower(), distribution)
    return [found for name, each in distributions.items() for found in _entries(name, each)]


def _entries(name: str, distribution: importlib.metadata.Distribution) -> list[Found]:
    try:
        entries = distribution.entry_points.select(group=ENTRY_POINT_GROUP)
    except Exception as exc:
        if ENTRY_POINT_GROUP not in (distribution.read_text("entry_points.txt") or ""):
            return []
        problem = exc

        def refuse() -> Any:
            raise ValueError("its entry_points.txt cannot be read") from problem

        return [Found(name=name, distribution=name, version="", load=refuse)]
    return [_found(entry, distribution) for entry in entries]


def load(found: Found) -> Loaded:
    """Import it and read its jobs; whatever goes wrong is in the answer."""
    loaded = Loaded(found=found)
    try:
        extension = found.load()
    except (
        BaseException
    ) as exc:  # the one place that catches what an extension does at import, sys.exit() too
        loaded.fault(f"cannot be imported: {_with_place(exc)}", exc)
        return loaded
    if not isinstance(extension, Extension):
        loaded.fault(f"is a {type(extension).__name__}, not a scheduler_daemon.extension.Extension")
    elif extension.name != found.name:
        loaded.fault(f'its Extension is named "{extension.name}"; entry point and extension must agree')
    else:
        loaded.extension = extension
        _read_jobs(loaded, extension)
    return loaded


def _with_place(exc: BaseException) -> str:
    """Where it happened, and what: an author's first two questions."""
    at = place(exc, ours=(__file__,))
    what = f"SyntaxError: {exc.msg}" if isinstance(exc, SyntaxError) and at else describe(exc)
    return f"{at}: {what}" if at else what


def _read_jobs(loaded: Loaded, extension: Extension) -> None:
    seen: set[str] = set()
    for job in extension.jobs:
        try:
            info = _job_info(extension, job)
        except Exception as exc:  # names and schedules may be methods: an extension's code
            loaded.fault(f"job {_label(job)}: {_with_place(exc)}", exc)
            continue
        if info.name in seen:
            loaded.fault(f'registers two jobs named "{info.name}"; neither can run')
            loaded.jobs.pop(info.name, None)
            loaded.infos.pop(info.name, None)
            continue
        seen.add(info.name)
        loaded.jobs[info.name] = job
        loaded.infos[info.name] = info


def _label(job: Job) -> str:
    name = getattr(job, "name", None)
    return name if isinstance(name, str) and name else type(job).__name__


def _job_info(extension: Extension, job: Job) -> JobInfo:
    name = _attribute(job, "name", str)
    if not name or any(char.isspace() or not char.isprintable() for char in name):
        raise ValueError(f"its name {name!r} must be a word without spaces")
    if getattr(type(job), "execute", None) is Job.execute and "execute" not in vars(job):
        raise TypeError(f'"{name}" has no execute()')
    schedule = _attribute(job, "schedule", str)
    if schedule:
        _check_schedule(name, schedule)
    return JobInfo(
        extension=extension.name,
        name=name,
        description=_attribute(job, "description", str),
        schedule=schedule,
        run_on_startup=_attribute(job, "run_on_startup", bool),
        concurrency=_concurrency(job),
        parameters_schema=schema(job.parameters),
    )


def _concurrency(job: Job) -> str:
    key = str(_attribute(job, "concurrency", str))
    if any(char.isspace() or not char.isprintable() for char in key):
        raise ValueError(f"its concurrency {key!r} must be a word without spaces")
    return key


def _attribute(job: Job, name: str, kind: type) -> Any:
    """Names may be class attributes, properties or methods."""
    value = getattr(job, name)
    if callable(value):
        value = value()
    if not isinstance(value, kind):
        raise TypeError(f"its {name} is {value!r}, not a {kind.__name__}")
    return value


def _check_schedule(name: str, schedule: str) -> None:
    try:
        CronExpression.parse(schedule)
    except CronError as exc:
        raise ValueError(f'the default schedule "{schedule}" of "{name}" is wrong: {exc}') from None
    if len(schedule.split()) == 5:
        raise ValueError(
            f'the default schedule "{schedule}" of "{name}" has five fields; '
            f'schedules start with seconds: did you mean "0 {schedule}"?'
        )


@dataclass(kw_only=True, slots=True)
class Registry:
    """All that was loaded in this process."""

    extensions: dict[str, Loaded] = field(default_factory=dict)
    rejected: list[Loaded] = field(default_factory=list)
    foreign: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def add(self, loaded: Loaded) -> None:
        name = loaded.found.name
        if name in self.extensions:
            loaded.fault(f'the name "{name}" is already taken by {self.extensions[name].found}')
            loaded.jobs.clear()
            loaded.infos.clear()
            self.rejected.append(loaded)
            return
        for job in list(loaded.jobs):
            if owner := next((o for o in self.extensions.values() if job in o.jobs), None):
                loaded.fault(f'its job "{job}" is already registered by {owner.found}')
                del loaded.jobs[job], loaded.infos[job]
        self.extensions[name] = loaded

    def resources(self, kind: str) -> list[tuple[str, Path]]:
        found = [(name, Path(kinds[kind])) for name, kinds in self.foreign.items() if kind in kinds]
        for name, loaded in self.extensions.items():
            if loaded.extension and kind in loaded.extension.resources:
                found.append((name, Path(loaded.extension.resources[kind])))
        return sorted(found)

    def infos(self) -> list[dict[str, Any]]:
        """ExtensionInfo as objects for the wire, with `resources`."""
        return [self._object(item) for item in [*self.extensions.values(), *self.rejected]]

    def _object(self, loaded: Loaded) -> dict[str, Any]:
        info = loaded.info()
        name = info.name if loaded not in self.rejected else str(loaded.found)
        resources = loaded.extension.resources if loaded.extension else {}
        return {
            **{key: getattr(info, key) for key in ExtensionInfo.__dataclass_fields__},
            "name": name,
            "jobs": [{key: getattr(j, key) for key in JobInfo.__dataclass_fields__} for j in info.jobs],
            "resources": {kind: str(folder) for kind, folder in resources.items()},
        }

    def problems(
        self, sections: Mapping[str, Any], jobs: Iterable[Mapping[str, Any]]
    ) -> list[SectionProblem]:
        """What the models say of the configured sections and parameters."""
        jobs = list(jobs)
        used = {job["extension"] for job in jobs}
        found: list[SectionProblem] = []
        for name, loaded in self.extensions.items():
            if loaded.extension and (name in sections or name in used):
                model = loaded.extension.config_model
                found += _mismatches(("extensions", name), model, sections.get(name) or {})
        for job in jobs:
            owner = self.extensions.get(job["extension"])
            if owner and (implementation := owner.jobs.get(job["job"])):
                where = ("scheduler", "jobs", job["name"], "parameters")
                found += _mismatches(where, implementation.parameters, job["parameters"] or {})
        return found


def _mismatches(where: tuple[str, ...], model: Any, data: Any) -> list[SectionProblem]:
    if not isinstance(data, Mapping):
        return [SectionProblem(where=where, path=(), message="must be a mapping of keys to values")]
    try:
        build(model, data)
    except MismatchError as exc:
        return [SectionProblem(where=where, path=path, message=text) for path, text in exc.problems]
    except Exception as exc:  # a model's validators are an extension's code
        return [SectionProblem(where=where, path=(), message=f"cannot be checked: {describe(exc)}")]
    return []
