"""Assets: from every extension, the site's own folder and the images beside the documents.

Each is published under a name that holds its content's hash, which pages and stylesheets use, and under
its own name, for old links.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import NamedTuple

from scheduler_web.publish import store
from scheduler_web.publish.imagesize import HEAD, image_size
from scheduler_web.publish.scan import RACY_NS, FileStat, scan

VERSION = "assets 1"
MEDIA = (
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".webp",
    ".avif",
    ".svg",
    ".ico",
    ".mp4",
    ".webm",
    ".mp3",
    ".ogg",
    ".pdf",
    ".zip",
    ".csv",
    ".json",
    ".txt",
)
"""What is published from a folder of documents."""

FINAL = (".css", ".js", ".mjs")
"""What step 9 brings to its final place; step 2 does the rest."""

_URL = re.compile(
    r"""url\(\s*(?P<q>["']?)(?P<url>[^"')]+)(?P=q)\s*\)|@import\s+(?P<r>["'])(?P<import>[^"']+)(?P=r)"""
)


class Asset(NamedTuple):
    """`name` is its path on the site; `published` the path that holds `hash`. Sizes in pixels, 0: none."""

    name: str
    file: str
    stat: FileStat
    hash: str
    width: int
    height: int
    published: str
    text: str
    """A stylesheet's content with its addresses rewritten; empty for all else."""


class Asked(NamedTuple):
    """A file to publish: where it lies, how it is named on the site."""

    name: str
    file: Path
    stat: FileStat


def collect(roots: Iterable[tuple[str, Path]], media: Iterable[Asked]) -> dict[str, Asked]:
    """All assets by name; a later root wins over an earlier one. `roots`: (prefix on the site, folder)."""
    found: dict[str, Asked] = {}
    for prefix, folder in roots:
        for path, stat in scan(folder).files.items():
            found[prefix + path] = Asked(prefix + path, folder / path, stat)
    for asked in media:
        found[asked.name] = asked
    return found


def refresh(known: Mapping[str, Asset], asked: Mapping[str, Asked]) -> dict[str, Asset]:
    """Read what is new or changed. Raises OSError naming a file that cannot be read."""
    plain = {name: _read(known.get(name), wish) for name, wish in asked.items()}
    done: dict[str, Asset] = {}
    for name in sorted(plain):
        _finish(name, plain, done, ())
    return done


def _read(known: Asset | None, wish: Asked) -> Asset:
    if known and known.stat == wish.stat and known.file == str(wish.file) and not known.name.endswith(".css"):
        return known
    data = wish.file.read_bytes()
    width, height = image_size(data[:HEAD]) or (0, 0)
    text = data.decode("utf-8", "replace") if wish.name.endswith(".css") else ""
    digest = blake2b(data, digest_size=5).hexdigest()
    stat = wish.stat if wish.stat[1] < time.time_ns() - RACY_NS else (-1, 0, 0)
    return Asset(wish.name, str(wish.file), stat, digest, width, height, _published(wish.name, digest), text)


def _published(name: str, digest: str) -> str:
    path = PurePosixPath(name)
    return f"assets/{path.with_name(f'{path.stem}.{digest}{path.suffix}')}"


def _finish(name: str, plain: Mapping[str, Asset], done: dict[str, Asset], above: tuple[str, ...]) -> Asset:
    """A stylesheet's hash is of what is published: its addresses come first, deepest first."""
    if name in done:
        return done[name]
    asset = plain[name]
    if asset.text:
        text = _URL.sub(lambda match: _rewrite(match, asset, (plain, done, (*above, name))), asset.text)
        digest = blake2b(text.encode(), digest_size=5).hexdigest()
        asset = asset._replace(text=text, hash=digest, published=_published(name, digest))
    done[name] = asset
    return asset


def _rewrite(
    match: re.Match[str], asset: Asset, state: tuple[Mapping[str, Asset], dict[str, Asset], tuple[str, ...]]
) -> str:
    plain, done, above = state
    address = match["url"] or match["import"]
    path, mark, rest = re.match(r"([^?#]*)([?#]?)(.*)", address, re.DOTALL).groups()  # type: ignore[union-attr]
    target = path[1:] if path.startswith("/") else normpath(f"{PurePosixPath(asset.name).parent}/{path}")
    if re.match(r"[a-z]+:|//|#", address, re.IGNORECASE) or target not in plain:
        return match[0]
    if target in above:
        return match[0].replace(address, f"/{target}{mark}{rest}")
    found = _finish(target, plain, done, above)
    return match[0].replace(address, f"/{found.published}{mark}{rest}")


def save(path: Path, assets: Mapping[str, Asset]) -> None:
    store.save(path, VERSION, [tuple(asset) for asset in assets.values()])


def load(path: Path) -> dict[str, Asset]:
    rows = store.load(path, VERSION) or []
    return {row[0]: Asset._make(row) for row in rows}
