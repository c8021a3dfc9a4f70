"""Plain tables: aligned, and as narrow as the terminal wants it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scheduler_daemon.cli.terminal import Terminal, clean, columns, shorten

GAP = "  "
LEAST = 14
"""A column that gives way keeps so much."""
BELOW = "    "
Cell = str | tuple[str, ...]
"""A text, or a text with the names of its styles."""


def table(
    terminal: Terminal, heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, give: int = -1
) -> Iterator[str]:
    """Lines of a table. Where the terminal is too narrow the column `give` is cut, then the widest ones."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(columns(text) for text in column) for column in zip(heads, *cells, strict=True)]
    if terminal.width is not None:
        _squeeze(widths, heads, terminal.width, give)
    yield terminal.paint(_line(heads, widths, [()] * len(heads), terminal), "bold").rstrip()
    for row, texts in zip(rows, cells, strict=True):
        yield _line(texts, widths, [_styles(cell) for cell in row], terminal).rstrip()


def spilling(
    terminal: Terminal, heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, give: int = -1
) -> Iterator[str]:
    """A table whose last cells are never cut: what does not fit beside its row comes below it.

    `give`: of the others, the one that is cut first.
    """
    last = [_text(row[-1]) for row in rows]
    room = _room(terminal, heads, rows)
    beside = [room is None or columns(text) <= room for text in last]
    if room is None or (room >= LEAST and any(text for text, fits in zip(last, beside, strict=True) if fits)):
        whole = [row if fits else (*row[:-1], "") for row, fits in zip(rows, beside, strict=True)]
        head, *lines = table(terminal, heads, whole)
    else:
        beside = [False] * len(rows)
        head, *lines = table(terminal, heads[:-1], [row[:-1] for row in rows], give=give)
    yield head
    for line, row, fits in zip(lines, rows, beside, strict=True):
        yield line
        if not fits:
            for part in terminal.wrap(_text(row[-1]), BELOW):
                yield terminal.paint(part, *_styles(row[-1]))


def _room(terminal: Terminal, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> int | None:
    """What the last column may take; None where nobody counts columns."""
    if terminal.width is None:
        return None
    columns_but_last = list(zip(heads, *([_text(cell) for cell in row] for row in rows), strict=True))[:-1]
    return terminal.width - sum(max(map(columns, column)) + len(GAP) for column in columns_but_last)


def fits(
    terminal: Terminal, heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, give: int | None = None
) -> bool:
    """Whether a table needs no cut, but of the column `give`; always so where nobody counts columns."""
    if terminal.width is None:
        return True
    widths = [
        max(columns(text) for text in column)
        for column in zip(heads, *([_text(cell) for cell in row] for row in rows), strict=True)
    ]
    if give is not None:
        widths[give] = min(widths[give], LEAST)
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


def _squeeze(widths: list[int], heads: Sequence[str], limit: int, give: int) -> None:
    """Make them fit into `limit`, if that can be; no column gets narrower than its head."""
    spare = max(columns(heads[give]), LEAST)
    widths[give] = min(widths[give], max(spare, widths[give] - (_whole(widths) - limit)))
    while _whole(widths) > limit:
        widest = max(range(len(widths)), key=lambda one: widths[one] - columns(heads[one]))
        if widths[widest] <= columns(heads[widest]):
            return
        widths[widest] -= 1


def _whole(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _text(cell: Cell) -> str:
    return clean(cell if isinstance(cell, str) else cell[0])


def _styles(cell: Cell) -> tuple[str, ...]:
    return () if isinstance(cell, str) else cell[1:]
