"""What a page is given, and a record of all that it took: its dependencies are noted, never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from html import escape, unescape
from posixpath import normpath
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin

from markupsafe import Markup

from scheduler_web.publish.assets import Asset
from scheduler_web.publish.documents import Document, encoded, tag_slug
from scheduler_web.publish.inputs import Inputs
from scheduler_web.publish.manifest import Key
from scheduler_web.publish.markdown import END, IMAGE, LINK, Fragment
from scheduler_web.publish.problems import Problem
from scheduler_web.publish.site import tag_url

_TOKEN = re.compile(f'href="{LINK}([^{LINK}{IMAGE}{END}]*){END}"|{IMAGE}([^{LINK}{IMAGE}{END}]*){END}')
_ROOTED = re.compile(r'(<[^>]*?\s(?:href|src)=")((?:#|/(?!/))[^"]*)')
_ANCHOR = re.compile(r'<a class="anchor"[^>]*>#</a>')
_DOCUMENT_SUFFIXES = (".md", ".markdown")


class Reference(NamedTuple):
    """A document as others show it. `url` is percent-encoded; `summary` is empty in short references."""

    title: str
    url: str
    date: datetime | None
    summary: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    image: str = ""
    depth: int = 0
    current: bool = False
    minutes: int = 0
    author: str = ""


class View:
    """One rendering's eyes. `keys` collects what was looked at, `problems` what was found wrong.

    `subject` is the document whose page it is, or None.
    """

    def __init__(self, inputs: Inputs, subject: Document | None = None) -> None:
        self.inputs = inputs
        self.subject = subject
        self.keys: dict[Key, None] = {}
        self.problems: list[Problem] = []
        self.look("site")

    def look(self, *key: Any) -> None:
        if self.subject is not None and len(key) == 2 and key[1] == self.subject.id:
            key = (key[0], "@")
        self.keys[key] = None

    # Documents

    def fragment(self, document: Document) -> Fragment:
        """Raises KeyError when the document has not been rendered."""
        self.look("doc", document.id)
        return self.inputs.cache.get(document.id)

    def neighbours(self, document: Document) -> tuple[Reference | None, Reference | None]:
        self.look("near", document.id)
        before, after = self.inputs.site.neighbours(document)
        return (self.short(before) if before else None), (self.short(after) if after else None)

    def related(self, document: Document) -> list[Reference]:
        self.look("related", document.id)
        return [self.short(d) for d in self.inputs.site.related(document)]

    def alternates(self, document: Document) -> list[tuple[str, str]]:
        """(language, address) of every translation, the document's own included."""
        self.look("alternates", document.id)
        return [(d.locale, encoded(d.url)) for d in self.inputs.site.translations.get(document.id, ())]

    def nav(self, source: str, current: str = "") -> list[Reference]:
        self.look("nav", source)
        return [
            self._entry(d)._replace(
                depth=min(d.path.count("/"), 3), current=d.url == current, summary=d.description
            )
            for d in self.inputs.site.lists.get(source, ())
        ]

    def _entry(self, document: Document) -> Reference:
        """An index page's title is often a sentence; among others it is just the first."""
        top = document.path.rpartition("/")[2].startswith("index.") and "/" not in document.path
        return self.short(document)._replace(title="Overview") if top else self.short(document)

    def latest(self, count: int) -> list[Reference]:
        self.look("latest", count)
        return self.full(self.inputs.site.posts[:count])

    def menu(self, url: str, source: str = "") -> list[tuple[str, str, str]]:
        """(title, address, what aria-current says): the entry of this page, its folder or its source."""
        return [
            (title, encoded(entry), self._current(entry, url, source))
            for title, entry in self.inputs.site.menu
        ]

    def _current(self, entry: str, url: str, source: str) -> str:
        if entry == url:
            return "page"
        if source:
            self.look("source_at", entry)
        same_source = bool(source) and self.inputs.source_at(entry) == source
        return "true" if entry != "/" and (same_source or url.startswith(entry)) else ""

    def tags(self) -> list[tuple[str, str, int]]:
        """(name, address, number of documents)"""
        self.look("tags")
        return [(t.name, encoded(t.url), len(t.documents)) for t in self.inputs.site.tags.values()]

    def full(self, documents: Iterable[Document]) -> list[Reference]:
        return [self._full(d) for d in documents]

    def _full(self, document: Document) -> Reference:
        return Reference(
            title=document.title,
            url=encoded(document.url),
            date=self.moment(document.published_at),
            summary=self.summary(document),
            tags=self.tag_links(document),
            author=document.author,
        )

    def short(self, document: Document) -> Reference:
        return Reference(document.title, encoded(document.url), self.moment(document.published_at))

    def summary(self, document: Document) -> str:
        if document.description:
            return document.description
        try:
            text = self.inputs.cache.get(document.id).excerpt
        except KeyError:
            return ""
        return text if len(text) <= 200 else text[:200].rsplit(" ", 1)[0] + "…"

    def tag_links(self, document: Document) -> tuple[tuple[str, str], ...]:
        names = dict(zip(map(tag_slug, reversed(document.tags)), reversed(document.tags), strict=True))
        return tuple((names[slug], encoded(tag_url(slug))) for slug in document.slugs)

    def moment(self, time: float | None) -> datetime | None:
        return None if time is None else datetime.fromtimestamp(time, self.inputs.site.zone)

    # Addresses

    def asset(self, name: str) -> str:
        """The address of an asset under the name that holds its hash; `/name` when there is none."""
        self.look("asset", name)
        asset = self.inputs.assets.get(name)
        return encoded(f"/{asset.published}" if asset else f"/{name}")

    def absolute(self, url: str) -> str:
        base = self.inputs.site.config.site.base_url
        return base + url if url.startswith("/") else urljoin(f"{base}/", url)

    def image(self, document: Document) -> str:
        """The absolute address of the document's own picture, or an empty text."""
        if not document.image or document.image.startswith(("http://", "https://")):
            return document.image
        asset = self._asset(document, document.image)
        if asset is None:
            self.report(document, document.image, f"missing image: {document.image}")
            return ""
        return self.absolute(encoded(f"/{asset.published}"))

    def body(self, document: Document, fragment: Fragment, *, absolute: bool = False) -> Markup:
        """The fragment with every address resolved; broken ones are reported and lead nowhere."""

        def place(match: re.Match[str]) -> str:
            if match[1] is not None:
                href = self._href(document, fragment, unescape(match[1]))
                if href is None:
                    return 'class="broken"'
                return f'href="{escape(self._base(document, href) if absolute else href)}"'
            return self._image(document, unescape(match[2]), absolute)

        html = _TOKEN.sub(place, fragment.html) if END in fragment.html else fragment.html
        if absolute:
            html = _ANCHOR.sub("", html)
            here = escape(self.absolute(encoded(document.url)))
            html = _ROOTED.sub(
                lambda m: m[1] + (self.absolute(m[2]) if m[2][0] == "/" else here + m[2]), html
            )
        return Markup(html)  # noqa: S704 (the renderer's output: it escapes what is not its own)

    def _base(self, document: Document, href: str) -> str:
        return urljoin(self.absolute(encoded(document.url)), href)

    def _href(self, document: Document, fragment: Fragment, target: str) -> str | None:
        path, mark, anchor = target.partition("#")
        if not path:
            if anchor and unquote(anchor) not in fragment.ids:
                self.report(document, target, f"broken link: this page has no #{anchor}")
            return target or "#"
        if unquote(path.partition("?")[0]).endswith(_DOCUMENT_SUFFIXES) and not path.startswith("/"):
            return self._document_link(document, unquote(path.partition("?")[0]), mark + anchor)
        return self._internal(document, path, mark + anchor)

    def _document_link(self, document: Document, path: str, anchor: str) -> str | None:
        file = normpath(f"{self.inputs.file_of(document).rpartition('/')[0]}/{path}")
        self.look("link", file)
        target = self.inputs.by_file.get(file)
        if target is None:
            self.report(document, path, f"broken link: {path} is no published document")
            return None
        if len(anchor) > 1:
            self.look("anchors", target.id)
            try:
                known = self.inputs.cache.get(target.id).ids
            except KeyError:
                known = ()
            if unquote(anchor[1:]) not in known:
                self.report(document, path + anchor, f"broken link: {path} has no {anchor}")
        return encoded(target.url) + anchor

    def _internal(self, document: Document, path: str, anchor: str) -> str:
        if not path.startswith("/"):
            asset = self._asset(document, unquote(path))
            if asset is not None:
                return encoded(f"/{asset.published}") + anchor
        url = urljoin(document.url, unquote(path.partition("?")[0]))
        found = next((u for u in (url, f"{url}/") if u in self.inputs.urls), None)
        self.look("url", url)
        self.look("url", f"{url}/")
        if found is None:
            self.report(document, path, f"broken link: there is no {url}")
        return path + anchor

    def _image(self, document: Document, path: str, absolute: bool) -> str:
        asset = self._asset(document, unquote(path))
        if asset is None:
            self.report(document, path, f"missing image: {path}")
            return f'src="{escape(encoded(urljoin(document.url, path)))}"'
        url = encoded(f"/{asset.published}")
        size = f' width="{asset.width}" height="{asset.height}"' if asset.width else ""
        return f'src="{escape(self.absolute(url) if absolute else url)}"{size}'

    def _asset(self, document: Document, path: str) -> Asset | None:
        """`/x.png` is the site's own, `x.png` lies beside the document."""
        clean = path.partition("?")[0].partition("#")[0]
        if clean.startswith("/"):
            self.look("asset", clean[1:])
            return self.inputs.assets.get(clean[1:])
        file = normpath(f"{self.inputs.file_of(document).rpartition('/')[0]}/{clean}")
        self.look("media", file)
        return self.inputs.assets.get(self.inputs.media.get(file, ""))

    def report(self, document: Document, needle: str, message: str) -> None:
        shown = self.inputs.file_of(document)
        self.problems.append(Problem(shown, _line_of(self.inputs, document, needle), message))


def _line_of(inputs: Inputs, document: Document, needle: str) -> int:
    """The first line of the file that holds the text; 0 when none does."""
    try:
        text = inputs.source_file(document).read_text("utf-8", "replace")
    except OSError:
        return 0
    place = text.find(needle)
    return text.count("\n", 0, place) + 1 if place >= 0 else 0
