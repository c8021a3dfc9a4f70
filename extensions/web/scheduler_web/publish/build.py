"""One build: what stands, what is wanted, and what has been made so far. Steps work on it, in order."""

from __future__ import annotations

import asyncio
import os
import shutil
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
from scheduler_web.publish.fanout import Limits
from scheduler_web.publish.index import Index
from scheduler_web.publish.ingest import Sources
from scheduler_web.publish.inputs import GENERATOR, Inputs
from scheduler_web.publish.manifest import Entry, Key, Manifest
from scheduler_web.publish.markdown import VERSION as RENDERER
from scheduler_web.publish.problems import Problem, PublishError
from scheduler_web.publish.products import Product
from scheduler_web.publish.scan import Scan, scan
from scheduler_web.publish.site import Site, visible_window
from scheduler_web.publish.theme import NoTheme, Theme, read_templates, theme
from scheduler_web.publish.workshop import Workshop

_NOT_SHOWN = {"output", "retention_days", "processes", "max_document_bytes", "render_timeout_s"}
_SHOWN = PublishConfig.model_fields.keys() - _NOT_SHOWN
"""What pages may be made from; the section has other rooms' keys as well."""

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
    """`wanted` starts as the live tree's entries; steps put and drop. `staged`: path → its new file;
    `touched`: path → the live tree's entry, for each path that is to be another; `damaged`: steps of which
    a file was missing or not as we wrote it.
    """

    around: Surroundings
    workshop: Workshop
    staged: dict[str, Path] = field(default_factory=dict)
    touched: dict[str, Entry | None] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    changed: bool = False
    failed: set[str] = field(default_factory=set)
    _number: int = 0

    @cached_property
    def config(self) -> PublishConfig:
        return self.around.config

    @cached_property
    def limits(self) -> Limits:
        processes = self.config.processes or len(os.sched_getaffinity(0))
        return Limits(processes=processes, timeout_s=self.config.render_timeout_s)

    @cached_property
    def index(self) -> Index:
        return index.load(self.workshop.private)

    @cached_property
    def wanted(self) -> Manifest:
        """The live tree's, without what is damaged."""
        live = self.workshop.manifest() or Manifest()
        if self.workshop.live is not None:
            for path in workshop.damaged(self.workshop.tree(self.workshop.live), live.entries):
                self.damaged.add(live.entries[path].step)
                self.touched[path] = live.entries.pop(path)
        return live

    @cached_property
    def cache(self) -> FragmentCache:
        file = self.workshop.private / "fragments.sqlite"
        if self.around.dry_run and file.exists():
            file = Path(shutil.copy(file, self.stage_file()))
        return FragmentCache(file)

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
    def theme(self) -> Theme | NoTheme:
        """The site's own templates first, then other extensions', then ours."""
        folders = [
            folder for name, folder in sorted(self.around.templates, key=lambda t: (t[0] == "web", t[0]))
        ]
        if self.config.templates:
            folders.insert(0, self.around.base_dir / self.config.templates)
        try:
            return theme(read_templates(folders), self.config.site.language)
        except PublishError as error:
            return NoTheme(str(error))

    @cached_property
    def site(self) -> Site:
        return Site(self.config, self.index.docs.values(), self.around.now, self.around.zone)

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

    def addresses(self) -> frozenset[str]:
        """Every address that a link within the site may lead to."""
        planned = ("/" + product.path.removesuffix("index.html") for product in self.page_plan[0])
        files = ("/sitemap.xml", "/llms.txt", "/llms-full.txt", "/robots.txt")
        feed_files = (f"{feed.url}{name}" for feed in feeds.feeds(self.site) for name in feeds.FILES)
        return frozenset((*planned, *files, *feed_files, *(f"/{name}" for name in self.taken)))

    @cached_property
    def settings(self) -> bytes:
        config = self.config.model_dump(include=_SHOWN)
        return digest(GENERATOR, renderer(self.config), str(self.around.zone), config)

    @cached_property
    def inputs(self) -> Inputs:
        """Ask for it after step 3."""
        return Inputs(
            site=self.site,
            theme=self.theme,
            assets=self.assets,
            cache=self.cache,
            base_dir=self.around.base_dir,
            settings=self.settings,
            addresses=self.addresses,
            behind=frozenset(self.index.unrendered),
        )

    @cached_property
    def fingerprint(self) -> bytes:
        """Stands for all that a build is made from, the clock apart. Ask for it after step 2."""
        made_of = [(a.name, a.published, a.width, a.height) for a in self.assets.values()]
        return digest(self.index.digest, self.theme.digest, made_of, self.settings)

    @cached_property
    def unchanged(self) -> bool:
        """Nothing that files are rendered from differs from the last finished build."""
        start, end = self.wanted.window
        same = start <= self.around.now < end and self.wanted.inputs == self.fingerprint
        return same and not self.wanted.unfinished

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
            self.changed = True
            self.wanted.entries[path] = entry._replace(
                size=before.size, mtime_ns=before.mtime_ns, inode=before.inode
            )
            if isinstance(data, Path):
                data.unlink()
            return
        if isinstance(data, bytes):
            file = self.stage_file()
            file.write_bytes(data)
            data = file
        stat = data.stat()
        self._touch(path, before)
        self.staged[path] = data
        self.wanted.entries[path] = entry._replace(
            size=stat.st_size, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino
        )

    def keep_only(self, step: str, paths: Mapping[str, Any] | set[str]) -> None:
        """Drop this step's files that are no longer planned."""
        for path in [p for p, e in self.wanted.entries.items() if e.step == step and p not in paths]:
            self._touch(path, self.wanted.entries.pop(path))
            self.staged.pop(path, None)
            self.wanted.problems.pop(path, None)

    def _touch(self, path: str, before: Entry | None) -> None:
        self.touched.setdefault(path, before)
        self.changed = True

    def note(self, path: str, problems: list[Problem]) -> None:
        if self.wanted.problems.get(path, []) == problems:
            return
        self.changed = True
        if problems:
            self.wanted.problems[path] = problems
        else:
            del self.wanted.problems[path]

    def seal(self, steps: set[str], *, all_of_them: bool) -> None:
        """Note what the build was made from; of some steps alone, only what they leave to the others."""
        if not all_of_them:
            left = self.failed | (self.damaged - steps) | set(self.wanted.unfinished)
            self.wanted.unfinished = tuple(sorted(left))
            return
        unfinished = tuple(sorted(self.failed))
        if self.unchanged and not unfinished:
            return
        window = visible_window(self.index.docs.values(), self.around.now)
        self.wanted.inputs, self.wanted.window, self.wanted.unfinished = self.fingerprint, window, unfinished
        self.changed = True

    def publish(self) -> None:
        """Swap in what the steps made. Raises when it cannot be completed; the readers' site stays whole."""
        if self.touched:
            self.workshop.publish(self.wanted, self.touched, self.staged)
        elif self.changed:
            self.workshop.save_live(self.wanted)
        self.workshop.keep(self.wanted)
        self.index.keep()


def renderer(config: PublishConfig) -> str:
    """What fragments are made with: another one makes all of them anew."""
    trusted = sorted(name for name, source in config.content_sources.items() if source.trusted_html)
    return f"{RENDERER} {' '.join(trusted)}"


def plain_entry(step: str, data: bytes, inputs: bytes) -> Entry:
    """An entry that no shape explains; `inputs` is compared as it is."""
    mark = blake2b(data, digest_size=16).digest()
    return Entry(size=0, mtime_ns=0, inode=0, step=step, digest=mark, shape=-1, inputs=inputs, subject="")
