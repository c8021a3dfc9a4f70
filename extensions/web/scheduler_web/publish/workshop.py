"""The folder beside the output in which sites are built; the output is a symlink to the finished one.

    dist -> .dist/a            what readers see
    .dist/MADE-BY-…            says that the folder is ours: without it nothing in it is touched
    .dist/a/  .dist/b/         the site, and the one before it, which becomes the next
    .dist/private/             a.manifest, b.manifest, index, fragments, stage/, lock

A tree is changed only while no reader can come to it, and then swapped in. Its manifest is removed before
and written after, so a tree without one was left half-made and is made anew. Unchanged files are hard links.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scheduler_web.publish import manifest
from scheduler_web.publish.manifest import Entry, Manifest
from scheduler_web.publish.problems import PublishError

MARKER = "MADE-BY-THE-PUBLISH-PIPELINE"
LOCK_WAIT_S = 600.0


class Workshop:
    def __init__(self, output: Path) -> None:
        self.output = output
        self.root = output.parent / f".{output.name}"
        self.private = self.root / "private"
        self.stage = self.private / "stage"
        self.live: str | None = None

    @contextmanager
    def opened(self, *, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Hold the workshop: one build at a time. Raises PublishError when it, or the output, is not ours."""
        umask = os.umask(0o022)
        try:
            self._check_output()
            self._make()
            with _locked(self.private / "lock", cancelled):
                self.live = self._live_tree()
                shutil.rmtree(self.stage, ignore_errors=True)
                self.stage.mkdir()
                yield
                shutil.rmtree(self.stage, ignore_errors=True)
        finally:
            os.umask(umask)

    def tree(self, name: str) -> Path:
        return self.root / name

    def manifest(self, name: str | None) -> Manifest | None:
        return manifest.load(self._manifest_file(name)) if name else None

    def publish(self, wanted: Manifest, staged: Mapping[str, Path]) -> None:
        """Make the tree of `wanted` and swap it in. On any error the readers' tree is as it was.

        Every entry is a file of the live tree or one of `staged` (path in the site → file in the stage).
        """
        name = "b" if self.live == "a" else "a"
        spare = self.manifest(name)
        self._manifest_file(name).unlink(missing_ok=True)
        tree = self.tree(name)
        if spare is None or not _worth_mending(spare, wanted) or not _intact(tree, spare):
            shutil.rmtree(tree, ignore_errors=True)
            tree.mkdir()
            spare = Manifest()
        _mend(tree, spare, wanted, _Supply(self.tree(self.live) if self.live else None, staged))
        wanted.save(self._manifest_file(name))
        self._swap(name)

    def save_live(self, current: Manifest) -> None:
        """Note what was learnt about the live tree, which itself stays as it is."""
        if self.live:
            current.save(self._manifest_file(self.live))

    def _manifest_file(self, name: str) -> Path:
        return self.private / f"{name}.manifest"

    def _check_output(self) -> None:
        if self.output.is_symlink():
            target = self.output.readlink()
            if target.parent != Path(self.root.name) or target.name not in ("a", "b"):
                raise PublishError(
                    f"{self.output} is a symlink to {target}, which is not ours: remove it with "
                    f"`rm {self.output}`, or name another folder in `output`"
                )
        elif self.output.exists():
            raise PublishError(
                f"{self.output} is a real folder or file, and publishing would replace it: move it aside "
                f"with `mv {self.output} {self.output}.before`, or name another folder in `output`"
            )

    def _make(self) -> None:
        if self.root.exists() and not (self.root / MARKER).is_file() and any(self.root.iterdir()):
            raise PublishError(
                f"{self.root} exists and was not made by publishing: move it aside with "
                f"`mv {self.root} {self.root}.before`"
            )
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / MARKER).touch()
        self.private.mkdir(mode=0o700, exist_ok=True)

    def _live_tree(self) -> str | None:
        return self.output.readlink().name if self.output.is_symlink() and self.output.is_dir() else None

    def _swap(self, name: str) -> None:
        link = self.private / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{self.root.name}/{name}")
        link.replace(self.output)
        self.live = name


@contextmanager
def _locked(file: Path, cancelled: Callable[[], bool]) -> Iterator[None]:
    """An flock: it goes with its process, however that ends."""
    with file.open("a") as handle:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if cancelled() or time.monotonic() > deadline:
                    raise PublishError(f"another build holds {file}") from None
                time.sleep(0.05)
        yield


def damaged(tree: Path, entries: Mapping[str, Entry]) -> set[str]:
    """Paths whose file is missing or not as it was written."""
    found = set()
    stat = os.stat
    base = f"{tree}/"
    for path, entry in entries.items():
        try:
            is_now = stat(base + path, follow_symlinks=False)
        except OSError:
            found.add(path)
            continue
        if (is_now.st_mtime_ns, is_now.st_size, is_now.st_ino) != (entry[1], entry[0], entry[2]):
            found.add(path)
    return found


def _worth_mending(spare: Manifest, wanted: Manifest) -> bool:
    """Replacing a file costs several times as much as linking one into a new tree."""
    changes = sum(_file_of(spare.entries.get(path)) != entry[:3] for path, entry in wanted.entries.items())
    return changes < 50 + len(wanted.entries) // 8


def _file_of(entry: Entry | None) -> tuple[int, ...]:
    return entry[:3] if entry else ()


def _intact(tree: Path, expected: Manifest) -> bool:
    return tree.is_dir() and not damaged(tree, expected.entries)


class _Supply:
    """Where the files of a new tree come from."""

    def __init__(self, live: Path | None, staged: Mapping[str, Path]) -> None:
        self._live = live
        self._staged = staged

    def deliver(self, path: str, target: str) -> None:
        source = self._staged.get(path)
        if source is not None:
            os.replace(source, target)  # noqa: PTH105 (thousands of calls; pathlib triples the time)
        elif self._live is not None:
            temporary = f"{target}.~new"
            os.link(f"{self._live}/{path}", temporary)  # (as above)
            os.rename(temporary, target)  # noqa: PTH104 (as above)
        else:
            raise PublishError(f"{path}: nothing to publish it from")


def _mend(tree: Path, present: Manifest, wanted: Manifest, supply: _Supply) -> None:
    """Turn a tree that is `present` into `wanted`, touching only what differs."""
    made: set[str] = set()
    base = f"{tree}/"
    for path in present.entries.keys() - wanted.entries.keys():
        _remove(tree, path)
    for path, entry in wanted.entries.items():
        if _file_of(present.entries.get(path)) == entry[:3]:
            continue
        folder = path.rpartition("/")[0]
        if folder not in made:
            (tree / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        supply.deliver(path, base + path)


def _remove(tree: Path, path: str) -> None:
    file = tree / path
    file.unlink(missing_ok=True)
    for folder in file.parents:
        if folder == tree:
            return
        try:
            folder.rmdir()
        except OSError:
            return
