"""Where text goes: how wide, with colour or not, and never with bytes that steer a terminal."""

from __future__ import annotations

import os
import sys
import textwrap
import unicodedata
from collections.abc import Mapping
from typing import TextIO

PLAIN_WIDTH = 80
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_STEERING = dict.fromkeys((*range(32), *range(127, 160), 8206, 8207, *range(8234, 8239)), "�")
"""C0, DEL and C1 control characters, and marks that turn the direction of text."""


class Terminal:
    """`live`: a person looks at it, and lines can be redrawn."""

    def __init__(
        self, stream: TextIO, *, colour: bool | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.stream = stream
        self.live = stream.isatty() and environ.get("TERM") != "dumb"
        wanted = self.live and not environ.get("NO_COLOR") if colour is None else colour
        self.colour = wanted
        self.unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"

    @property
    def width(self) -> int | None:
        """Columns; None where nobody counts them."""
        if not self.live:
            return None
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or PLAIN_WIDTH
        except OSError:
            return PLAIN_WIDTH

    def paint(self, text: str, *styles: str) -> str:
        if not self.colour or not styles or not text:
            return text
        codes = ";".join(_CODES[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def wrap(self, text: str, first: str = "", rest: str | None = None) -> list[str]:
        """`text` in lines that fit, behind `first` and then `rest`; one line where nobody counts columns."""
        if not text:
            return []
        if self.width is None:
            return [first + text]
        indent = first if rest is None else rest
        return textwrap.wrap(text, max(20, self.width), initial_indent=first, subsequent_indent=indent)

    def line(self, text: str = "") -> None:
        print(self.printable(text), file=self.stream)

    def printable(self, text: str) -> str:
        """What the stream's encoding can hold."""
        encoding = self.stream.encoding or "ascii"
        return text if self.unicode else text.encode(encoding, "replace").decode(encoding)


def stdout(colour: bool | None = None) -> Terminal:
    return Terminal(sys.stdout, colour=colour)


def clean(text: object) -> str:
    """One line of harmless text, whatever a job or a file put into it."""
    return " ".join(str(text).split()).translate(_STEERING)


def clean_block(text: object) -> list[str]:
    """The same, keeping lines and their indentation."""
    return [line.expandtabs().translate(_STEERING).rstrip() for line in str(text).splitlines()]


def columns(text: str) -> int:
    """How many columns a text takes: wide letters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` columns, an ellipsis where it was cut."""
    if columns(text) <= width:
        return text
    kept = ""
    for letter in text:
        if columns(kept + letter) > width - 1:
            break
        kept += letter
    return kept + "…" if width > 0 else ""
