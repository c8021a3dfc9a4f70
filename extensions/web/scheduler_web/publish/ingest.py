"""Step 1, content ingestion: changed Markdown files → public.markdown_content."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection

from scheduler_web.publish import documents, frontmatter
from scheduler_web.publish.config import PublishConfig
from scheduler_web.publish.documents import Document, digest
from scheduler_web.publish.identity import settle
from scheduler_web.publish.index import Index, Place
from scheduler_web.publish.problems import Problem
from scheduler_web.publish.queries import fetch, query
from scheduler_web.publish.scan import RACY_NS, Scan, read_file

SUFFIXES = (".md", ".markdown")
PARSER = 1
"""Raise when the same bytes give another document."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where documents come from: the configuration, its folder, the zone of dates, and what was found."""

    config: PublishConfig
    base_dir: Path
    zone: ZoneInfo
    scans: Mapping[str, Scan]

    @property
    def key(self) -> bytes:
        sources = self.config.content_sources.items()
        shapes = [
            (name, s.path, s.source_id, s.category_id, s.layout, s.sitemap.url_pattern)
            for name, s in sources
            if s.enabled
        ]
        author, language = self.config.metadata.default_author, self.config.site.language
        return digest(PARSER, shapes, author, language, str(self.zone), self.config.max_document_bytes)

    def folder(self, name: str) -> Path:
        return self.base_dir / self.config.content_sources[name].path

    def shown(self, place: Place) -> str:
        """The file as people name it: from the configuration's folder."""
        return f"{self.config.content_sources[place[0]].path.rstrip('/')}/{place[1]}"

    def source_id(self, name: str) -> str:
        return self.config.content_sources[name].source_id or name


@dataclass(kw_only=True)
class Reading:
    """One pass over the changed files: the documents they give, and their bodies."""

    documents: dict[Place, Document] = field(default_factory=dict)
    bodies: dict[Place, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Summary:
    read: int
    written: int
    withdrawn: int


def ingest(connection: Connection[Any], index: Index, sources: Sources, now: float) -> Summary:
    """Bring table and index up to date with the files. One transaction, the caller's.

    A file that cannot be read keeps its last good document; its problem stays in `index.errors`.
    A source whose folder is missing is left as it is (it may be a mount that is late).
    """
    stamp = _stamp(connection, sources)
    enabled = {n for n, s in sources.config.content_sources.items() if s.enabled}
    missing = enabled - set(sources.scans)
    if index.stamp != stamp or index.key != sources.key:
        _start_over(connection, index, sources)
    current = {(n, path): s for n, scan in sources.scans.items() for path, s in _markdown(scan)}
    changed = [place for place, stat in current.items() if index.files.get(place, ())[:3] != stat]
    gone = [place for place in _places(index) if place not in current and place[0] not in missing]
    if not changed and not gone and index.stamp == stamp:
        if _forget(connection, sources, now):
            index.stamp = _stamp(connection, sources)
        return Summary(read=0, written=0, withdrawn=0)
    reading = _read(index, sources, changed, current)
    written, withdrawn = _write(connection, index, sources, (reading, set(gone), now))
    _forget(connection, sources, now)
    index.stamp = _stamp(connection, sources)
    index.seal()
    return Summary(read=len(changed), written=written, withdrawn=withdrawn)


def _stamp(connection: Connection[Any], sources: Sources) -> tuple[int, int]:
    names = [sources.source_id(name) for name in sources.config.content_sources]
    count, mark = fetch(connection, "stamp", source_ids=names)[0]
    return count, mark


def _places(index: Index) -> set[Place]:
    return {(d.source, d.path) for d in index.docs.values()} | index.files.keys()


def _markdown(scan: Scan) -> Iterable[tuple[str, tuple[int, int, int]]]:
    return ((path, stat) for path, stat in scan.files.items() if path.endswith(SUFFIXES))


def _start_over(connection: Connection[Any], index: Index, sources: Sources) -> None:
    """The table is not as we left it, or documents would be made differently now: read every file."""
    index.docs.clear()
    index.files.clear()
    index.errors.clear()
    index.warnings.clear()
    index.key = sources.key
    for _, source, _, _, meta, changed_at, withdrawn in fetch(connection, "records"):
        if not withdrawn:
            document = documents.from_meta(meta, changed_at)
            settings = sources.config.content_sources.get(source)
            if settings:
                site_language = sources.config.site.language
                url = documents.document_url(settings, document.slug, document.locale, site_language)
                document = document._replace(url=url)
            index.docs[document.id] = document


def _read(
    index: Index, sources: Sources, changed: list[Place], current: Mapping[Place, tuple[int, int, int]]
) -> Reading:
    reading = Reading()
    for place in changed:
        index.errors.pop(place, None)
        index.warnings.pop(place, None)
        shown = sources.shown(place)
        started_ns = time.time_ns()
        try:
            data = read_file(sources.folder(place[0]) / place[1], sources.config.max_document_bytes)
            if data is None:
                limit = sources.config.max_document_bytes
                raise frontmatter.FrontMatterError(0, f"larger than max_document_bytes ({limit:,})")
            version = blake2b(data, digest_size=16).hexdigest()
            size, mtime_ns, inode = current[place]
            settled = mtime_ns < started_ns - RACY_NS
            index.files[place] = (size if settled else -1, mtime_ns, inode, version)
            _take(index, sources, reading, (place, data, version))
        except frontmatter.FrontMatterError as error:
            index.errors[place] = Problem(shown, error.line, str(error))
        except OSError as error:
            index.files.pop(place, None)
            index.errors[place] = Problem(shown, 0, f"cannot be read: {error.strerror}")
    return reading


def _take(index: Index, sources: Sources, reading: Reading, file: tuple[Place, bytes, str]) -> None:
    place, data, version = file
    page = frontmatter.read(data, sources.zone)
    document = documents.make(place[0], place[1], page, version, sources.config)
    if not documents.is_safe(document):
        where = f'"{document.url}"'
        raise frontmatter.FrontMatterError(
            1, f"the address {where} cannot be used; give `slug:` another value"
        )
    if page.unknown:
        shown = sources.shown(place)
        index.warnings[place] = [Problem(shown, line, message) for line, message in page.unknown]
    reading.documents[place] = document
    reading.bodies[place] = page.body


def _write(
    connection: Connection[Any], index: Index, sources: Sources, change: tuple[Reading, set[Place], float]
) -> tuple[int, int]:
    """Returns the numbers of documents put and withdrawn."""
    reading, gone, now = change
    settled = settle(connection, index, sources, reading, gone)
    kept: dict[str, Document] = {}
    for document in settled.documents:
        before = index.docs.get(document.id)
        changed_at = before.changed_at if before else None
        if before and before.version != document.version:
            changed_at = now
        kept[document.id] = document._replace(changed_at=changed_at)
    put = [(kept[d.id], reading.bodies[(d.source, d.path)]) for d in settled.documents if d.id in settled.put]
    withdrawn = [identifier for identifier in index.docs if identifier not in kept]
    _put(connection, sources, put, settled.displaced, now)
    connection.execute(query("withdraw_content"), {"ids": withdrawn, "now": now})
    connection.execute(query("withdraw_records"), {"ids": withdrawn, "now": now})
    index.docs, index.conflicts = kept, settled.conflicts
    for place in gone:
        index.files.pop(place, None)
        index.errors.pop(place, None)
        index.warnings.pop(place, None)
    return len(put), len(withdrawn)


def _put(
    connection: Connection[Any],
    sources: Sources,
    put: list[tuple[Document, str]],
    displaced: list[str],
    now: float,
) -> None:
    with connection.cursor() as cursor:
        moving = [{"id": d.id, "slug": d.slug} for d, _ in put] + [{"id": i, "slug": ""} for i in displaced]
        if displaced:
            cursor.executemany(query("free_slug"), moving)
        cursor.executemany(query("put_content"), [_row(d, body, sources, now) for d, body in put])
        cursor.executemany(query("put_record"), [_record(d) for d, _ in put])


def _row(document: Document, body: str, sources: Sources, now: float) -> dict[str, Any]:
    links = [{"title": title, "url": url} for title, url in document.links]
    return {
        **{name: getattr(document, name) for name in ("id", "slug", "locale", "title", "description")},
        **{
            name: getattr(document, name) for name in ("author", "keywords", "kind", "published_at", "public")
        },
        "body": body,
        "image": document.image or None,
        "category_id": document.category or None,
        "source_id": sources.source_id(document.source),
        "version_hash": document.version,
        "links": json.dumps(links),
        "now": now,
    }


def _record(document: Document) -> dict[str, Any]:
    meta = document._asdict()
    changed_at = meta.pop("changed_at")
    return {
        "id": document.id,
        "source": document.source,
        "path": document.path,
        "hash": document.version,
        "meta": json.dumps(meta),
        "changed_at": changed_at,
    }


def _forget(connection: Connection[Any], sources: Sources, now: float) -> int:
    """Delete rows that were withdrawn longer ago than the retention."""
    before = now - sources.config.retention_days * 86_400
    return connection.execute(query("forget"), {"before": before}).rowcount
