"""What is wrong with the content, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Problem(NamedTuple):
    """`file` as the configuration names it, `line` from 1 (0: the file as a whole)."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


class PublishError(Exception):
    """A step's failure, in one clear line."""


class ContentError(PublishError):
    """Content that cannot be published; what could be is."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        more = f" (and {len(self.problems) - 1} more, see the log)" if len(self.problems) > 1 else ""
        super().__init__(f"{self.problems[0]}{more}")
