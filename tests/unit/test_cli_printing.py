"""Terminals and tables: harmless, aligned, no wider than they may be."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_daemon.cli.chart import buckets, draw
from scheduler_daemon.cli.table import fits, pairs, spilling, table
from scheduler_daemon.cli.terminal import Terminal, clean, columns, shorten
from scheduler_daemon.cli.wording import outcome, shortest


class Screen(io.StringIO):
    """Looks like a terminal of a given encoding."""

    def __init__(self, encoding: str = "utf-8", live: bool = True) -> None:
        super().__init__()
        self._encoding = encoding
        self._live = live

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._live

    def fileno(self) -> int:
        raise OSError("no file")


def test_colour_on_a_terminal_only_and_not_where_it_is_not_wanted() -> None:
    assert Terminal(Screen(), environ={}).paint("x", "red") == "\x1b[31mx\x1b[0m"
    assert Terminal(Screen(), environ={"NO_COLOR": "1"}).paint("x", "red") == "x"
    assert Terminal(Screen(), environ={"TERM": "dumb"}).paint("x", "red") == "x"
    assert Terminal(Screen(live=False), environ={}).paint("x", "red") == "x"


@given(st.text())
def test_nothing_that_is_printed_steers_a_terminal(text: str) -> None:
    told = clean(text)
    assert not any(
        letter < " " or "\x7f" <= letter <= "\x9f" or "\u202a" <= letter <= "\u202e" for letter in told
    )


@given(st.text(alphabet="ab宽\u0301 é", max_size=40), st.integers(1, 30))
def test_a_shortened_text_fits(text: str, width: int) -> None:
    assert columns(shorten(text, width)) <= width


def test_a_table_fits_its_terminal_by_its_last_column() -> None:
    terminal = Terminal(Screen(), environ={}, colour=False)
    rows = [("a", "x" * 200), ("bbb", "short")]
    lines = list(table(terminal, ("NAME", "TEXT"), rows))
    assert lines[0] == "NAME  TEXT"
    assert lines[1].startswith("a     xxx")
    assert lines[1].endswith("…")
    assert max(map(columns, lines)) == 80
    assert not fits(terminal, ("NAME", "TEXT"), rows)
    assert fits(terminal, ("NAME", "TEXT"), rows, give=1)
    piped = Terminal(Screen(live=False), environ={})
    assert "x" * 200 in list(table(piped, ("NAME", "TEXT"), rows))[1]


def test_a_table_that_is_far_too_wide_shrinks_where_it_is_widest() -> None:
    terminal = Terminal(Screen(), environ={}, colour=False)
    lines = list(table(terminal, ("A", "B", "C"), [("a" * 60, "b" * 30, "c" * 90)]))
    assert max(map(columns, lines)) == 80
    assert "b" * 20 in lines[1]


def test_last_cells_that_do_not_fit_come_below_their_rows() -> None:
    terminal = Terminal(Screen(), environ={}, colour=False)
    rows = [("a", "short"), ("b", "word " * 20), ("c", "")]
    lines = list(spilling(terminal, ("NAME", "TEXT"), rows))
    assert lines[:3] == ["NAME  TEXT", "a     short", "b"]
    assert lines[3].startswith("    word word")
    assert lines[-1] == "c"
    assert max(map(columns, lines)) <= 80
    assert "".join(lines).count("word") == 20
    crowded = [("n" * 70, "a text for below")]
    assert list(spilling(terminal, ("NAME", "TEXT"), crowded)) == ["NAME", "n" * 70, "    a text for below"]
    piped = Terminal(Screen(live=False), environ={})
    assert len(list(spilling(piped, ("NAME", "TEXT"), rows))) == 4


def test_wrapped_lines_fit_and_keep_their_indentation() -> None:
    terminal = Terminal(Screen(), environ={}, colour=False)
    lines = terminal.wrap("word " * 40, "  • ", "    ")
    assert len(lines) > 2
    assert max(map(columns, lines)) <= 80
    assert lines[0].startswith("  • word")
    assert all(line.startswith("    word") for line in lines[1:])
    assert len(Terminal(Screen(live=False), environ={}).wrap("word " * 40)) == 1


def test_pairs_leave_out_what_has_no_value() -> None:
    terminal = Terminal(Screen(live=False), environ={})
    assert list(pairs(terminal, [("one", "1"), ("none", ""), ("three", "3")])) == ["one    1", "three  3"]


def test_ascii_terminals_get_ascii() -> None:
    screen = Screen("ascii")
    Terminal(screen, environ={}).line("✓ naïve")
    assert screen.getvalue() == "? na?ve\n"


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"message": "no milk", "error": "no milk"}, "no milk"),
        (
            {"reason": "worker_died", "error": "its worker was killed by SIGSEGV"},
            "its worker was killed by SIGSEGV",
        ),
        ({"reason": "worker_died"}, "its worker died"),
        ({"message": "half", "error": "ValueError: x\nmore"}, "half · ValueError: x"),
    ],
)
def test_what_came_of_a_run_is_said_once(run: dict[str, str], told: str) -> None:
    assert outcome({"status": "failed", **run}) == told


def test_ids_are_shown_as_short_as_tells_them_apart() -> None:
    one = "01a202c6-8ec0-7d4d-aab0-07eee478facf"
    assert shortest([one, one.replace("7d4d", "7d4e")]) == 18
    assert shortest([one, one.replace("aab0", "aab1")]) == 23
    assert shortest([one, one.replace("facf", "facd")]) == 36
    assert shortest([]) == 18


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_chart_is_as_wide_as_the_terminal(encoding: str) -> None:
    terminal = Terminal(Screen(encoding), environ={}, colour=False)
    many = buckets(terminal, ["nightly_job"])
    row = {
        "job": "nightly_job",
        "state": "scheduled",
        "past": [{"succeeded": 1}] * (many // 2 - 1) + [{"failed": 1, "succeeded": 3}] + [{}] * (many // 2),
        "coming": [0] * (many // 2) + [1, 7] + [0] * (many // 2 - 2),
    }
    answer = {
        "start": "2026-11-21T12:00:00Z",
        "now": "2026-11-22T12:00:00Z",
        "end": "2026-11-23T12:00:00Z",
        "rows": [row],
        "together": [1, 12] + [3] * (many - 2),
    }
    axis, line, together, _, _ = draw(answer, terminal)
    assert columns(axis) == columns("nightly_job ") + many + 1 <= 80
    past, _, coming = line.removeprefix("nightly_job ").partition("│" if encoding == "utf-8" else ":")
    assert past.endswith("✗" if encoding == "utf-8" else "x")
    assert coming.startswith("|‖" if encoding == "utf-8" else "|H")
    assert together.removeprefix("together    ").startswith(" +3")
    assert (line + together).isascii() is (encoding == "ascii")


def test_what_a_failed_run_says_is_said_once() -> None:
    run = {"status": "failed", "message": "not sent: no answer", "error": "not sent: no answer"}
    assert outcome({**run, "reason": None, "items_processed": 0}) == "0 processed · not sent: no answer"
    assert outcome({**run, "error": "ValueError: no"}) == "not sent: no answer · ValueError: no"
