"""Step 1, content ingestion: changed Markdown files → public.markdown_content."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
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
from scheduler_web.publish.scan import RACY_NS, FileStat, Scan, read_file

SUFFIXES = (".md", ".markdown")
UNSEEN: FileStat = (-1, 0, 0)
"""Of a file that has to be read again by the next run."""

PARSER = 2
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


def ingest(connection: Connection[Any], index: Index, sources: Sources, now: float) -> None:
    """Bring table and index up to date with the files. One transaction, the caller's.

    A file that cannot be read keeps its last good document; its problem stays in `index.errors`.
    A source whose folder is missing is left as it is (it may be a mount that is late).
    """
    stamp = _stamp(connection, sources)
    if index.stamp != stamp or index.key != sources.key:
        _start_over(connection, index, sources)
    elif all(index.stats.get(name) == scan.files for name, scan in sources.scans.items()) and not (
        index.stats.keys() - sources.config.content_sources.keys()
    ):
        if _forget(connection, sources, now):
            index.stamp, index.changed = _stamp(connection, sources), True
        return
    index.changed = True
    places = {(document.source, document.path): document for document in index.docs.values()}
    reading = _read(index, sources, places)
    if not index.stamp:
        _believe(connection, index, places)
    gone = _gone(index, sources, places)
    if reading.documents or gone or index.stamp != stamp:
        _write(connection, index, sources, (reading, places, gone, now))
    _forget(connection, sources, now)
    index.stamp = _stamp(connection, sources)


def _stamp(connection: Connection[Any], sources: Sources) -> str:
    names = [sources.source_id(name) for name in sources.config.content_sources]
    return f"seen {fetch(connection, 'stamp', source_ids=names)[0][0]}"


def _start_over(connection: Connection[Any], index: Index, sources: Sources) -> None:
    """The table is not as we left it, or documents would be made differently now: read every file."""
    docs: dict[str, Document] = {}
    for problems in (index.errors, index.warnings, index.stats):
        problems.clear()
    index.key, index.stamp = sources.key, ""
    for _, source, _, _, meta, changed_at, withdrawn in fetch(connection, "records"):
        if withdrawn:
            continue
        document = documents.from_meta(meta, changed_at)
        settings = sources.config.content_sources.get(source)
        if settings:
            language = sources.config.site.language
            url = documents.document_url(settings, document.slug, document.locale, language)
            document = documents.completed(
                document._replace(url=url), identifier=document.id, changed_at=changed_at
            )
        docs[document.id] = document
    index.set_docs(docs)
    index.unrendered = set(docs)


def _believe(connection: Connection[Any], index: Index, places: dict[Place, Document]) -> None:
    """Where a file cannot be read any more, its row is all there is of the document, whoever wrote it."""
    left = {places[place].id: place for place in index.errors if place in places}
    for identifier, body in fetch(connection, "bodies", ids=list(left)) if left else ():
        document = places[left[identifier]]
        now = document._replace(text_hash=documents.text_hash(body))
        known = documents.completed(now, identifier=identifier, changed_at=document.changed_at)
        places[left[identifier]] = index.docs[identifier] = known


def _gone(index: Index, sources: Sources, places: Mapping[Place, Document]) -> set[Place]:
    """Documents and problems whose file is no longer there. Those of a folder that is missing stay."""
    enabled = {name for name, source in sources.config.content_sources.items() if source.enabled}
    missing = enabled - sources.scans.keys()
    gone = {
        place
        for place in (*places, *index.errors, *index.warnings)
        if place[0] not in missing
        and (place[0] not in sources.scans or place[1] not in sources.scans[place[0]].files)
    }
    for place in gone:
        index.errors.pop(place, None)
        index.warnings.pop(place, None)
    for name in index.stats.keys() - enabled:
        del index.stats[name]
    return gone & places.keys()


def _read(index: Index, sources: Sources, places: Mapping[Place, Document]) -> Reading:
    reading = Reading()
    for name, found in sources.scans.items():
        before = index.stats.get(name, {})
        seen = dict(found.files)
        for path, stat in found.files.items():
            if path.endswith(SUFFIXES) and before.get(path) != stat:
                settled = _read_one(index, sources, reading, ((name, path), places.get((name, path))))
                if not settled or stat[1] >= time.time_ns() - RACY_NS:
                    seen[path] = UNSEEN
        index.stats[name] = seen
    return reading


def _read_one(index: Index, sources: Sources, reading: Reading, file: tuple[Place, Document | None]) -> bool:
    """Whether the file could be read at all. One with the same bytes as before needs no parsing."""
    place, known = file
    index.warnings.pop(place, None)
    failed = index.errors.pop(place, None)
    try:
        data = read_file(sources.folder(place[0]) / place[1], sources.config.max_document_bytes)
        if data is None:
            limit = sources.config.max_document_bytes
            raise frontmatter.FrontMatterError(0, f"larger than max_document_bytes ({limit:,})")
        version = blake2b(data, digest_size=16).hexdigest()
        if known is None or known.version != version or failed or not index.stamp:
            _take(index, sources, reading, (place, data, version))
    except frontmatter.FrontMatterError as error:
        index.errors[place] = Problem(sources.shown(place), error.line, str(error))
    except OSError as error:
        index.errors[place] = Problem(sources.shown(place), 0, f"cannot be read: {error.strerror}")
        return False
    return True


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
    connection: Connection[Any],
    index: Index,
    sources: Sources,
    change: tuple[Reading, Mapping[Place, Document], set[Place], float],
) -> None:
    reading, places, gone, now = change
    settled = settle(connection, index, sources, (places, reading.documents, gone))
    docs: dict[str, Document] = {}
    for document in settled.documents:
        before = index.docs.get(document.id)
        if document is before:
            docs[document.id] = document
            continue
        changed_at = before.changed_at if before else None
        if before and before.version != document.version:
            changed_at = now
        docs[document.id] = documents.completed(document, identifier=document.id, changed_at=changed_at)
    put = [(docs[i], reading.bodies[(docs[i].source, docs[i].path)]) for i in settled.put]
    withdrawn = [identifier for identifier in index.docs if identifier not in docs]
    _put(connection, sources, (put, settled.displaced, now))
    if withdrawn:
        connection.execute(query("withdraw_content"), {"ids": withdrawn, "now": now})
        connection.execute(query("withdraw_records"), {"ids": withdrawn, "now": now})
    index.unrendered = (index.unrendered | set(settled.put)) & docs.keys()
    touched = [*settled.put, *withdrawn, *(i for i, d in docs.items() if index.docs.get(i) is not d)]
    index.set_docs(docs, touched)
    index.conflicts = list(settled.conflicts.values())
    for name, path in settled.conflicts:
        index.stats[name][path] = UNSEEN


def _put(
    connection: Connection[Any], sources: Sources, change: tuple[list[tuple[Document, str]], list[str], float]
) -> None:
    put, displaced, now = change
    with connection.cursor() as cursor:
        if displaced:
            moving = [{"id": d.id, "slug": d.slug} for d, _ in put] + [
                {"id": i, "slug": ""} for i in displaced
            ]
            cursor.executemany(query("free_slug"), moving)
        if put:
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
    return {
        "id": document.id,
        "source": document.source,
        "path": document.path,
        "hash": document.version,
        "meta": json.dumps(documents.to_meta(document)),
        "changed_at": document.changed_at,
    }


def _forget(connection: Connection[Any], sources: Sources, now: float) -> int:
    """Delete rows that were withdrawn longer ago than the retention."""
    before = now - sources.config.retention_days * 86_400
    return connection.execute(query("forget"), {"before": before}).rowcount
