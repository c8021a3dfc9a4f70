"""One page, many spellings: what an address in an event stands for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from urllib.parse import unquote

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LANGUAGE = re.compile(r"[A-Za-z]{2}(-[A-Za-z]{2,4})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_INDEX = re.compile(r"index\.html?", re.IGNORECASE)
LONGEST = 600
"""Characters of a path that are kept: an index of PostgreSQL takes no key above 2,704 bytes."""


def path_of(url: str) -> str:
    """The page's path without scheme, host, query, fragment, final slash and index.html, decoded: "/blog/a".

    Never fails: `url` may be anything that a beacon sent.
    """
    text = url.strip().partition("#")[0].partition("?")[0].replace("\\", "/")
    if match := _SCHEME.match(text):
        text = text[match.end() :]
    if text.startswith("//"):
        text = "/" + text[2:].partition("/")[2]
    decoded = unicodedata.normalize("NFC", _CONTROL.sub("\N{REPLACEMENT CHARACTER}", unquote(text)))
    parts: list[str] = []
    for part in decoded.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if parts and _INDEX.fullmatch(parts[-1]):
        parts.pop()
    return ("/" + "/".join(parts))[:LONGEST]


def without_language(path: str, languages: Collection[str] | None = None) -> str:
    """The path without a first part that is one of `languages` (lower case); None: that looks like one."""
    first, _, rest = path[1:].partition("/")
    found = _LANGUAGE.fullmatch(first) if languages is None else first.lower() in languages
    return f"/{rest}" if found else path
