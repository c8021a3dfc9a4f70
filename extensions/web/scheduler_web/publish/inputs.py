"""What a page can be made from, and a digest of each such thing: by these, it is made only when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from scheduler_web.publish.assets import Asset
from scheduler_web.publish.cache import FragmentCache
from scheduler_web.publish.documents import Document
from scheduler_web.publish.manifest import Key
from scheduler_web.publish.site import Site
from scheduler_web.publish.theme import NoTheme, Theme

GENERATOR = 4
"""Raise when the same inputs give other bytes."""

Shape = tuple[Key, ...]


@dataclass(kw_only=True)
class Inputs:
    """Everything that pages are made from, at one instant.

    `behind`: ids of documents whose fragment is not of their present version. `settings` stands for
    configuration and versions. `addresses` gives every address of the site that a link may name.
    """

    site: Site
    theme: Theme | NoTheme
    assets: Mapping[str, Asset]
    cache: FragmentCache
    base_dir: Path
    settings: bytes
    addresses: Callable[[], frozenset[str]]
    behind: frozenset[str] = frozenset()
    _values: dict[Key, bytes] = field(default_factory=dict)
    _shapes: dict[int, tuple[tuple[Mapping[str, bytes], ...], bytes]] = field(default_factory=dict)
    _marks: dict[Key, list[bytes]] = field(default_factory=dict)

    @cached_property
    def urls(self) -> frozenset[str]:
        return self.addresses()

    @cached_property
    def by_file(self) -> Mapping[str, Document]:
        """Documents by file as the configuration names it: "docs/cron.md"."""
        return {self.file_of(d): d for d in self.site.documents.values()}

    @cached_property
    def media(self) -> Mapping[str, str]:
        """Asset names by file, of what lies beside the documents."""
        sources = self.site.config.content_sources
        names = [(name.split("/", 2), name) for name in self.assets if name.startswith("media/")]
        return {
            f"{sources[parts[1]].path.rstrip('/')}/{parts[2]}": name
            for parts, name in names
            if len(parts) == 3 and parts[1] in sources
        }

    def file_of(self, document: Document) -> str:
        return f"{self.site.config.content_sources[document.source].path.rstrip('/')}/{document.path}"

    def source_at(self, url: str) -> str:
        document = self.site.by_url.get(url)
        return document.source if document else ""

    def source_file(self, document: Document) -> Path:
        return self.base_dir / self.file_of(document)

    def digest_of(self, number: int, shapes: Sequence[Shape], subject: str) -> bytes:
        """Of everything that the shape of this number names, "@" being the document whose id is `subject`.

        Short pieces one after the other: this is asked of every page in every build that is not idle.
        """
        own, fixed = self._shapes.get(number) or self._shape(number, shapes[number])
        if not own:
            return fixed
        if subject not in self.site.documents:
            return b""
        return fixed + b"".join([part[subject] for part in own])

    def _shape(self, number: int, shape: Shape) -> tuple[tuple[Mapping[str, bytes], ...], bytes]:
        own = tuple(self.of_documents[key[0]]() for key in shape if "@" in key)
        fixed = blake2b(b"\1".join([self._value(key) for key in shape if "@" not in key]), digest_size=12)
        self._shapes[number] = found = (own, fixed.digest())
        return found

    def _value(self, key: Key) -> bytes:
        value = self._values.get(key)
        if value is None:
            part = self.of_documents.get(key[0])
            value = part().get(key[1], b"") if part else _DIGESTS[key[0]](self, *key[1:])
            self._values[key] = value
        return value

    @cached_property
    def of_documents(self) -> Mapping[str, Callable[[], Mapping[str, bytes]]]:
        """What can be asked about a document: digests by its id."""
        return {
            "doc": lambda: self.marks_by_id,
            "anchors": lambda: self.marks_by_id,
            "near": lambda: self.site.near_labels,
            "related": lambda: self.site.related_labels,
            "alternates": lambda: self.alternates,
        }

    @cached_property
    def marks_by_id(self) -> Mapping[str, bytes]:
        marks = {identifier: document.mark for identifier, document in self.site.documents.items()}
        return marks | {i: marks[i] + b"behind" for i in self.behind if i in marks}

    @cached_property
    def alternates(self) -> Mapping[str, bytes]:
        others = self.site.translations
        return {i: _labels(others[i]) if i in others else b"" for i in self.site.documents}

    def marks(self, documents: Iterable[Document]) -> bytes:
        return b"".join([self.marks_by_id[d.id] for d in documents])

    def marks_of(self, key: Key, members: Sequence[Document], number: int) -> bytes:
        """The marks on one page of a list, which `key` names."""
        marks = self._marks.get(key)
        if marks is None:
            marks = self._marks[key] = [self.marks_by_id[d.id] for d in members]
        size = self.site.config.page_size
        return b"".join(marks[(number - 1) * size : number * size])


def _labels(documents: Iterable[Document]) -> bytes:
    return b"".join([d.label for d in documents])


def _list(i: Inputs, source: str, number: int) -> bytes:
    members = i.site.lists.get(source, [])
    return b"%d " % i.site.page_count(len(members)) + i.marks_of(("list", source), members, number)


def _tag(i: Inputs, slug: str, number: int) -> bytes:
    tag = i.site.tags.get(slug)
    if tag is None:
        return b""
    count = i.site.page_count(len(tag.documents))
    return f"{tag.name}\2{count}\2".encode() + i.marks_of(("tag", slug), tag.documents, number)


def _asset(i: Inputs, name: str) -> bytes:
    asset = i.assets.get(name)
    return f"{asset.published} {asset.width} {asset.height}".encode() if asset else b""


def _link(i: Inputs, file: str) -> bytes:
    document = i.by_file.get(file)
    return document.url.encode() if document else b""


def _at(i: Inputs, url: str) -> bytes:
    document = i.site.by_url.get(url)
    return i.marks([document]) if document else b""


def _feed(i: Inputs, kind: str, name: str) -> bytes:
    return i.marks(feed_documents(i.site, kind, name))


def feed_documents(site: Site, kind: str, name: str) -> list[Document]:
    """The newest dated documents of the whole site, a source or a tag."""
    if kind == "tag":
        members: Sequence[Document] = site.tags[name].documents if name in site.tags else ()
    else:
        members = site.lists.get(name, ()) if kind == "source" else site.posts
    return list(islice((d for d in members if d.published_at is not None), site.config.feed_entries))


def _tags(i: Inputs) -> bytes:
    return "\n".join([f"{t.slug} {t.name} {len(t.documents)}" for t in i.site.tags.values()]).encode()


def _years(i: Inputs) -> bytes:
    return repr([(year, len(members)) for year, members in i.site.years.items()]).encode()


_DIGESTS: dict[str, Callable[..., bytes]] = {
    "site": lambda i: i.settings,
    "template": lambda i, name: i.theme.digest_of(name).encode(),
    "asset": _asset,
    "media": lambda i, file: _asset(i, i.media.get(file, "")),
    "list": _list,
    "tag": _tag,
    "tags": _tags,
    "years": _years,
    "year": lambda i, year: _labels(i.site.years.get(year, ())),
    "nav": lambda i, source: _labels(i.site.lists.get(source, ())),
    "latest": lambda i, count: i.marks(i.site.posts[:count]),
    "feed": _feed,
    "link": _link,
    "at": _at,
    "source_at": lambda i, url: i.source_at(url).encode(),
    "url": lambda i, url: b"1" if url in i.urls else b"",
    "first": lambda i, count: b"%d " % len(i.site.documents) + i.marks(islice(i.site.in_order(), count)),
    "labels": lambda i: b"".join([d.label for d in i.site.in_order()]),
    "all": lambda i: i.marks(i.site.in_order()),
}
