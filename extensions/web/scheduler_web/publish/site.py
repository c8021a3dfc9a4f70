"""The site at one instant: which documents are out, in which order, and what each page depends on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import chain
from operator import attrgetter
from zoneinfo import ZoneInfo

from scheduler_web.publish.config import PublishConfig, Source
from scheduler_web.publish.documents import Document, normalize_url, tag_slug

RELATED = 3


class Tag:
    """One tag: its documents, newest first, and the spelling that most of them use."""

    def __init__(self, slug: str, name: str, documents: list[Document]) -> None:
        self.slug = slug
        self.name = name
        self.documents = documents

    @cached_property
    def places(self) -> Mapping[str, int]:
        return {document.id: place for place, document in enumerate(self.documents)}

    @property
    def url(self) -> str:
        return tag_url(self.slug)


def tag_url(slug: str) -> str:
    return f"/tags/{slug}/"


def visible_window(documents: Iterable[Document], now: float) -> tuple[float, float]:
    """The span around `now` in which the same documents are out."""
    times = {t for d in documents if d.public for t in (d.published_at, d.expires_at) if t is not None}
    past = [t for t in times if t <= now]
    future = [t for t in times if t > now]
    return max(past, default=float("-inf")), min(future, default=float("inf"))


class Site:
    """Documents that are out at `now`, by every way of asking for them."""

    def __init__(
        self, config: PublishConfig, documents: Iterable[Document], now: float, zone: ZoneInfo
    ) -> None:
        self.config = config
        self.zone = zone
        found = [d for d in documents if d.visible(now)]
        self.documents = {d.id: d for d in found}
        self.lists: dict[str, list[Document]] = {name: [] for name in self.sources}
        for document in found:
            self.lists[document.source].append(document)
        for name, members in self.lists.items():
            if self.sources[name].layout == "docs":
                members.sort(key=_reading_order)
            else:
                _newest_first(members)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Document id → its place in its source's list."""
        return {d.id: place for members in self.lists.values() for place, d in enumerate(members)}

    @cached_property
    def by_url(self) -> Mapping[str, Document]:
        return {d.url: d for d in self.documents.values()}

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        return {name: s for name, s in self.config.content_sources.items() if s.enabled}

    @cached_property
    def posts(self) -> Sequence[Document]:
        """Everything from sources with the layout blog that has a date, newest first."""
        blogs = [self.lists[name] for name, source in self.sources.items() if source.layout == "blog"]
        dated = [d for members in blogs for d in members if d.published_at is not None]
        return dated if len(blogs) == 1 else _newest_first(dated)

    @cached_property
    def _by_date(self) -> Sequence[Document]:
        if len(self.lists) == 1 and "blog" in {source.layout for source in self.sources.values()}:
            return next(iter(self.lists.values()))
        return _newest_first(list(self.documents.values()))

    @cached_property
    def tags(self) -> dict[str, Tag]:
        members: dict[str, list[Document]] = defaultdict(list)
        for document in self._by_date:
            for slug in document.slugs:
                members[slug].append(document)
        spellings = Counter(chain.from_iterable(document.tags for document in self._by_date))
        names: dict[str, str] = {}
        for name in sorted(spellings, key=lambda name: (-spellings[name], name)):
            names.setdefault(tag_slug(name), name)
        return {slug: Tag(slug, names[slug], members[slug]) for slug in sorted(members)}

    @cached_property
    def years(self) -> dict[int, list[Document]]:
        years: dict[int, list[Document]] = defaultdict(list)
        for document in self.posts:
            years[datetime.fromtimestamp(document.published_at or 0.0, self.zone).year].append(document)
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
        for offset in (1, -1):
            for slug in document.slugs:
                tag = self.tags[slug]
                place = tag.places[document.id] + offset
                if 0 <= place < len(tag.documents):
                    other = tag.documents[place]
                    found[other.id] = other
            if len(found) >= RELATED:
                break
        return list(found.values())[:RELATED]

    @cached_property
    def near_labels(self) -> Mapping[str, bytes]:
        """Document id → the labels before and after it."""
        found: dict[str, bytes] = {}
        for members in self.lists.values():
            labels = [b"-", *[d.label for d in members], b"-"]
            found.update(zip((d.id for d in members), map(bytes.__add__, labels, labels[2:]), strict=False))
        return found

    @cached_property
    def related_labels(self) -> Mapping[str, bytes]:
        """Document id → the labels of all that `related` chooses from."""
        found: dict[str, bytes] = dict.fromkeys(self.documents, b"")
        for tag in self.tags.values():
            labels = [b"-", *[d.label for d in tag.documents], b"-"]
            around = map(bytes.__add__, labels, labels[2:])
            for document, two in zip(tag.documents, around, strict=False):
                found[document.id] += two
        return found

    def in_order(self) -> Iterator[Document]:
        """Source by source, as each is listed."""
        return (document for members in self.lists.values() for document in members)

    def list_url(self, source: str) -> str | None:
        route = self.sources[source].sitemap.parent_route
        return normalize_url(route.url) if route and route.enabled else None

    @cached_property
    def menu(self) -> Sequence[tuple[str, str]]:
        """(title, address): as configured, or else every list of documents."""
        lists = ((self.title_of(name), self.list_url(name)) for name in self.sources)
        found = [(title, url) for title, url in lists if url]
        return [(entry.title, entry.url) for entry in self.config.site.menu] or found

    def title_of(self, source: str) -> str:
        return self.sources[source].branding.name or source.replace("-", " ").capitalize()

    def page_count(self, length: int) -> int:
        return max(1, -(-length // self.config.page_size))

    def page_of(self, documents: Sequence[Document], number: int) -> Sequence[Document]:
        size = self.config.page_size
        return documents[(number - 1) * size : number * size]


def _newest_first(documents: list[Document]) -> list[Document]:
    """Sort in place: by date, the undated last, documents of one date by address."""
    documents.sort(key=attrgetter("url"))
    documents.sort(key=_date, reverse=True)
    return documents


def _date(document: Document) -> float:
    return document.published_at if document.published_at is not None else float("-inf")


def _reading_order(document: Document) -> tuple[bool, str, int, str, str]:
    """Folder by folder, the top one first; in each by weight (none: last), then title."""
    folder = document.path.rpartition("/")[0]
    is_index = document.path.rpartition("/")[2].startswith("index.")
    weight = -2_000_000 if is_index else document.weight or 2_000_000
    return (folder != "", folder, weight, document.title.lower(), document.url)
