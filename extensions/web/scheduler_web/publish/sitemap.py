"""Step 5, sitemap.xml by sitemaps.org: every page that a search engine should know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from typing import NamedTuple
from xml.sax.saxutils import escape

from scheduler_web.publish.documents import Document, encoded, normalize_url
from scheduler_web.publish.products import Product
from scheduler_web.publish.site import Site
from scheduler_web.publish.view import View

MAX_URLS = 50_000
MAX_BYTES = 52_428_800
MAX_ADDRESS = 2_048
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
_OPEN = f'{_HEAD}<urlset {_NAMESPACE} xmlns:xhtml="http://www.w3.org/1999/xhtml">\n'


class Url(NamedTuple):
    path: str
    modified_at: float | None
    priority: float | None
    changefreq: str | None
    alternates: tuple[tuple[str, str], ...] = ()


def plan(site: Site) -> list[Product]:
    """One sitemap, or several and an index when there are too many addresses for one."""
    parts = list(_parts(site, urls(site)))
    if len(parts) < 2:
        return [Product("sitemap.xml", partial(_render, parts[0] if parts else []))]
    names = [f"sitemap-{number}.xml" for number in range(1, len(parts) + 1)]
    files = [Product(name, partial(_render, part)) for name, part in zip(names, parts, strict=True)]
    latest = [max((u.modified_at or 0.0 for u in part), default=0.0) for part in parts]
    return [*files, Product("sitemap.xml", partial(_index, list(zip(names, latest, strict=True))))]


def urls(site: Site) -> Iterator[Url]:
    """In order of their paths. A page that names another as canonical is that other's business."""
    found = {url.path: url for url in (*_lists(site), *_documents(site))}
    return (found[path] for path in sorted(found))


def _documents(site: Site) -> Iterator[Url]:
    for document in site.documents.values():
        rules = site.sources[document.source].sitemap
        if rules.enabled and not document.canonical_url:
            alternates = tuple((d.locale, d.url) for d in site.translations.get(document.id, ()))
            yield Url(document.url, document.modified_at, rules.priority, rules.changefreq, alternates)


def _lists(site: Site) -> Iterator[Url]:
    yield Url("/", _latest(site.posts), None, None)
    for name, source in site.sources.items():
        route = source.sitemap.parent_route
        if source.sitemap.enabled and route and route.enabled:
            modified = _latest(site.lists[name])
            yield Url(normalize_url(route.url), modified, route.priority, route.changefreq)
    if site.posts:
        yield Url("/archive/", _latest(site.posts), None, None)
    for tag in site.tags.values():
        yield Url(tag.url, _latest(tag.documents), None, None)


def _latest(documents: Iterable[Document]) -> float | None:
    return max((d.modified_at for d in documents if d.modified_at is not None), default=None)


def _parts(site: Site, found: Iterable[Url]) -> Iterator[list[Url]]:
    base = site.config.site.base_url
    kept = [url for url in found if len(base + encoded(url.path)) < MAX_ADDRESS]
    if len(kept) <= MAX_URLS and 1000 * len(kept) < MAX_BYTES:
        yield kept
        return
    part: list[Url] = []
    sizes = accumulate(len(_entry(url, base).encode()) for url in kept)
    start = 0
    for url, size in zip(kept, sizes, strict=True):
        if part and (len(part) == MAX_URLS or size - start > MAX_BYTES - len(_OPEN) - 100):
            yield part
            part, start = [], size
        part.append(url)
    yield part


def _render(part: list[Url], view: View) -> bytes:
    view.look("all")
    base = view.inputs.site.config.site.base_url
    return f"{_OPEN}{''.join(_entry(url, base) for url in part)}</urlset>\n".encode()


def _entry(url: Url, base: str) -> str:
    lines = [f"<url><loc>{base}{escape(encoded(url.path))}</loc>"]
    if url.modified_at:
        lines.append(f"<lastmod>{_w3c(url.modified_at)}</lastmod>")
    if url.changefreq:
        lines.append(f"<changefreq>{url.changefreq}</changefreq>")
    if url.priority is not None:
        lines.append(f"<priority>{url.priority:.1f}</priority>")
    for language, path in url.alternates:
        address = f"{base}{escape(encoded(path))}"
        lines.append(f'<xhtml:link rel="alternate" hreflang="{language}" href="{address}"/>')
    return "".join((*lines, "</url>\n"))


def _index(parts: list[tuple[str, float]], view: View) -> bytes:
    view.look("all")
    base = view.inputs.site.config.site.base_url
    entries = (
        f"<sitemap><loc>{base}/{name}</loc>{f'<lastmod>{_w3c(time)}</lastmod>' if time else ''}</sitemap>\n"
        for name, time in parts
    )
    return f"{_HEAD}<sitemapindex {_NAMESPACE}>\n{''.join(entries)}</sitemapindex>\n".encode()


def _w3c(time: float) -> str:
    return datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
