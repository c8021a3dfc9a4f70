"""Step 8, feeds: RSS 2.0 and Atom (RFC 4287) of the site, of each blog and of each tag."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from feedgen.entry import FeedEntry
from feedgen.feed import FeedGenerator

from scheduler_web.publish.documents import Document, encoded, feed_id, natural_id
from scheduler_web.publish.inputs import feed_documents
from scheduler_web.publish.problems import PublishError
from scheduler_web.publish.products import Product
from scheduler_web.publish.site import Site
from scheduler_web.publish.view import View

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NO_POSTS = datetime(2000, 1, 1, tzinfo=UTC)
"""When a feed without entries was last updated: Atom wants a time, and it must not change."""


class Feed(NamedTuple):
    """`kind` site, source or tag, `name` which one; `url` the page that it belongs to."""

    kind: str
    name: str
    title: str
    description: str
    url: str


def plan(site: Site) -> list[Product]:
    products = []
    for feed in feeds(site):
        for file, render in (("feed.xml", rss), ("atom.xml", atom)):
            products.append(Product(f"{feed.url[1:]}{file}", render, (feed,)))
    return products


def feeds(site: Site) -> Iterator[Feed]:
    settings = site.config.site
    yield Feed("site", "", settings.name, settings.description or settings.name, "/")
    for name, source in site.sources.items():
        url = site.list_url(name)
        if source.layout == "blog" and url and url != "/":
            title = f"{site.title_of(name)} · {settings.name}"
            yield Feed("source", name, title, source.branding.description or title, url)
    for tag in site.tags.values():
        title = f"{tag.name} · {settings.name}"
        yield Feed("tag", tag.slug, title, f"Everything tagged {tag.name}", tag.url)


def rss(view: View, feed: Feed) -> bytes:
    made = _generator(feed, view, "feed.xml")
    return bytes(made.rss_str(pretty=False))


def atom(view: View, feed: Feed) -> bytes:
    made = _generator(feed, view, "atom.xml")
    return bytes(made.atom_str(pretty=False))


def _generator(feed: Feed, view: View, file: str) -> FeedGenerator:
    view.look("feed", feed.kind, feed.name)
    if feed.kind == "tag":
        view.look("tags")
    site = view.inputs.site
    documents = feed_documents(site, feed.kind, feed.name)
    settings = site.config.site
    made = FeedGenerator()
    made.load_extension("dc", atom=False)
    made.title(_xml(feed.title))
    made.description(_xml(feed.description))
    made.subtitle(_xml(feed.description))
    made.id(f"urn:uuid:{natural_id('feed', f'{feed.kind}/{feed.name}', settings.language)}")
    made.language(settings.language)
    made.generator("scheduler-web")
    made.author({"name": _xml(site.config.metadata.default_author or settings.name)})
    made.link(href=view.absolute(f"{encoded(feed.url)}{file}"), rel="self", type=_TYPES[file])
    made.link(href=view.absolute(encoded(feed.url)), rel="alternate", type="text/html")
    changed = _latest(documents)
    made.updated(changed)
    made.lastBuildDate(changed)
    for document in documents:
        made.add_entry(_entry(view, document), order="append")
    return made


_TYPES = {"feed.xml": "application/rss+xml", "atom.xml": "application/atom+xml"}
FILES = tuple(_TYPES)


def _latest(documents: Sequence[Document]) -> datetime:
    return max((_moment(d.modified_at or 0.0) for d in documents), default=NO_POSTS)


def _entry(view: View, document: Document) -> FeedEntry:
    try:
        fragment = view.fragment(document)
    except KeyError:
        raise PublishError(f"{view.inputs.file_of(document)} has not been rendered") from None
    url = view.absolute(encoded(document.url))
    author = document.author or view.inputs.site.config.metadata.default_author
    entry = FeedEntry()
    entry.load_extension("dc", atom=False)
    entry.id(feed_id(document))
    entry.guid(feed_id(document), permalink=False)
    entry.title(_xml(document.title))
    entry.link(href=url, rel="alternate")
    entry.published(_moment(document.published_at or 0.0))
    entry.updated(_moment(document.modified_at or 0.0))
    entry.author({"name": _xml(author or view.inputs.site.config.site.name)})
    entry.dc.dc_creator(_xml(author or view.inputs.site.config.site.name))
    entry.summary(_xml(view.summary(document)))
    entry.content(_xml(str(view.body(document, fragment, absolute=True))), type="html")
    for tag, _ in view.tag_links(document):
        entry.category(term=_xml(tag))
    return entry


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(int(time), UTC)


def _xml(text: str) -> str:
    """One character that XML does not know would lose the whole feed."""
    return _NOT_XML.sub("\ufffd", text)
