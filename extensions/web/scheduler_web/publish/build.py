"""One build: what stands, what is wanted, and what has been made so far. Steps work on it, in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection

from scheduler_web.publish import assets, feeds, index, pages, workshop
from scheduler_web.publish.assets import Asset
from scheduler_web.publish.cache import FragmentCache
from scheduler_web.publish.config import PublishConfig
from scheduler_web.publish.documents import digest
from scheduler_web.publish.index import Index
from scheduler_web.publish.ingest import Sources
from scheduler_web.publish.inputs import GENERATOR, Inputs
from scheduler_web.publish.manifest import Entry, Key, Manifest
from scheduler_web.publish.markdown import VERSION as RENDERER
from scheduler_web.publish.problems import Problem
from scheduler_web.publish.products import Product
from scheduler_web.publish.scan import Scan, scan
from scheduler_web.publish.site import Site, visible_window
from scheduler_web.publish.theme import Theme, read_templates, theme
from scheduler_web.publish.workshop import Workshop

Database = Callable[[], AbstractContextManager[Connection[Any]]]
Folders = Iterable[tuple[str, Path]]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a build is given. `templates` and `assets`: (extension, folder); `now`: Unix seconds."""

    config: PublishConfig
    base_dir: Path
    zone: ZoneInfo
    now: float
    database: Database
    templates: tuple[tuple[str, Path], ...] = ()
    assets: tuple[tuple[str, Path], ...] = ()
    cancelled: Callable[[], bool] = lambda: False
    dry_run: bool = False

    def check(self) -> None:
        """Raises CancelledError once the run shall end."""
        if self.cancelled():
            raise asyncio.CancelledError


@dataclass(kw_only=True)
class Build:
    """`wanted` starts as the live tree's entries; steps put and drop. `staged`: path → its new file."""

    around: Surroundings
    workshop: Workshop
    staged: dict[str, Path] = field(default_factory=dict)
    changed: bool = False
    failed: set[str] = field(default_factory=set)
    _number: int = 0

    @cached_property
    def config(self) -> PublishConfig:
        return self.around.config

    @cached_property
    def index(self) -> Index:
        return index.load(self.workshop.private / "index")

    @cached_property
    def live(self) -> Manifest:
        return self.workshop.manifest(self.workshop.live) or Manifest()

    @cached_property
    def wanted(self) -> Manifest:
        live = self.live
        entries = {path: entry for path, entry in live.entries.items() if path not in self.damaged}
        return Manifest(
            entries=entries,
            shapes=list(live.shapes),
            problems=dict(live.problems),
            inputs=live.inputs,
            window=live.window,
            unfinished=live.unfinished,
        )

    @cached_property
    def damaged(self) -> set[str]:
        """Files of the live tree that are missing or not as we wrote them."""
        if self.workshop.live is None:
            return set()
        return workshop.damaged(self.workshop.tree(self.workshop.live), self.live.entries)

    @cached_property
    def cache(self) -> FragmentCache:
        return FragmentCache(self.workshop.private / "fragments.sqlite")

    @cached_property
    def scans(self) -> dict[str, Scan]:
        """Every enabled source whose folder is there; one that lies in another is not read twice."""
        enabled = {n: s for n, s in self.config.content_sources.items() if s.enabled}
        roots = {name: os.path.realpath(self.around.base_dir / s.path) for name, s in enabled.items()}
        all_roots = set(roots.values())
        return {
            name: scan(Path(root), recursive=enabled[name].indexing.recursive, excluded=all_roots - {root})
            for name, root in roots.items()
            if Path(root).is_dir()
        }

    @cached_property
    def sources(self) -> Sources:
        around = self.around
        return Sources(config=around.config, base_dir=around.base_dir, zone=around.zone, scans=self.scans)

    @cached_property
    def assets(self) -> dict[str, Asset]:
        return assets.load(self.workshop.private / "assets")

    @cached_property
    def theme(self) -> Theme:
        """The site's own templates first, then other extensions', then ours."""
        folders = [
            folder for name, folder in sorted(self.around.templates, key=lambda t: (t[0] == "web", t[0]))
        ]
        if self.config.templates:
            folders.insert(0, self.around.base_dir / self.config.templates)
        return theme(read_templates(folders), self.config.site.language)

    @cached_property
    def site(self) -> Site:
        return Site(self.config, self.index.docs.values(), self.around.now)

    @cached_property
    def fragments(self) -> dict[str, str]:
        return self.cache.keys()

    @cached_property
    def shapes(self) -> dict[tuple[Key, ...], int]:
        return {shape: number for number, shape in enumerate(self.wanted.shapes)}

    @cached_property
    def taken(self) -> frozenset[str]:
        """Names that assets have on the site."""
        return frozenset(a.name for a in self.assets.values()) | {a.published for a in self.assets.values()}

    @cached_property
    def page_plan(self) -> tuple[list[Product], list[Problem]]:
        return pages.plan(self.site, self.taken)

    @cached_property
    def urls(self) -> frozenset[str]:
        """Every address that a link within the site may lead to."""
        planned = ("/" + product.path.removesuffix("index.html") for product in self.page_plan[0])
        files = ("/sitemap.xml", "/llms.txt", "/llms-full.txt", "/robots.txt")
        feed_files = {
            f"{feed.url}{name}" for feed in feeds.feeds(self.site) for name in ("feed.xml", "atom.xml")
        }
        return frozenset((*planned, *files, *feed_files, *(f"/{name}" for name in self.taken)))

    @cached_property
    def inputs(self) -> Inputs:
        """Ask for it after step 3."""
        return Inputs(
            site=self.site,
            theme=self.theme,
            assets=self.assets,
            cache=self.cache,
            fragments=self.fragments,
            base_dir=self.around.base_dir,
            zone=self.around.zone,
            urls=self.urls,
        )

    def fingerprint(self) -> bytes:
        """Stands for all that a build is made from, the clock apart."""
        made_of = [(a.name, a.published, a.width, a.height) for a in self.assets.values()]
        settings = self.config.model_dump(exclude={"output", "retention_days", "processes"})
        versions = (GENERATOR, RENDERER, str(self.around.zone))
        return digest(self.index.digest, self.theme.digest, made_of, settings, versions)

    @cached_property
    def unchanged(self) -> bool:
        """Nothing that files are rendered from differs from the last finished build (ask after step 2)."""
        if self.live.unfinished or not self.live.entries:
            return False
        start, end = self.live.window
        return start <= self.around.now < end and self.live.inputs == self.fingerprint()

    def window(self) -> tuple[float, float]:
        return visible_window(self.index.docs.values(), self.around.now)

    # What steps do

    def stage_file(self) -> Path:
        self._number += 1
        return self.workshop.stage / str(self._number)

    def put(self, path: str, data: bytes | Path, entry: Entry) -> None:
        """Want `path` with this content (bytes, or a file of the stage); `entry` without its file's stat.

        Content that is already there keeps its file, so that readers' caches stay good.
        """
        before = self.wanted.entries.get(path)
        if before and before.digest == entry.digest and path not in self.staged:
            self.wanted.entries[path] = entry._replace(
                size=before.size, mtime_ns=before.mtime_ns, inode=before.inode
            )
            if isinstance(data, Path):
                data.unlink()
            self.changed = self.changed or self.wanted.entries[path] != before
            return
        if isinstance(data, bytes):
            file = self.stage_file()
            file.write_bytes(data)
            data = file
        stat = data.stat()
        self.staged[path] = data
        self.wanted.entries[path] = entry._replace(
            size=stat.st_size, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino
        )
        self.changed = True

    def keep_only(self, step: str, paths: Mapping[str, Any] | set[str]) -> None:
        """Drop this step's files that are no longer planned."""
        for path in [p for p, e in self.wanted.entries.items() if e.step == step and p not in paths]:
            self.drop(path)

    def drop(self, path: str) -> None:
        del self.wanted.entries[path]
        self.staged.pop(path, None)
        self.wanted.problems.pop(path, None)
        self.changed = True

    def note(self, path: str, problems: list[Problem]) -> None:
        if self.wanted.problems.get(path, []) == problems:
            return
        self.changed = True
        if problems:
            self.wanted.problems[path] = problems
        else:
            del self.wanted.problems[path]

    def seal(self, unfinished: tuple[str, ...]) -> None:
        """Note what the finished build was made from."""
        found = (self.fingerprint(), self.window(), unfinished)
        wanted = self.wanted
        if self.unchanged and not unfinished:
            return
        if found != (wanted.inputs, wanted.window, wanted.unfinished):
            wanted.inputs, wanted.window, wanted.unfinished = found
            self.changed = True

    def publish(self) -> None:
        """Swap in what the steps made. Raises when it cannot be completed; the readers' site stays whole."""
        lost = self.damaged - self.staged.keys() - (self.live.entries.keys() - self.wanted.entries.keys())
        if self.staged or self.wanted.entries.keys() != self.live.entries.keys() or lost:
            self.workshop.publish(self.wanted, self.staged)
        elif self.changed:
            self.workshop.save_live(self.wanted)


def plain_entry(step: str, data: bytes, inputs: bytes) -> Entry:
    """An entry that no shape explains; `inputs` is compared as it is."""
    mark = blake2b(data, digest_size=16).digest()
    return Entry(size=0, mtime_ns=0, inode=0, step=step, digest=mark, shape=-1, inputs=inputs, subject="")
