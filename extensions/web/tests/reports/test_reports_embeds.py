"""Whatever a title holds, the embed stays within Discord's limits and pings nobody."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_web.reports.embeds import (
    _BREAKS,
    _DIRECTION,
    DESCRIPTION,
    FIELDS,
    NAME,
    TITLE,
    TOTAL,
    VALUE,
    Embed,
    cut,
    field,
    fit,
    length,
    link,
    plain,
    readable,
    size,
)
from scheduler_web.wording import change, clock, points
from scheduler_web.wording import size as bytes_told

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=3000)


@settings(deadline=None, max_examples=60)
@given(
    texts,
    texts.map(lambda text: text * 3),
    st.lists(st.tuples(texts, texts), max_size=30),
    texts,
)
def test_every_embed_fits(title: str, description: str, fields: list[tuple[str, str]], footer: str) -> None:
    embed: Embed = {
        "title": title,
        "description": description,
        "fields": [{"name": name, "value": value, "inline": False} for name, value in fields],
        "footer": {"text": footer},
    }
    fitted = fit(embed)
    assert length(fitted["title"]) <= TITLE
    assert length(fitted["description"]) <= DESCRIPTION
    assert len(fitted["fields"]) <= FIELDS
    assert all(0 < length(f["name"]) <= NAME and 0 < length(f["value"]) <= VALUE for f in fitted["fields"])
    assert size(fitted) <= TOTAL


@settings(deadline=None)
@given(texts, st.integers(10, 2000))
def test_cutting_never_exceeds_and_never_touches_what_fits(text: str, limit: int) -> None:
    assert length(cut(text, limit)) <= limit
    if length(text) <= limit:
        assert cut(text, limit) == text


def test_cuts_at_lines_and_says_so() -> None:
    assert cut("first line\nsecond line\nthird line", 28) == "first line\nsecond line\n…"


def test_does_not_leave_half_an_escape() -> None:
    assert cut("aaaa\\*bbbbbb", 7) == "aaaa…"


@settings(deadline=None)
@given(texts)
def test_text_from_anywhere_is_one_line_without_mentions(text: str) -> None:
    told = plain(text, 200)
    assert "\n" not in told
    assert "@everyone" not in told
    assert "@here" not in told
    assert "<@" not in told.replace("\\<", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("**bold** @everyone", "\\*\\*bold\\*\\* @\u200beveryone"),
        ("[evil](https://evil.example)", "\\[evil\\]\\(https\\://evil.example\\)"),
        ("<@&42> <#7> :smile:", "\\<@\u200b&42\\> \\<\\#7\\> \\:smile\\:"),
        ("two\nlines\tand\x00more", "two lines and more"),
        ("back\\slash `code`", "back\\\\slash \\`code\\`"),
        ("right\u202eto left", "rightto left"),
    ],
)
def test_escapes(text: str, told: str) -> None:
    assert plain(text) == told


def test_a_link_whose_address_could_end_it_early_is_text() -> None:
    assert link("A (b)", "https://example.com/a/") == "[A \\(b\\)](https://example.com/a/)"
    assert link("A", "https://example.com/a)b") == "A"


def test_an_empty_field_says_so() -> None:
    assert field("Top", [])["value"] == "–"


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [(112, 100, "▲12 %"), (97, 100, "▼3 %"), (100, 100, "="), (5, 0, "new"), (0, 0, "="), (None, 3, "–")],
)
def test_tells_changes(now: float | None, before: float | None, told: str) -> None:
    assert change(now, before).replace("\N{NO-BREAK SPACE}", " ") == told


def test_tells_rates_times_and_sizes() -> None:
    assert points(0.45, 0.41) == "▲4\N{NO-BREAK SPACE}pp"
    assert points(None, 0.4) == "–"
    assert clock(125_400) == "2:05"
    assert clock(None) == "–"
    assert bytes_told(1_503_238_553) == "1.4 GB"
    assert bytes_told(12) == "12 bytes"


@settings(deadline=None)
@given(texts)
def test_a_terminal_shows_the_text_as_it_was(text: str) -> None:
    told = f"1\\. {link(text, 'https://example.com/a/', 10_000)} **{plain(text, 10_000)}**"
    plainly = readable(plain(text, 10_000))
    assert readable(told) == f"1. {plainly} {plainly}"
    assert [line for line in plainly.split() if line] == [
        word for word in _DIRECTION.sub("", _BREAKS.sub(" ", text)).replace("@\u200b", "@").split() if word
    ]
