"""Step 6, llms.txt and llms-full.txt by llmstxt.org."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from scheduler_web.publish.documents import Document, encoded
from scheduler_web.publish.products import Product
from scheduler_web.publish.site import Site
from scheduler_web.publish.view import View

Bodies = Callable[[list[str]], dict[str, str]]
"""Document ids → their Markdown."""


def plan(site: Site, bodies: Bodies) -> list[Product]:
    return [
        Product("llms.txt", short),
        Product("llms-full.txt", full, (bodies,)),
    ]


def short(view: View) -> bytes:
    """A heading, a summary, a paragraph, then every document under its source's name."""
    view.look("labels")
    site = view.inputs.site
    lines = [*_head(site)]
    for name in site.sources:
        if not site.lists[name]:
            continue
        lines += [f"## {_line(site.title_of(name))}", ""]
        lines += [_entry(view, document) for document in site.lists[name]]
        lines.append("")
    lines += ["## Optional", "", f"- [Full text]({view.absolute('/llms-full.txt')}): all of it in one file"]
    if site.posts:
        lines.append(f"- [Archive]({view.absolute('/archive/')}): everything published, by year")
    return ("\n".join(lines) + "\n").encode()


def full(view: View, bodies: Bodies) -> bytes:
    """The documents themselves, in the order of llms.txt, as many as the configured size takes."""
    site = view.inputs.site
    parts = ["\n".join(_head(site))]
    size, left = len(parts[0].encode()), 0
    for document, body in _texts(site, bodies):
        part = f"\n# {_line(document.title)}\n\nSource: {view.absolute(encoded(document.url))}\n\n{body}\n"
        size += len(part.encode())
        if size > site.config.llms_full_bytes:
            left = len(site.documents) - len(parts) + 1
            break
        parts.append(part)
    view.look("first", len(parts))
    if left:
        parts.append(f"\n{left} more documents are listed in {view.absolute('/llms.txt')}\n")
    return "".join(parts).encode()


def _texts(site: Site, bodies: Bodies) -> Iterator[tuple[Document, str]]:
    """Few at a time: most sites have more text than the file may hold."""
    ordered = list(site.in_order())
    for start in range(0, len(ordered), 50):
        some = ordered[start : start + 50]
        found = bodies([d.id for d in some])
        yield from ((d, _without_title(d, found[d.id])) for d in some if d.id in found)


def _without_title(document: Document, body: str) -> str:
    return re.sub(r"\A\s*#[ \t]+" + re.escape(document.title) + r"[ \t]*#*[ \t]*(\n|\Z)", "", body).strip(
        "\n"
    )


def _head(site: Site) -> list[str]:
    settings = site.config.site
    summary = settings.description or settings.name
    return [
        f"# {_line(settings.name)}",
        "",
        f"> {_line(summary)}",
        "",
        f"{len(site.documents)} documents. Their addresses follow; each is an HTML page.",
        "",
    ]


def _entry(view: View, document: Document) -> str:
    notes = document.description
    title = document.title
    if "[" in title or "]" in title or "\\" in title:
        title = re.sub(r"([\[\]\\])", r"\\\1", title)
    url = view.absolute(encoded(document.url)).replace("(", "%28").replace(")", "%29")
    return f"- [{title}]({url}): {notes}" if notes else f"- [{title}]({url})"


def _line(text: str) -> str:
    return " ".join(text.split())
