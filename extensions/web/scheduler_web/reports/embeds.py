"""Embeds within Discord's limits, made of text that comes from anywhere.

Limits (Discord's documentation, "Embed Limits"): title 256, description 4,096, 25 fields, field name 256 and
value 1,024, footer 2,048, author 256; 6,000 over all embeds of a message, 10 embeds. Counted here in UTF-16
units, which are never fewer than characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypedDict

TITLE, DESCRIPTION, NAME, VALUE, FOOTER = 256, 4096, 256, 1024, 2048
FIELDS, TOTAL = 25, 6000
GREEN, RED, GREY, BLURPLE = 0x57F287, 0xED4245, 0x99AAB5, 0x5865F2
_MARKDOWN = re.compile(r"([\\*_~`|>\[\]()#<:])")
_MARKS = re.compile(r"\\(.)|\*\*|\[((?:\\.|[^\]\\])*)\]\([^)]*\)")
_BREAKS = re.compile(r"[\s\x00-\x1f\u2028\u2029]+")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")


class Field(TypedDict):
    name: str
    value: str
    inline: bool


class Embed(TypedDict, total=False):
    """A message's embed, as Discord's JSON has it."""

    title: str
    description: str
    url: str
    color: int
    fields: list[Field]
    footer: dict[str, str]
    image: dict[str, str]
    timestamp: str


def plain(text: str, limit: int = 80) -> str:
    """Text from anywhere: one line, no markup, no mention, nothing that changes its direction."""
    line = _DIRECTION.sub("", _BREAKS.sub(" ", text)).strip()
    line = line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
    return _MARKDOWN.sub(r"\\\1", line).replace("@", "@\N{ZERO WIDTH SPACE}")


def link(text: str, url: str, limit: int = 60) -> str:
    """A link; `url` is ours, and is left out where it could end the link early."""
    if re.search(r"[\s()<>]", url):
        return plain(text, limit)
    return f"[{plain(text, limit)}]({url})"


def readable(text: str) -> str:
    """Text of `plain` and `link` for people who see it unrendered."""
    found = _MARKS.sub(lambda mark: mark[1] or readable(mark[2] or ""), text)
    return found.replace("@\N{ZERO WIDTH SPACE}", "@")


def field(name: str, lines: Iterable[str], *, inline: bool = False) -> Field:
    """A field of lines; an empty one says so, for Discord refuses it."""
    return {"name": name, "value": "\n".join(lines) or "–", "inline": inline}


def fit(embed: Embed) -> Embed:
    """The embed cut to Discord's limits: whole lines go first from the longest field, the rest is kept."""
    fitted = embed.copy()
    fitted["title"] = cut(embed.get("title", ""), TITLE)
    fitted["description"] = cut(embed.get("description", ""), DESCRIPTION)
    fitted["fields"] = [
        {"name": cut(f["name"], NAME) or "–", "value": cut(f["value"], VALUE) or "–", "inline": f["inline"]}
        for f in embed.get("fields", [])[:FIELDS]
    ]
    if "footer" in embed:
        fitted["footer"] = {"text": cut(embed["footer"]["text"], FOOTER)}
    while (over := size(fitted) - TOTAL) > 0:
        _shrink(fitted, over)
    return fitted


def size(embed: Embed) -> int:
    """What counts against the 6,000."""
    texts = [embed.get("title", ""), embed.get("description", ""), embed.get("footer", {}).get("text", "")]
    texts += [text for f in embed.get("fields", []) for text in (f["name"], f["value"])]
    return sum(map(length, texts))


def length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """At most `limit` UTF-16 units: whole lines where that keeps half, else characters, no half escape."""
    if length(text) <= limit:
        return text
    kept = text[: limit - 2]
    while length(kept) > limit - 2:
        kept = kept[: -max(1, (length(kept) - limit + 2) // 2)]
    line = kept.rfind("\n")
    if line > len(kept) // 2:
        return kept[:line].rstrip() + "\n…"
    return _whole(kept).rstrip() + "…"


def _whole(text: str) -> str:
    """Without a backslash that lost what it escapes."""
    slashes = len(text) - len(text.rstrip("\\"))
    return text[:-1] if slashes % 2 else text


def _shrink(embed: Embed, over: int) -> None:
    fields = embed["fields"]
    longest = max(fields, key=lambda f: length(f["value"]), default=None)
    if longest is not None and length(longest["value"]) > 80:
        longest["value"] = cut(longest["value"], max(60, length(longest["value"]) - over))
    elif fields:
        fields.pop()
    else:
        embed["description"] = cut(embed["description"], max(1, length(embed["description"]) - over))
