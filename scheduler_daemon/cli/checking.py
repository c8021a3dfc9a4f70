"""`check`: the configuration, and what the installed extensions say of it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click

from scheduler_daemon.cli.wording import counted


def check_configuration(file: Path, *, strict: bool) -> int:
    """Print every problem; 0 clean or warnings (1 under `strict`), 1 errors."""
    from scheduler_daemon.config import doubts, load
    from scheduler_daemon.errors import ConfigurationError

    try:
        loaded = load(file)
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(str(problem))
        return _summary(len(error.problems), 0, strict)
    found = [*loaded.warnings, *doubts(loaded.settings, datetime.now(UTC)), *_of_extensions(loaded)]
    for problem in sorted(found):
        click.echo(str(problem))
    errors = sum(problem.severity == "error" for problem in found)
    if not found:
        click.echo(f"{file}: {counted(len(loaded.settings.jobs), 'job')}, no problems found")
        return 0
    return _summary(errors, len(found) - errors, strict)


def _summary(errors: int, warnings: int, strict: bool) -> int:
    click.echo(f"{counted(errors, 'error')}, {counted(warnings, 'warning')}", err=True)
    return 1 if errors or (warnings and strict) else 0


def _of_extensions(loaded: Any) -> list[Any]:
    """What a job plane, started for the purpose, finds: sections, parameters, code that is not there."""
    from scheduler_daemon.config import (
        faulty_extensions,
        plain_secrets,
        section_problems,
        unavailable_jobs,
        unused_sections,
    )
    from scheduler_daemon.errors import JobPlaneError

    try:
        catalogue = asyncio.run(_catalogue(loaded))
    except JobPlaneError as error:
        return [_at_the_interpreter(loaded, f"the job plane does not start: {error}", "error")]
    return [
        *section_problems(loaded, catalogue.problems),
        *plain_secrets(loaded, catalogue),
        *unused_sections(loaded, catalogue),
        *unavailable_jobs(loaded, catalogue),
        *faulty_extensions(loaded, catalogue),
        *_of_environment(loaded),
    ]


def _of_environment(loaded: Any) -> list[Any]:
    from scheduler_daemon.cli.environment import misfits

    python = loaded.settings.jobplane_python
    found = misfits(python) if python is not None else []
    return [_at_the_interpreter(loaded, f"jobplane.python: {line}", "warning") for line in found]


def _at_the_interpreter(loaded: Any, message: str, severity: Literal["error", "warning"]) -> Any:
    from scheduler_daemon.config.report import problem

    return problem(loaded.locate(("jobplane", "python")), message, severity)


async def _catalogue(loaded: Any) -> Any:
    import structlog

    from scheduler_daemon.logs import configure
    from scheduler_daemon.runner.plane import Discovery, JobPlane

    configure(level="CRITICAL", as_json=False)
    plane = JobPlane(python=Path(sys.executable), log=structlog.get_logger(__name__))
    with tempfile.TemporaryDirectory() as folder:
        request = replace(Discovery.of(loaded.settings, None), state_dir=Path(folder))
        try:
            return await plane.start(request)
        finally:
            await plane.stop(0)
