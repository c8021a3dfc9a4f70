"""The timeline as a chart: a row for each job, the past left of the line and what comes right of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scheduler_daemon.cli import times
from scheduler_daemon.cli.table import pad
from scheduler_daemon.cli.terminal import Terminal, clean, shorten

Answer = Mapping[str, Any]
NAME_WIDTH = 30
PLAIN_WIDTH = 100
WORST_FIRST = (
    ("lost", "✗", "x", "red"),
    ("failed", "✗", "x", "red"),
    ("timed_out", "✗", "x", "red"),
    ("missed", "!", "!", "yellow"),
    ("cancelled", "c", "c", "yellow"),
    ("running", "▶", ">", "cyan"),
    ("queued", "▷", ">", "cyan"),
    ("skipped", "–", "-", "dim"),
    ("succeeded", "■", "#", "green"),
)
LEGEND = {
    "succeeded": "ran",
    "failed": "failed",
    "missed": "missed",
    "skipped": "skipped",
    "running": "running",
}


_STYLES = {"scheduled": "bold", "unavailable": "red"}


def names_width(jobs: Sequence[str]) -> int:
    return min(NAME_WIDTH, max([len("together"), *map(len, jobs)]))


def buckets(terminal: Terminal, jobs: Sequence[str]) -> int:
    """How many fit: an even number, so that now is between two."""
    room = (terminal.width or PLAIN_WIDTH) - names_width(jobs) - 2
    return max(10, room - room % 2)


def draw(answer: Answer, terminal: Terminal) -> Iterator[str]:
    width = names_width([row["job"] for row in answer["rows"]])
    many = len(answer["together"])
    middle = many // 2
    yield _axis(answer, width, many)
    for row in answer["rows"]:
        name = pad(shorten(clean(row["job"]), width), width)
        past = "".join(_past(cell, terminal) for cell in row["past"][:middle])
        coming = "".join(_coming(number, terminal) for number in row["coming"][middle:])
        style = _STYLES.get(row["state"], "dim")
        now = terminal.paint(_line(terminal), "bold")
        yield f"{terminal.paint(name, style)} {past}{now}{coming}".rstrip()
    together = [_digit(number) for number in answer["together"]]
    line = "".join(together[:middle]) + _line(terminal) + "".join(together[middle:])
    yield f"{terminal.paint(pad('together', width), 'dim')} {line}".rstrip()
    yield ""
    yield _legend(terminal)


def _axis(answer: Answer, width: int, many: int) -> str:
    """The ends and the middle, in local time."""
    start, now, end = (times.instant(answer[name]).astimezone() for name in ("start", "now", "end"))
    left, middle, right = f"{start:%m-%d %H:%M}", f"{now:%H:%M}", f"{end:%m-%d %H:%M}"
    half = many // 2
    line = pad(left, half - len(middle) // 2) + middle
    return " " * (width + 1) + pad(line, many + 1 - len(right)) + right


def _past(cell: Mapping[str, int], terminal: Terminal) -> str:
    for status, sign, plain, style in WORST_FIRST:
        if cell.get(status):
            return terminal.paint(sign if terminal.unicode else plain, style)
    return "·" if terminal.unicode else "."


def _coming(number: int, terminal: Terminal) -> str:
    if number:
        return terminal.paint("|" if number == 1 else "‖" if terminal.unicode else "H", "blue")
    return "·" if terminal.unicode else "."


def _digit(number: int) -> str:
    """How many fire at the same second; one is no news."""
    return " " if number < 2 else str(number) if number < 10 else "+"


def _line(terminal: Terminal) -> str:
    return "│" if terminal.unicode else ":"


def _legend(terminal: Terminal) -> str:
    signs = {one[0]: (one[1] if terminal.unicode else one[2], one[3]) for one in WORST_FIRST}
    past = "  ".join(f"{terminal.paint(*signs[status])} {name}" for status, name in LEGEND.items())
    many = "‖" if terminal.unicode else "H"
    coming = f"{terminal.paint('|', 'blue')} fires  {terminal.paint(many, 'blue')} fires more than once"
    return f"{past}  {coming}  2-9, +: so many jobs fire at the same second"
