"""YAML → frozen settings: every mistake at once, each with file:line:column."""

from scheduler_daemon.config.binding import (
    Binding,
    bindings,
    doubts,
    faulty_extensions,
    require_fitting,
    section_problems,
    unavailable_jobs,
    unused_sections,
)
from scheduler_daemon.config.loading import Loaded, Planned, load, planned
from scheduler_daemon.config.plaintext import plain_secrets

__all__ = [
    "Binding",
    "Loaded",
    "Planned",
    "bindings",
    "doubts",
    "faulty_extensions",
    "load",
    "plain_secrets",
    "planned",
    "require_fitting",
    "section_problems",
    "unavailable_jobs",
    "unused_sections",
]
