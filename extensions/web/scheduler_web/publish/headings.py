"""Heading ids and the table of contents, as GitHub makes them."""

from __future__ import annotations

import re
from typing import Any

from mistune import Markdown
from mistune.core import BlockState

_DROPPED = re.compile(r"[^\w\- ]")
_FOOTNOTE = re.compile(r"fn(ref)?-\d+\Z")


class Slugger:
    """Lower case, punctuation dropped, spaces to hyphens; -1, -2 … for one that is taken."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def slug(self, text: str) -> str:
        base = _DROPPED.sub("", text.strip().lower()).replace(" ", "-") or "section"
        if _FOOTNOTE.match(base):
            base = f"section-{base}"
        slug = base
        while slug in self._seen:
            self._seen[base] += 1
            slug = f"{base}-{self._seen[base]}"
        self._seen[slug] = 0
        return slug


def outline(markdown: Markdown, state: BlockState) -> None:
    """Before rendering: give each top-level heading its id, and list them in env["outline"].

    The first heading is dropped when it repeats the document's title.
    """
    slugger = Slugger()
    entries: list[tuple[int, str, str]] = []
    ids: list[str] = []
    first = next((t for t in state.tokens if t["type"] not in ("blank_line", "newline")), None)
    for token in list(state.tokens):
        if token["type"] != "heading":
            continue
        text = plain(markdown.inline(token["text"], dict(state.env)))
        level = token["attrs"]["level"]
        title = state.env["title"].strip()
        if token is first and level == 1 and title in (text.strip(), token["text"].strip()):
            state.tokens.remove(token)
            continue
        mark = slugger.slug(text)
        token["attrs"]["id"] = mark
        ids.append(mark)
        if level > 1:
            entries.append((level, mark, " ".join(text.split())))
    state.env["outline"] = entries
    state.env["heading_ids"] = ids


def plain(tokens: list[dict[str, Any]]) -> str:
    """The text of inline tokens, without marks."""
    parts = []
    for token in tokens:
        if token["type"] == "inline_html":
            continue
        if token["type"] in ("softbreak", "linebreak"):
            parts.append(" ")
        elif "children" in token:
            parts.append(plain(token["children"]))
        else:
            parts.append(str(token.get("raw", "")))
    return "".join(parts)
