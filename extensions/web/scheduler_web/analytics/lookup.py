"""Which page an address is, and which agent a robot: every spelling is worked out once, and kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from scheduler_web.analytics.addresses import path_of, without_language
from scheduler_web.analytics.crawlers import is_crawler
from scheduler_web.analytics.schema import Schema
from scheduler_web.analytics.statements import Statements

Route = Callable[[str, str, str], str | None]
"""(source_id, slug, locale) → the address that publishing gives such a content; None: not published."""

Row = tuple[str, str, str, str, str, list[str]]
"""(id, slug, locale, source, title, addresses that publishing gave it, its own first)"""

MOST_OTHERS = 20_000
MORE = "(more)"
"""The page of addresses beyond that number: whoever invents addresses shall not fill the database."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """How the site addresses its contents: `route`, and the language that has no prefix."""

    route: Route
    language: str = "en"
    patterns: str = ""
    """Changes whenever `route` does."""


@dataclass(kw_only=True)
class Pages:
    """The known paths. `contents`: the pages among them that are content."""

    paths: dict[str, int]
    contents: set[int]
    languages: Collection[str]

    def find(self, path: str) -> tuple[str, int | None]:
        """The path's canonical form, and its page if there is one.

        A first part that only looks like a language is dropped where content lies behind it.
        """
        canonical = without_language(path, self.languages)
        for known in (path, canonical):
            if known in self.paths:
                return canonical, self.paths[known]
        behind = self.paths.get(without_language(path))
        return canonical, behind if behind in self.contents else None


class Lookup:
    """The memory of addresses and agents, inside the transaction of a pass."""

    def __init__(self, statements: Statements, schema: Schema, site: Site) -> None:
        self._statements = statements
        self._schema = schema
        self._site = site
        self._pages: Pages | None = None

    def refresh(self, before: str | None) -> tuple[str, set[date]]:
        """Take in what was published, renamed or moved since the state `before`.

        Returns the new state, and the days on which an address changes its page.
        """
        digest = self._statements.rows("contents_digest", self._columns())[0][0]
        state = f"{self._site.patterns} {digest}".strip()
        if state == before:
            return state, set()
        rows: list[Row] = self._statements.rows("contents", self._columns())
        wanted = self._addresses(rows)
        first = {content: path for path, content in reversed(wanted.items())}
        numbers = self._put_pages([(row[0], first.get(row[0], ""), row[4]) for row in rows])
        known = {path: page for path, page, _ in self._statements.rows("paths")}
        moved = {p: numbers[c] for p, c in wanted.items() if known.get(p) != numbers[c]}
        if moved:
            self._statements.run("put_paths", paths=list(moved), pages=list(moved.values()))
        self._pages = None
        return state, self._move_urls() if moved else set()

    def urls(self, urls: Iterable[str]) -> Mapping[str, int]:
        """The page of each address; those never met before are worked out and remembered."""
        asked = sorted(set(urls))
        if not asked:
            return {}
        found: dict[str, int] = dict(self._statements.rows("urls_of", urls=asked))
        new = {url: path_of(url) for url in asked if url not in found}
        if new:
            found |= self._learn(new)
        return found

    def agents(self, agents: Iterable[str]) -> Mapping[str, bool]:
        """Whether each of these agents, not remembered yet, is a robot."""
        found = {agent: is_crawler(agent) for agent in sorted(set(agents))}
        if found:
            self._statements.run("put_agents", agents=list(found), crawlers=list(found.values()))
        return found

    def _columns(self) -> dict[str, sql.Composable]:
        documents = self._schema.documents
        addresses = "(SELECT coalesce(array_agg(a), '{}') FROM jsonb_array_elements_text(jsonb_build_array("
        addresses += "w.meta -> 'url') || coalesce(w.meta -> 'aliases', '[]')) a WHERE a IS NOT NULL)"
        return {
            "addresses": sql.SQL(addresses if documents else "'{}'::text[]"),
            "stamp": sql.SQL("coalesce(w.xmin::text, '')" if documents else "''"),
            "joins": sql.SQL("LEFT JOIN public.web_documents w ON w.content_id = c.id" if documents else ""),
        }

    def _addresses(self, rows: list[Row]) -> dict[str, str]:
        """Path → content id. Of two contents with one address, the one whose own it is wins over an alias."""
        own = {r[0]: [*r[5][:1], *filter(None, [self._site.route(r[3], r[1], r[2])])] for r in rows}
        wanted: dict[str, str] = {}
        for content, addresses in own.items():
            for address in addresses[:1]:
                wanted.setdefault(path_of(address), content)
        for row in rows:
            for address in (*own[row[0]][1:], *row[5][1:]):
                wanted.setdefault(path_of(address), row[0])
        return wanted

    def _put_pages(self, rows: list[tuple[str, str, str]]) -> dict[str, int]:
        known = {c: (page, title, path) for c, page, title, path in self._statements.rows("pages")}
        changed = [row for row in rows if row[0] not in known or known[row[0]][1:] != (row[2], row[1])]
        numbers = {content: values[0] for content, values in known.items()}
        if changed:
            contents, paths, titles = (list(column) for column in zip(*changed, strict=True))
            numbers |= dict(self._statements.rows("put_pages", contents=contents, paths=paths, titles=titles))
        return numbers

    def _known(self) -> Pages:
        if self._pages is None:
            rows = self._statements.rows("paths")
            self._pages = Pages(
                paths={path: page for path, page, _ in rows},
                contents={page for _, page, content in rows if content},
                languages={language for (language,) in self._statements.rows("languages")}
                | {self._site.language.lower()},
            )
        return self._pages

    def _move_urls(self) -> set[date]:
        pages = self._known()
        moves = [
            (url, new, old)
            for url, path, old in self._statements.rows("urls")
            if (new := pages.find(path)[1]) is not None and new != old
        ]
        if not moves:
            return set()
        self._statements.run("move_urls", urls=[m[0] for m in moves], pages=[m[1] for m in moves])
        return {day for (day,) in self._statements.rows("days_of_pages", pages=[m[2] for m in moves])}

    def _learn(self, new: Mapping[str, str]) -> dict[str, int]:
        pages = self._known()
        found = {path: pages.find(path) for path in set(new.values())}
        strange = sorted({canonical for canonical, page in found.values() if page is None})
        self._add_others(pages, strange)
        rest = pages.paths.get(MORE, 0)
        learnt = {url: pages.find(path)[1] or rest for url, path in new.items()}
        self._statements.run(
            "put_urls", urls=list(new), paths=list(new.values()), pages=list(learnt.values())
        )
        return learnt

    def _add_others(self, pages: Pages, paths: list[str]) -> None:
        """Make pages of addresses that are no content; beyond a number of them, one for all the rest."""
        room = max(0, MOST_OTHERS - len(set(pages.paths.values()) - pages.contents))
        added = paths[:room]
        if len(paths) > room and MORE not in pages.paths:
            added.append(MORE)
        if added:
            numbers = dict(self._statements.rows("add_other_pages", paths=added))
            self._statements.run("put_paths", paths=list(numbers), pages=list(numbers.values()))
            pages.paths |= numbers
