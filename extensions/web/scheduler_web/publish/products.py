"""Files that are rendered: planned in full each time, made only when something they are made from changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from scheduler_web.publish.view import View


class Product(NamedTuple):
    """One file. `make(view, *arguments)` gives its content; `subject` is the id of the document that it is
    the page of, if it is one's."""

    path: str
    make: Callable[..., str | bytes]
    arguments: tuple[Any, ...] = ()
    subject: str = ""

    def render(self, view: View) -> bytes:
        content = self.make(view, *self.arguments)
        return content.encode("utf-8", "replace") if isinstance(content, str) else content
