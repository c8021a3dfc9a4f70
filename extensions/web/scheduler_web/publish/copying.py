"""Steps 2 and 9: assets under hashed names and their own, and nothing that no page needs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from scheduler_web.publish import assets
from scheduler_web.publish.assets import FINAL, MEDIA, Asked, Asset
from scheduler_web.publish.build import Build, plain_entry
from scheduler_web.publish.documents import digest
from scheduler_web.publish.manifest import Entry
from scheduler_web.publish.problems import ContentError, Problem, PublishError

_RESERVED = re.compile(
    r"(assets/.*|.*\.html|(.*/)?(feed|atom)\.xml|sitemap(-\d+)?\.xml|robots\.txt|llms(-full)?\.txt)",
    re.IGNORECASE,
)
"""Names that other steps give out."""


def copy_assets(build: Build, step: str) -> int:
    """Publish every asset under the name with its hash, and all but CSS and JS under its own.

    Returns how many were copied. Raises ContentError after the rest for one that has a page's name.
    """
    asked = assets.collect(_roots(build), _media(build))
    refused = [name for name in asked if _RESERVED.fullmatch(name)]
    for name in refused:
        del asked[name]
    if _known(build, asked):
        found = build.assets
    else:
        found = assets.refresh(build.assets, asked)
        if not build.around.dry_run:
            assets.save(build.workshop.private / "assets", found)
        build.assets = found
    plan = _early(found)
    copied = _bring(build, step, plan)
    if refused:
        problems = [
            Problem(name, 0, "not published: the site has a page or file of its own there")
            for name in refused
        ]
        raise ContentError(problems)
    return copied


def organize_assets(build: Build, step: str) -> int:
    """Bring CSS and JS to their final paths, and drop what no page needs any more.

    While pages from before are still up (their step failed), the assets that they name stay too.
    """
    plan = {a.name: a for a in build.assets.values() if a.name.endswith(FINAL)}
    if not build.failed & {"asset_copy", "page_prerender", "rss_feed"}:
        build.keep_only(step, plan)
        build.keep_only("asset_copy", _early(build.assets))
    return _bring(build, step, plan)


def _early(found: Mapping[str, Asset]) -> dict[str, Asset]:
    plan = {asset.published: asset for asset in found.values()}
    return plan | {asset.name: asset for asset in found.values() if not asset.name.endswith(FINAL)}


def _roots(build: Build) -> Iterator[tuple[str, Path]]:
    """Ours first, then other extensions', then the site's own, which win."""
    for _, folder in sorted(build.around.assets, key=lambda entry: (entry[0] != "web", entry[0])):
        yield "", folder
    if build.config.assets:
        folder = build.around.base_dir / build.config.assets
        if not folder.is_dir():
            raise PublishError(f"assets: there is no folder {folder}")
        yield "", folder


def _media(build: Build) -> Iterator[Asked]:
    for name, scan in build.scans.items():
        folder = build.sources.folder(name)
        for path, stat in scan.files.items():
            if path.lower().endswith(MEDIA):
                yield Asked(f"media/{name}/{path}", folder / path, stat)


def _known(build: Build, asked: dict[str, Asked]) -> bool:
    known = build.assets
    return known.keys() == asked.keys() and all(
        known[name].stat == wish.stat and known[name].file == str(wish.file) for name, wish in asked.items()
    )


def _bring(build: Build, step: str, plan: dict[str, Asset]) -> int:
    copied = 0
    for path, asset in plan.items():
        mark = digest(asset.name, asset.hash)
        entry = build.wanted.entries.get(path)
        if entry is None or entry.inputs != mark:
            _copy(build, path, asset, plain_entry(step, mark, mark))
            copied += 1
    return copied


def _copy(build: Build, path: str, asset: Asset, entry: Entry) -> None:
    if asset.text and path == asset.published:
        build.put(path, asset.text.encode(), entry)
        return
    file = build.stage_file()
    shutil.copyfile(asset.file, file)
    build.put(path, file, entry)
