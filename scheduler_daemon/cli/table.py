"""Plain tables: aligned, and as narrow as the terminal wants it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scheduler_daemon.cli.terminal import Terminal, clean, columns, shorten

GAP = "  "
Cell = str | tuple[str, ...]
"""A text, or a text with the names of its styles."""


def table(terminal: Terminal, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    """Lines of a table; its last column is cut where the terminal is too narrow."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(columns(text) for text in column) for column in zip(heads, *cells, strict=True)]
    limit = terminal.width
    if limit is not None and _whole(widths) > limit:
        widths[-1] = max(columns(heads[-1]), 12, widths[-1] - (_whole(widths) - limit))
    yield terminal.paint(_line(heads, widths, [()] * len(heads), terminal), "bold").rstrip()
    for row, texts in zip(rows, cells, strict=True):
        yield _line(texts, widths, [_styles(cell) for cell in row], terminal).rstrip()


def fits(terminal: Terminal, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> bool:
    """Whether a table needs no cut; always so where nobody counts columns."""
    if terminal.width is None:
        return True
    widths = [
        max(columns(text) for text in column)
        for column in zip(heads, *([_text(cell) for cell in row] for row in rows), strict=True)
    ]
    return _whole(widths) <= terminal.width


def pairs(terminal: Terminal, rows: Sequence[tuple[str, Cell]]) -> Iterator[str]:
    """Names and values below each other; rows without a value are left out."""
    shown = [(name, value) for name, value in rows if _text(value)]
    width = max((columns(name) for name, _ in shown), default=0)
    for name, value in shown:
        label = terminal.paint(pad(name, width), "dim")
        yield f"{label}{GAP}{terminal.paint(_text(value), *_styles(value))}"


def pad(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _line(
    texts: Sequence[str], widths: Sequence[int], styles: Sequence[tuple[str, ...]], terminal: Terminal
) -> str:
    parts = []
    for text, width, style in zip(texts, widths, styles, strict=True):
        short = shorten(text, width)
        parts.append(terminal.paint(short, *style) + " " * (width - columns(short)))
    return GAP.join(parts)


def _whole(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _text(cell: Cell) -> str:
    return clean(cell if isinstance(cell, str) else cell[0])


def _styles(cell: Cell) -> tuple[str, ...]:
    return () if isinstance(cell, str) else cell[1:]
