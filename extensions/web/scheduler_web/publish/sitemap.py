"""Step 5, sitemap.xml by sitemaps.org: every page that a search engine should know."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from xml.sax.saxutils import escape

from scheduler_web.publish.documents import Document, encoded, normalize_url
from scheduler_web.publish.products import Product
from scheduler_web.publish.site import Site
from scheduler_web.publish.view import View

MAX_URLS = 50_000
MAX_BYTES = 52_428_800
MAX_ADDRESS = 2_048
SPLIT_FROM = 10_000
"""Documents; fewer always fit into one sitemap."""
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
_OPEN = f'{_HEAD}<urlset {_NAMESPACE} xmlns:xhtml="http://www.w3.org/1999/xhtml">\n'


Line = tuple[str, str, float]
"""(path, its <url> element, when it changed: 0 for unknown)"""


def plan(site: Site) -> list[Product]:
    return [Product("sitemap.xml", sitemap), *(Product(name, part, (name,)) for name in _names(site))]


def sitemap(view: View) -> bytes:
    """The sitemap, or the index of several when there are too many addresses for one."""
    view.look("all")
    parts = _parts(view.inputs.site)
    return _index(view, parts) if len(parts) > 1 else _urlset(parts[0])


def part(view: View, name: str) -> bytes:
    view.look("all")
    return _urlset(_parts(view.inputs.site)[int(name.removeprefix("sitemap-").removesuffix(".xml")) - 1])


def _names(site: Site) -> list[str]:
    if len(site.documents) < SPLIT_FROM:
        return []
    count = len(_parts(site))
    return [f"sitemap-{number}.xml" for number in range(1, count + 1)] if count > 1 else []


def _parts(site: Site) -> list[list[Line]]:
    base = site.config.site.base_url
    lists = list(_lists(site, base))
    listed = {line[0] for line in lists}
    ordered = [*lists, *(line for line in _documents(site, base) if line[0] not in listed)]
    parts: list[list[Line]] = [[]]
    size = 0
    for line in ordered:
        length = len(line[1].encode()) if size > MAX_BYTES // 8 else 4 * len(line[1])
        if len(parts[-1]) == MAX_URLS or size + length > MAX_BYTES - 1_000:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += length
    return parts


def _documents(site: Site, base: str) -> Iterator[Line]:
    """A page that names another as canonical is that other's business."""
    for name, members in site.lists.items():
        rules = site.sources[name].sitemap
        if not rules.enabled:
            continue
        rest = _hints(rules.priority, rules.changefreq)
        for document in members:
            if document.canonical_url:
                continue
            others = _alternates(site, document, base) if site.translations else ""
            line = _line(base, document.url, document.modified_at or 0.0, rest + others)
            if line:
                yield line


def _lists(site: Site, base: str) -> Iterator[Line]:
    found = [("/", site.posts, "")]
    for name, source in site.sources.items():
        route = source.sitemap.parent_route
        if source.sitemap.enabled and route and route.enabled:
            found.append(
                (normalize_url(route.url), site.lists[name], _hints(route.priority, route.changefreq))
            )
    if site.posts:
        found.append(("/archive/", site.posts, ""))
    if site.tags:
        found.append(("/tags/", [d for d in site.documents.values() if d.slugs], ""))
    found += [(tag.url, tag.documents, "") for tag in site.tags.values()]
    for path, members, rest in found:
        line = _line(base, path, max([d.modified_at or 0.0 for d in members], default=0.0), rest)
        if line:
            yield line


def _line(base: str, path: str, modified_at: float, rest: str) -> Line | None:
    address = base + encoded(path)
    if len(address) >= MAX_ADDRESS:
        return None
    if "&" in address or "'" in address:
        address = escape(address, {"'": "&apos;"})
    modified = f"<lastmod>{_w3c(modified_at)}</lastmod>" if modified_at else ""
    return path, f"<url><loc>{address}</loc>{modified}{rest}</url>\n", modified_at


def _hints(priority: float | None, changefreq: str | None) -> str:
    frequency = f"<changefreq>{changefreq}</changefreq>" if changefreq else ""
    return frequency + (f"<priority>{priority:.1f}</priority>" if priority is not None else "")


def _alternates(site: Site, document: Document, base: str) -> str:
    others = site.translations.get(document.id, ())
    return "".join(
        f'<xhtml:link rel="alternate" hreflang="{d.locale}" href="{base}{escape(encoded(d.url))}"/>'
        for d in others
    )


def _urlset(lines: list[Line]) -> bytes:
    return f"{_OPEN}{''.join([line[1] for line in lines])}</urlset>\n".encode()


def _index(view: View, parts: list[list[Line]]) -> bytes:
    base = view.inputs.site.config.site.base_url
    entries = []
    for number, lines in enumerate(parts, 1):
        latest = max(line[2] for line in lines)
        modified = f"<lastmod>{_w3c(latest)}</lastmod>" if latest else ""
        entries.append(f"<sitemap><loc>{base}/sitemap-{number}.xml</loc>{modified}</sitemap>\n")
    return f"{_HEAD}<sitemapindex {_NAMESPACE}>\n{''.join(entries)}</sitemapindex>\n".encode()


@lru_cache(maxsize=10_000)
def _w3c(time: float) -> str:
    return datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
