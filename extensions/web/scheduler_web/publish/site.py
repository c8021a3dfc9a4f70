"""The site at one instant: which documents are out, in which order, and what each page depends on."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b

from scheduler_web.publish.config import PublishConfig, Source
from scheduler_web.publish.documents import Document, normalize_url

RELATED = 3
_TAG_DROPPED = re.compile(r"[^\w.+-]+")


class Tag:
    """One tag: the name most used for its slug, and its documents, newest first."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        self.documents: list[Document] = []
        self.places: dict[str, int] = {}

    @cached_property
    def name(self) -> str:
        names = sorted(tag for d in self.documents for tag in d.tags if tag_slug(tag) == self.slug)
        return max(dict.fromkeys(names), key=names.count)

    @property
    def url(self) -> str:
        return f"/tags/{self.slug}/"


def tag_slug(tag: str) -> str:
    return _TAG_DROPPED.sub("-", tag.lower()).strip("-.") or "tag"


def visible_window(documents: Iterable[Document], now: float) -> tuple[float, float]:
    """The span around `now` in which the same documents are out."""
    times = {t for d in documents if d.public for t in (d.published_at, d.expires_at) if t is not None}
    past = [t for t in times if t <= now]
    future = [t for t in times if t > now]
    return max(past, default=float("-inf")), min(future, default=float("inf"))


class Site:
    """Documents that are out at `now`, by every way of asking for them."""

    def __init__(self, config: PublishConfig, documents: Iterable[Document], now: float) -> None:
        self.config = config
        self.documents = {d.id: d for d in documents if d.visible(now)}
        self.by_url = {d.url: d for d in self.documents.values()}
        self.by_place = {(d.source, d.path): d for d in self.documents.values()}
        self.lists: dict[str, list[Document]] = {name: [] for name in self.sources}
        for document in self.documents.values():
            self.lists[document.source].append(document)
        for name, members in self.lists.items():
            members.sort(key=_reading_order if self.sources[name].layout == "docs" else _newest_first)
        self.places = {d.id: i for members in self.lists.values() for i, d in enumerate(members)}

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        return {name: s for name, s in self.config.content_sources.items() if s.enabled}

    @cached_property
    def posts(self) -> Sequence[Document]:
        """Everything from sources with the layout blog that has a date, newest first."""
        blogs = [n for n, s in self.sources.items() if s.layout == "blog"]
        return sorted(
            (d for n in blogs for d in self.lists[n] if d.published_at is not None), key=_newest_first
        )

    @cached_property
    def tags(self) -> dict[str, Tag]:
        tags: dict[str, Tag] = {}
        for document in sorted(self.documents.values(), key=_newest_first):
            for slug in dict.fromkeys(map(tag_slug, document.tags)):
                tag = tags.get(slug)
                if tag is None:
                    tag = tags[slug] = Tag(slug)
                tag.places[document.id] = len(tag.documents)
                tag.documents.append(document)
        return dict(sorted(tags.items()))

    @cached_property
    def years(self) -> dict[int, list[Document]]:
        years: dict[int, list[Document]] = defaultdict(list)
        for document in self.posts:
            years[datetime.fromtimestamp(document.published_at or 0.0, UTC).year].append(document)
        return dict(years)

    @cached_property
    def translations(self) -> dict[str, list[Document]]:
        """Document id → all languages of it, its own included, where there is more than one."""
        if all(d.locale == self.config.site.language for d in self.documents.values()):
            return {}
        groups: dict[tuple[str, str], list[Document]] = defaultdict(list)
        for document in self.documents.values():
            groups[(document.source, document.slug)].append(document)
        many = [sorted(group, key=lambda d: d.locale) for group in groups.values() if len(group) > 1]
        return {d.id: group for group in many for d in group}

    def neighbours(self, document: Document) -> tuple[Document | None, Document | None]:
        """(the one before, the one after) in reading order; for posts: (older, newer)."""
        members, place = self.lists[document.source], self.places[document.id]
        before = members[place - 1] if place else None
        after = members[place + 1] if place + 1 < len(members) else None
        return (before, after) if self.sources[document.source].layout == "docs" else (after, before)

    def related(self, document: Document) -> list[Document]:
        """The nearest in time of each tag in turn, the document's own tags first."""
        found: dict[str, Document] = {}
        for offset in (1, -1, 2):
            for name in document.tags:
                tag = self.tags[tag_slug(name)]
                place = tag.places[document.id] + offset
                if 0 <= place < len(tag.documents):
                    other = tag.documents[place]
                    found[other.id] = other
            if len(found) >= RELATED:
                break
        return list(found.values())[:RELATED]

    def list_url(self, source: str) -> str | None:
        route = self.sources[source].sitemap.parent_route
        return normalize_url(route.url) if route and route.enabled else None

    def page_count(self, length: int) -> int:
        return max(1, -(-length // self.config.page_size))

    def page_of(self, documents: Sequence[Document], number: int) -> Sequence[Document]:
        size = self.config.page_size
        return documents[(number - 1) * size : number * size]


def label(document: Document) -> str:
    """What a link to the document shows; changes when the link has to be written anew."""
    return (
        f"{document.url}\n{document.title}\n{document.published_at}\n{document.description}\n{document.kind}"
    )


def combine(parts: Iterable[str]) -> bytes:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _newest_first(document: Document) -> tuple[float, str]:
    return (-(document.published_at or 0.0), document.url)


def _reading_order(document: Document) -> tuple[bool, str, int, str, str]:
    """Folder by folder, the top one first; in each by weight (none: last), then title."""
    folder = document.path.rpartition("/")[0]
    is_index = document.path.rpartition("/")[2].startswith("index.")
    weight = -2_000_000 if is_index else document.weight or 2_000_000
    return (folder != "", folder, weight, document.title.lower(), document.url)
