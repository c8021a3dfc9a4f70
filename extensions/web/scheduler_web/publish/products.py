"""Files that are rendered: planned in full each time, made only when something they are made from changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scheduler_web.publish.view import View


class Product(NamedTuple):
    """One file. `subject` is the id of the document that it is the page of, if it is one's."""

    path: str
    render: Callable[[View], bytes]
    subject: str = ""
