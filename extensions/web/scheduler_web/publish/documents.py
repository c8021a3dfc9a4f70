"""A document's metadata, as everything after ingestion knows it. Its body stays in the database."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import quote

from scheduler_web.publish.config import PublishConfig, Source
from scheduler_web.publish.frontmatter import Page, safe_path

_PLAIN = re.compile(r"[A-Za-z0-9/_.~-]*")
_TAG_DROPPED = re.compile(r"[^\w.+-]+")
_RTL = frozenset(["ar", "arc", "ckb", "dv", "fa", "he", "ks", "nqo", "ps", "sd", "syr", "ug", "ur", "yi"])
_RTL_SCRIPTS = frozenset(["arab", "hebr", "nkoo", "syrc", "thaa"])
_NAMESPACE = uuid.UUID("6f7a1d3e-4a57-5d39-9a1c-0f8f2b6a9f10")


class Document(NamedTuple):
    """Times are Unix seconds. `url` starts and ends with a slash and is not percent-encoded.

    `changed_at` is when an ingestion saw the file change; `version` is the hash of the file's bytes,
    `text_hash` that of its text without the front matter.
    What follows from the rest is kept with it (`completed` sets it): `modified_at`, when a reader would call
    it changed; `slugs` of the tags; `mark`, which differs when anything does, and `label`, when a link to it
    has to be written anew.
    """

    id: str
    source: str
    path: str
    slug: str
    locale: str
    url: str
    title: str
    description: str
    author: str
    keywords: str
    kind: str
    image: str
    category: str
    tags: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    aliases: tuple[str, ...]
    published_at: float | None
    updated_at: float | None
    expires_at: float | None
    public: bool
    weight: int
    canonical_url: str
    body_line: int
    version: str
    text_hash: str
    changed_at: float | None
    modified_at: float | None = None
    slugs: tuple[str, ...] = ()
    mark: bytes = b""
    label: bytes = b""

    def visible(self, now: float) -> bool:
        return (
            self.public
            and (self.published_at is None or self.published_at <= now)
            and (self.expires_at is None or now < self.expires_at)
        )


def completed(document: Document, *, identifier: str, changed_at: float | None) -> Document:
    """With its final id, and all that follows from its fields."""
    times = [t for t in (document.published_at, document.updated_at, changed_at) if t is not None]
    whole = document._replace(
        id=identifier,
        changed_at=changed_at,
        modified_at=max(times, default=None),
        slugs=tuple(dict.fromkeys(map(tag_slug, document.tags))),
        mark=b"",
        label=b"",
    )
    shown = (whole.url, whole.title, whole.published_at, whole.description, whole.kind)
    return whole._replace(mark=digest(*whole)[:12], label=digest(*shown)[:8])


def tag_slug(tag: str) -> str:
    """The tag's part of an address: no longer than a file's name may be."""
    slug = _TAG_DROPPED.sub("-", unicodedata.normalize("NFC", tag.lower())).strip("-.") or "tag"
    if len(slug.encode()) <= 120:
        return slug
    return f"{slug[:30]}-{blake2b(slug.encode(), digest_size=6).hexdigest()}"


def from_meta(meta: Mapping[str, Any], changed_at: float | None) -> Document:
    """From web_documents.meta (JSON has no tuples), which another version of the program may have written."""
    names = [
        name for name in Document._fields if name not in Document._field_defaults and name != "changed_at"
    ]
    values = {name: meta.get(name, "") for name in names}
    for name in ("tags", "aliases"):
        values[name] = tuple(values[name])
    values["links"] = tuple((title, url) for title, url in values["links"])
    document = Document(**values, changed_at=changed_at)
    return completed(document, identifier=document.id, changed_at=changed_at)


def to_meta(document: Document) -> dict[str, Any]:
    meta = document._asdict()
    for name in ("changed_at", "modified_at", "slugs", "mark", "label"):
        del meta[name]
    return meta


def make(name: str, path: str, page: Page, version: str, config: PublishConfig) -> Document:
    """The document in file `path` of source `name`; its id is the one a first ingestion would give."""
    source = config.content_sources[name]
    fields = page.fields
    slug = fields.get("slug") or default_slug(path)
    locale = fields.get("lang") or config.site.language
    return Document(
        id=natural_id(source.source_id or name, slug, locale),
        source=name,
        path=path,
        slug=slug,
        locale=locale,
        url=document_url(source, slug, locale, config.site.language),
        title=fields["title"],
        description=fields.get("description", ""),
        author=fields.get("author") or config.metadata.default_author,
        keywords=fields.get("keywords", ""),
        kind=fields.get("kind") or ("docs" if source.layout == "docs" else "article"),
        image=fields.get("image", ""),
        category=fields.get("category") or source.category_id,
        tags=fields.get("tags", ()),
        links=fields.get("links", ()),
        aliases=tuple(alias_url(alias) for alias in fields.get("aliases", ())),
        published_at=fields.get("published_at"),
        updated_at=fields.get("updated_at"),
        expires_at=fields.get("expires_at"),
        public=fields.get("public", True) and not fields.get("draft", False),
        weight=fields.get("weight", 0),
        canonical_url=fields.get("canonical_url", ""),
        body_line=page.body_line,
        version=version,
        text_hash=text_hash(page.body),
        changed_at=None,
    )


def text_hash(body: str) -> str:
    return blake2b(body.encode(), digest_size=12).hexdigest()


def natural_id(source_id: str, slug: str, locale: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{source_id}\n{slug}\n{locale}"))


def feed_id(document: Document) -> str:
    """Stays when the site moves or its addresses change (RFC 4287 §4.2.6)."""
    return f"urn:uuid:{natural_id(document.source, document.slug, document.locale)}"


def direction(locale: str) -> str:
    """What HTML's dir says: "rtl" for languages whose script runs from right to left."""
    parts = locale.lower().split("-")
    return "rtl" if _RTL_SCRIPTS & {*parts[1:]} or (parts[0] in _RTL and "latn" not in parts) else "ltr"


def default_slug(path: str) -> str:
    """The file's place in its source; an index file stands for its folder."""
    slug = unicodedata.normalize("NFC", path.rsplit(".", 1)[0])
    return slug.removesuffix("/index")


def document_url(source: Source, slug: str, locale: str, default_locale: str) -> str:
    """Documents in another language than the site's live below /LANGUAGE."""
    place = "" if slug == "index" else slug
    prefix = "" if locale == default_locale else f"/{locale.lower()}"
    return normalize_url(prefix + source.sitemap.url_pattern.replace("{slug}", place))


def normalize_url(url: str) -> str:
    inner = "/".join(part for part in url.split("/") if part)
    return f"/{inner}/" if inner else "/"


def alias_url(url: str) -> str:
    """An old address may be that of a file."""
    return normalize_url(url).rstrip("/") if url.endswith((".html", ".htm")) else normalize_url(url)


def page_file(url: str) -> str:
    return f"{url[1:]}index.html" if url.endswith("/") else url[1:]


def encoded(url: str) -> str:
    """Percent-encoded, for links and feeds."""
    if _PLAIN.fullmatch(url):
        return url
    return quote(url, safe="/#?=&;:,@!$'()*+~-._%")


def is_safe(document: Document) -> bool:
    return document.url == "/" or safe_path(document.url.strip("/"))


def digest(*parts: object) -> bytes:
    """16 bytes that differ when a part does. Parts are plain values whose repr tells them apart."""
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
