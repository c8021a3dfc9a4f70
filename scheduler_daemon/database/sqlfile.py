"""A file of SQL, cut into its statements, so that an error can name its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* )
    | (?P<block>   /\* )
    | (?P<dollar>  \$(?:[^\W\d]\w*)?\$ )
    | (?P<escape>  \b[eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<string>  '(?:[^']|'')*' )
    | (?P<name>    "(?:[^"]|"")*" )
    | (?P<word>    [^\W\d][\w$]* )
    | (?P<end>     ; )
    | (?P<open>    \( )
    | (?P<close>   \) )
    | (?P<other>   \S )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """`text` without the closing semicolon; its first word, `verb`, is at `offset` (from 0), `line` (1)."""

    text: str
    offset: int
    line: int
    verb: str


def statements(text: str) -> Iterator[Statement]:
    """Cut `text` at its semicolons, heeding quotes, comments, brackets and BEGIN ATOMIC … END bodies."""
    start: int | None = None
    verb, depth, bodies = "", 0, 0
    position, previous = 0, ""
    while (token := _TOKEN.search(text, position)) is not None:
        kind, position = token.lastgroup, token.end()
        if kind == "comment":
            continue
        if kind == "block":
            position = _block_end(text, token.start())
            continue
        if kind == "dollar":
            closing = text.find(token[0], position)
            position = len(text) if closing < 0 else closing + len(token[0])
        word = token[0].upper() if kind == "word" else ""
        if kind == "end" and depth <= 0 and bodies == 0:
            if start is not None:
                yield _statement(text, start, token.start(), verb)
            start, verb, depth = None, "", 0
            continue
        if start is None:
            start, verb = token.start(), word
        depth += (kind == "open") - (kind == "close")
        bodies += _opens_body(word, previous, bodies) - (word == "END" and bodies > 0)
        previous = word
    if start is not None:
        yield _statement(text, start, len(text), verb)


def _statement(text: str, start: int, end: int, verb: str) -> Statement:
    line = text.count("\n", 0, start) + 1
    return Statement(text=text[start:end].rstrip(), offset=start, line=line, verb=verb)


def _opens_body(word: str, previous: str, bodies: int) -> bool:
    return (word == "ATOMIC" and previous == "BEGIN") or (word == "CASE" and bodies > 0)


def _block_end(text: str, start: int) -> int:
    """The end of a /* comment */, which may hold others."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)
