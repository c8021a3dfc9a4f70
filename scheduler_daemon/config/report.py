"""The mistakes found so far, and the words they share."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from scheduler_daemon.config.tree import Place
from scheduler_daemon.errors import Problem


class Report:
    """Collects problems; the same one at the same place counts once."""

    def __init__(self) -> None:
        self._problems: dict[Problem, None] = {}
        self._wrong: set[Place] = set()

    def error(self, place: Place, message: str) -> None:
        self._problems[problem(place, message)] = None
        self._wrong.add(place)

    @property
    def places(self) -> frozenset[Place]:
        """Where something is known to be wrong."""
        return frozenset(self._wrong)

    def warning(self, place: Place, message: str) -> None:
        self._problems[problem(place, message, "warning")] = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(p for p in self._problems if p.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(p for p in self._problems if p.severity == "warning")


def problem(place: Place, message: str, severity: Literal["error", "warning"] = "error") -> Problem:
    return Problem(
        file=shown(place.file),
        line=place.line,
        column=place.column,
        message=one_line(message),
        severity=severity,
    )


def shown(file: Path) -> str:
    """A path as a person would type it: relative to the working directory where it lies below that."""
    try:
        return printable(str(file.relative_to(Path.cwd())))
    except (ValueError, OSError):
        return printable(str(file))


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """` (did you mean "…"?)`, or nothing where no candidate is near."""
    near = nearest(name, candidates)
    return f" (did you mean {' or '.join(quoted(n) for n in near)}?)" if near else ""


def nearest(name: str, candidates: Iterable[str], limit: int = 1) -> list[str]:
    """The candidates most like `name`, whatever their case, best first."""
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(candidate.casefold(), candidate)
    return [folded[key] for key in get_close_matches(name.casefold(), folded, n=limit, cutoff=0.6)]


def quoted(text: str, limit: int = 80) -> str:
    shortened = text if len(text) <= limit else text[: limit - 1] + "…"
    return f'"{printable(shortened)}"'


def printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    return printable(" ".join(text.split())) if not text.isprintable() else text
