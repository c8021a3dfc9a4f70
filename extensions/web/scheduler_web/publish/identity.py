"""Who is who: a document keeps its row when its file is edited, renamed or moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import Connection

from scheduler_web.publish.documents import Document, natural_id
from scheduler_web.publish.index import Index, Place
from scheduler_web.publish.problems import Problem
from scheduler_web.publish.queries import fetch

if TYPE_CHECKING:
    from scheduler_web.publish.ingest import Sources

Key = tuple[str, str, str]
"""(source_id, slug, locale); the source_id is empty where slugs belong to the whole site."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """All documents with their final ids; the ids to write; rows that hold a slug which another now has;
    and the files that had to stand back."""

    documents: list[Document]
    put: list[str]
    displaced: list[str]
    conflicts: dict[Place, Problem]


Change = tuple[Mapping[Place, Document], Mapping[Place, Document], set[Place]]
"""(the documents before, those just read, places of the former whose file is gone)"""


def settle(connection: Connection[Any], index: Index, sources: Sources, change: Change) -> Settled:
    """Give every document its id: the one of its path, of a vanished file with the same bytes, of a row
    with the same slug, or a new one. Of two documents with one address the first by path is published.
    """
    before, read, gone = change
    if (
        not gone
        and not index.conflicts
        and index.stamp
        and all(_same_place(before, *one) for one in read.items())
    ):
        return _edited(before, read)
    candidates = {place: d for place, d in before.items() if place not in gone} | dict(read)
    order = {name: number for number, name in enumerate(sources.config.content_sources)}
    places = sorted(candidates, key=lambda place: (order[place[0]], place[1]))
    per_site = bool(fetch(connection, "shared_slugs")[0][0])
    rows = {(("" if per_site else r[1]), r[2], r[3]): (r[0], r[1]) for r in fetch(connection, "rows")}

    def key(document: Document) -> Key:
        return ("" if per_site else sources.source_id(document.source), document.slug, document.locale)

    winners, conflicts = _winners(places, candidates, sources, key)
    conflicts |= _foreign(winners, rows, sources, key)
    ids = _Ids(before=before, gone=gone, rows=rows)
    documents = [ids.give(place, document, key(document)) for place, document in winners.items()]
    put = [d.id for d, place in zip(documents, winners, strict=True) if place in read]
    wanted = {key(d): d.id for d in documents if (d.source, d.path) in read}
    displaced = [rows[k][0] for k, identifier in wanted.items() if k in rows and rows[k][0] != identifier]
    return Settled(documents=documents, put=put, displaced=displaced, conflicts=conflicts)


def _same_place(before: Mapping[Place, Document], place: Place, document: Document) -> bool:
    known = before.get(place)
    return known is not None and (known.slug, known.locale, known.url) == document[3:6]


def _edited(before: Mapping[Place, Document], read: Mapping[Place, Document]) -> Settled:
    """The common case: files were edited where they are, and no address changed."""
    edited = {before[place].id: d._replace(id=before[place].id) for place, d in read.items()}
    documents = [edited.get(d.id, d) for d in before.values()]
    return Settled(documents=documents, put=list(edited), displaced=[], conflicts={})


def _winners(
    places: list[Place], candidates: Mapping[Place, Document], sources: Sources, key: Any
) -> tuple[dict[Place, Document], dict[Place, Problem]]:
    winners: dict[Place, Document] = {}
    conflicts: dict[Place, Problem] = {}
    taken: dict[Any, Place] = {}
    for place in places:
        document = candidates[place]
        holder = taken.get(document.url) or taken.get(key(document))
        if holder is None:
            winners[place] = document
            taken[document.url] = taken[key(document)] = place
            continue
        same = (
            f"address {document.url}" if document.url == candidates[holder].url else f'slug "{document.slug}"'
        )
        message = f"not published: it has the same {same} as {sources.shown(holder)}; give one another slug"
        conflicts[place] = Problem(sources.shown(place), 1, message)
    return winners, conflicts


def _foreign(winners: dict[Place, Document], rows: Any, sources: Sources, key: Any) -> dict[Place, Problem]:
    """Rows of sources that are not ours are never taken over."""
    ours = {sources.source_id(name) for name in sources.config.content_sources}
    conflicts = {}
    for place, document in list(winners.items()):
        row = rows.get(key(document))
        if row and row[1] not in ours:
            del winners[place]
            message = f'not published: the database has the slug "{document.slug}" in the source "{row[1]}"'
            conflicts[place] = Problem(sources.shown(place), 1, message)
    return conflicts


class _Ids:
    """Hands out ids, each once."""

    def __init__(
        self, *, before: Mapping[Place, Document], gone: set[Place], rows: dict[Key, tuple[str, str]]
    ) -> None:
        self._before = before
        self._rows: dict[Key, tuple[str, str]] = rows
        self._vanished: dict[str, list[str]] = {}
        for place in sorted(gone & before.keys()):
            self._vanished.setdefault(before[place].version, []).append(before[place].id)
        self._reserved = {d.id for place, d in before.items() if place not in gone}
        self._given: set[str] = set()

    def give(self, place: Place, document: Document, key: Key) -> Document:
        known = self._before.get(place)
        identifier = known.id if known and known.id in self._reserved else self._find(document, key)
        self._given.add(identifier)
        return document if document.id == identifier else document._replace(id=identifier)

    def _find(self, document: Document, key: Key) -> str:
        row = self._rows.get(key)
        known: tuple[str, ...] = (
            *self._vanished.get(document.version, ()),
            *(row[:1] if row else ()),
            document.id,
        )
        for identifier in known:
            if identifier not in self._given and identifier not in self._reserved:
                return identifier
        return natural_id(f"{document.source}/{document.path}", document.slug, document.locale)
