"""Code → HTML with Pygments' short classes; the theme's stylesheet colours them in light and dark."""

from __future__ import annotations

from functools import lru_cache
from html import escape

import pygments
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

VERSION = pygments.__version__
MAX_CODE = 100_000
"""Characters; a longer block is shown plain."""

_PLAIN = frozenset(("", "text", "plain", "txt", "none", "console-output", "output"))
_FORMATTER = HtmlFormatter(nowrap=True)


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@lru_cache(maxsize=512)
def highlight(code: str, language: str) -> str:
    """The inside of <code>. An unknown language is no error: its code is shown plain."""
    lexer = None if language in _PLAIN or len(code) > MAX_CODE else _lexer(language)
    if lexer is None:
        return escape(code, quote=False)
    return str(pygments.highlight(code, lexer, _FORMATTER))


__all__ = ["VERSION", "highlight"]
