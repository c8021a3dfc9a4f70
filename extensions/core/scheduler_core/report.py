"""What a run says of itself, in a line for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scheduler_core.sweep import Swept
from scheduler_daemon.extension import JobResult


def counted(number: int, noun: str) -> str:
    """1 → "1 session", 1204 → "1,204 sessions"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(volume: int) -> str:
    """Bytes for a person: 96 KB, 1.5 MB."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if abs(volume) >= factor:
            return f"{volume / factor:,.1f} {unit}"
    return f"{volume} bytes"


def swept_line(swept: Swept, verb: str, noun: str, condition: str, *, enforce: bool) -> str:
    """What became of them, as in: removed 1,204 of 1,204 sessions idle for over 1 hour in 2 batches."""
    hanging = " and ".join(counted(number, what) for what, number in swept.dependents.items() if number)
    beside = f" (and {hanging})" if hanging else ""
    if not enforce:
        more = "at least " if swept.braked else ""
        return f"would have {verb} {more}{counted(swept.candidates, noun)}{beside} {condition}"
    if not swept.candidates:
        return f"{verb} no {noun}s {condition}"
    of = f"{swept.removed:,} of {counted(swept.candidates, noun)}"
    batches = f"{swept.batches:,} batch{'' if swept.batches == 1 else 'es'}"
    line = f"{verb} {of}{beside} {condition} in {batches}"
    if swept.left:
        line += f", {swept.left:,} left for the next run: the application holds on to them"
    if swept.braked:
        line += ", stopped at max_rows: the next run carries on"
    return line


def message(
    lines: Iterable[str],
    *,
    warnings: Iterable[str] = (),
    absent: Iterable[str] = (),
    advice: Iterable[str] = (),
) -> str:
    """One line: what was done, what is wrong, what was not there, and what an operator may want to do."""
    parts = list(lines)
    parts += [f"warning: {text}" for text in warnings]
    if gone := list(absent):
        parts.append(f"not in this database: {', '.join(gone)}")
    parts += [f"advice: {text}" for text in advice]
    return "; ".join(parts)


def result(sweeps: Sequence[Swept], text: str) -> JobResult:
    """Success, with the rows removed and those left behind as its counts."""
    removed, left = sum(s.removed for s in sweeps), sum(s.left for s in sweeps)
    return JobResult.success().with_stats(removed, left).with_message(text)


def nothing_done(absent: Sequence[str]) -> JobResult:
    """What the job works on, or needs in order to be sure, is not in this database."""
    text = message(["removed nothing: it cannot be done safely without what is missing"], absent=absent)
    return JobResult.success().with_stats(0, 0).with_message(text)
