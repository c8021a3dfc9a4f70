"""Every error of ours.

SchedulerError
├── CronError                 a cron expression that cannot be read
├── ConfigurationError        mistakes in the YAML, all of them at once        daemon exit 78
├── StateDirectoryError       the state directory cannot be had                daemon exit 75
├── DatabaseUnavailableError  no answer from PostgreSQL                        daemon exit 75
├── DatabaseUnusableError     it answers, but it is not one we can use         daemon exit 78
├── MigrationError            a migration failed, or its file was edited       daemon exit 78
├── JobPlaneError             the zygote or a worker did not do as agreed
└── RequestError              an operator's request that is refused            CLI exit 1
    ├── UnknownJobError
    ├── UnknownRunError
    ├── JobUnavailableError
    ├── CollisionError        another run of the same concurrency key is live
    ├── OtherRevisionError    another node has put another configuration in force
    ├── InvalidParametersError
    ├── NotAllowedError
    ├── NoChannelError        notifications go nowhere
    └── NoAppLogError         the application's log cannot be read
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal


class SchedulerError(Exception):
    """Base of every error that is ours; its text is one clear line for a person."""

    exit_code: ClassVar[int] = 70


class CronError(SchedulerError, ValueError):
    """A cron expression that cannot be read.

    `field` is the field's name ("minute") or "expression", `text` the offending text,
    `column` its 1-based column in the expression.
    """

    def __init__(self, message: str, *, field: str, text: str, column: int) -> None:
        super().__init__(message)
        self.field = field
        self.text = text
        self.column = column


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Problem:
    """One mistake, or doubt, in the configuration and its place (line and column start at 1)."""

    file: str
    line: int
    column: int
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        mark = "" if self.severity == "error" else "warning: "
        return f"{self.file}:{self.line}:{self.column}: {mark}{self.message}"


class ConfigurationError(SchedulerError):
    """The configuration is not usable; `problems` lists every mistake, not only the first."""

    exit_code = 78

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


class StateDirectoryError(SchedulerError):
    exit_code = 75


class DatabaseUnavailableError(SchedulerError):
    exit_code = 75


class DatabaseUnusableError(SchedulerError):
    exit_code = 78


class MigrationError(SchedulerError):
    exit_code = 78


class JobPlaneError(SchedulerError):
    pass


class RequestError(SchedulerError):
    """An operator's request that is refused. `code` is stable, for programs; `status` is HTTP's."""

    exit_code = 1
    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-request"


class UnknownJobError(RequestError):
    status = 404
    code = "unknown-job"

    def __init__(self, name: str, nearest: Sequence[str] = ()) -> None:
        hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
        super().__init__(f'no job is named "{name}"{hint}')
        self.nearest = tuple(nearest)


class UnknownRunError(RequestError):
    status = 404
    code = "unknown-run"


class JobUnavailableError(RequestError):
    status = 409
    code = "job-unavailable"


class CollisionError(RequestError):
    """`blocking` is the id of the live run that is in the way."""

    status = 409
    code = "collision"

    def __init__(self, message: str, *, blocking: str) -> None:
        super().__init__(message)
        self.blocking = blocking


class OtherRevisionError(RequestError):
    """This node plans by another configuration than the one in force, `revision`: it may claim nothing."""

    status = 409
    code = "other-revision"

    def __init__(self, revision: str) -> None:
        super().__init__(f"revision {revision[:12]} of another node is in force; reload this one")
        self.revision = revision


class InvalidParametersError(RequestError):
    status = 422
    code = "invalid-parameters"


class NotAllowedError(RequestError):
    status = 403
    code = "not-allowed"


class NoChannelError(RequestError):
    status = 409
    code = "no-channel"


class NoAppLogError(RequestError):
    status = 404
    code = "no-app-log"
