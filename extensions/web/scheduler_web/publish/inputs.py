"""What a page can be made from, and a digest of each such thing: by these, it is made only when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

from scheduler_web.publish.assets import Asset
from scheduler_web.publish.cache import FragmentCache
from scheduler_web.publish.documents import Document, digest
from scheduler_web.publish.manifest import Key
from scheduler_web.publish.site import Site, combine, label
from scheduler_web.publish.theme import Theme

GENERATOR = 1
"""Raise when the same inputs give other bytes."""


@dataclass(kw_only=True)
class Inputs:
    """Everything that pages are made from, at one instant."""

    site: Site
    theme: Theme
    assets: Mapping[str, Asset]
    cache: FragmentCache
    fragments: Mapping[str, str]
    """Document id → key of its fragment in the cache."""
    base_dir: Path
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    urls: frozenset[str] = frozenset()
    """Every address of the site that a link may name, pages with their final slash."""

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

    @cached_property
    def settings(self) -> str:
        config = self.site.config
        parts = (
            GENERATOR,
            str(self.zone),
            config.model_dump(exclude={"output", "retention_days", "processes"}),
        )
        return digest(*parts).hex()

    def file_of(self, document: Document) -> str:
        return f"{self.site.config.content_sources[document.source].path.rstrip('/')}/{document.path}"

    def source_file(self, document: Document) -> Path:
        return self.base_dir / self.file_of(document)

    def version(self, document: Document) -> str:
        """Changes whenever the document's page would."""
        return f"{document.version}{document.changed_at}{document.url}{self.fragments.get(document.id)}"

    def digest_of(self, shape: tuple[Key, ...], subject: str) -> bytes:
        """The digest of everything that `shape` names, "@" being `subject`."""
        own, fixed = self._shape(shape)
        if not own:
            return combine([fixed])
        return combine([fixed, *(self._own(key, subject) for key in own)])

    def _shape(self, shape: tuple[Key, ...]) -> tuple[tuple[Key, ...], str]:
        """(keys of the subject's own, the rest's common text), computed once for a shape."""
        known = self._shapes.get(shape)
        if known is None:
            own = tuple(key for key in shape if "@" in key)
            fixed = "\1".join(self._value(key) for key in shape if "@" not in key)
            known = self._shapes[shape] = (own, fixed)
        return known

    @cached_property
    def _shapes(self) -> dict[tuple[Key, ...], tuple[tuple[Key, ...], str]]:
        return {}

    @cached_property
    def _values(self) -> dict[Key, str]:
        return {}

    def _own(self, key: Key, subject: str) -> str:
        document = self.site.documents.get(subject)
        return _OF_DOCUMENT[key[0]](self, document) if document else ""

    def _value(self, key: Key) -> str:
        value = self._values.get(key)
        if value is None:
            value = self._values[key] = _DIGESTS[key[0]](self, *key[1:])
        return value

    def _versions(self, documents: Iterable[Document]) -> str:
        return "\n".join(self.version(d) for d in documents)


def _near(i: Inputs, document: Document) -> str:
    return "\2".join(label(d) if d else "" for d in i.site.neighbours(document))


def _related(i: Inputs, document: Document) -> str:
    return "\2".join(label(d) for d in i.site.related(document))


def _alternates(i: Inputs, document: Document) -> str:
    return "\2".join(d.locale + d.url for d in i.site.translations.get(document.id, ()))


def _list(i: Inputs, source: str, number: int) -> str:
    members = i.site.lists.get(source, [])
    return f"{i.site.page_count(len(members))}\2{i._versions(i.site.page_of(members, number))}"


def _tag(i: Inputs, slug: str, number: int) -> str:
    tag = i.site.tags.get(slug)
    if tag is None:
        return ""
    count = i.site.page_count(len(tag.documents))
    return f"{tag.name}\2{count}\2{i._versions(i.site.page_of(tag.documents, number))}"


def _asset(i: Inputs, name: str) -> str:
    asset = i.assets.get(name)
    return f"{asset.published} {asset.width} {asset.height}" if asset else ""


def _link(i: Inputs, file: str) -> str:
    document = i.by_file.get(file)
    return document.url if document else ""


def _at(i: Inputs, url: str) -> str:
    document = i.site.by_url.get(url)
    return i.version(document) if document else ""


def _anchors(i: Inputs, identifier: str) -> str:
    return i.fragments.get(identifier, "")


def _feed(i: Inputs, kind: str, name: str) -> str:
    return i._versions(feed_documents(i.site, kind, name))


def feed_documents(site: Site, kind: str, name: str) -> list[Document]:
    """The newest dated documents of the whole site, a source or a tag."""
    if kind == "tag":
        members: Sequence[Document] = site.tags[name].documents if name in site.tags else ()
    else:
        members = site.lists.get(name, ()) if kind == "source" else site.posts
    dated = [d for d in members if d.published_at is not None]
    return dated[: site.config.feed_entries]


_OF_DOCUMENT: dict[str, Callable[[Inputs, Document], str]] = {
    "doc": Inputs.version,
    "near": _near,
    "related": _related,
    "alternates": _alternates,
}
_DIGESTS: dict[str, Callable[..., str]] = {
    **{name: lambda i, identifier, name=name: i._own((name, "@"), identifier) for name in _OF_DOCUMENT},
    "site": lambda i: i.settings,
    "template": lambda i, name: i.theme.digest_of(name),
    "asset": _asset,
    "list": _list,
    "tag": _tag,
    "tags": lambda i: "\n".join(f"{t.slug} {t.name} {len(t.documents)}" for t in i.site.tags.values()),
    "years": lambda i: "\n".join(f"{year} {len(members)}" for year, members in i.site.years.items()),
    "year": lambda i, year: "\n".join(map(label, i.site.years.get(year, ()))),
    "nav": lambda i, source: "\n".join(map(label, i.site.lists.get(source, ()))),
    "latest": lambda i, count: i._versions(i.site.posts[:count]),
    "feed": _feed,
    "link": _link,
    "at": _at,
    "anchors": _anchors,
    "url": lambda i, url: "1" if url in i.urls else "",
    "all": lambda i: i._versions(i.site.documents.values()),
}
__all__ = ["GENERATOR", "Inputs", "feed_documents"]
