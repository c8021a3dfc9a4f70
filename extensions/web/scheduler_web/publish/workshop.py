"""The folder beside the output in which sites are built; the output is a symlink to the finished one.

    dist -> .dist/a            what readers see
    .dist/MADE-BY-…            says that the folder is ours: without it nothing in it is touched
    .dist/a/  .dist/b/         the site, and the one before it, which becomes the next
    .dist/private/             a.manifest, a.lag, b.…, index, fragments, stage/, lock

A tree is changed only while no reader can come to it, and then swapped in. `a.lag` lists the paths in which
a is behind b; it is removed before a is touched and written once b is live, so a tree without one was left
half-made and is made anew. Unchanged files are hard links.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scheduler_web.publish import manifest, store
from scheduler_web.publish.manifest import Entry, Manifest
from scheduler_web.publish.problems import PublishError

MARKER = "MADE-BY-THE-PUBLISH-PIPELINE"
LOCK_WAIT_S = 600.0
_manifests = store.Kept()


class Workshop:
    def __init__(self, output: Path) -> None:
        self.output = output
        self.root = output.parent / f".{output.name}"
        self.private = self.root / "private"
        self.stage = self.private / "stage"
        self.live: str | None = None
        self._known = False

    @contextmanager
    def opened(self, *, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Hold the workshop: one build at a time. Raises PublishError when it, or the output, is not ours, or
        cannot be written."""
        umask = os.umask(0o022)
        try:
            self._check_output()
            self._make()
            with _locked(self.private / "lock", cancelled):
                self.live = self._live_tree()
                shutil.rmtree(self.stage, ignore_errors=True)
                self.stage.mkdir()
                try:
                    yield
                finally:
                    shutil.rmtree(self.stage, ignore_errors=True)
        except OSError as error:
            why = error.strerror or str(error)
            raise PublishError(f"nothing was published: {self.root} cannot be written: {why}") from error
        finally:
            os.umask(umask)

    def tree(self, name: str) -> Path:
        return self.root / name

    def manifest(self) -> Manifest | None:
        """The live tree's, or None: there is no site, or one that another version of the program made.

        What is changed in it counts once it is published.
        """
        if self.live is None:
            return None
        file = self._manifest_file(self.live)
        kept: Manifest | None = _manifests.take(file)
        found = kept or manifest.load(file)
        self._known = found is not None
        return found

    def keep(self, current: Manifest) -> None:
        """For the next run of this process."""
        if self.live:
            _manifests.keep(self._manifest_file(self.live), current)

    def publish(
        self, wanted: Manifest, touched: Mapping[str, Entry | None], staged: Mapping[str, Path]
    ) -> None:
        """Make the tree of `wanted` and swap it in. On any error the readers' tree is as it was.

        `touched` names every path that differs from the live tree, with its entry there; `staged` the new
        files. The other tree lags behind the live one by what its own file of changes says.
        """
        before, name = self.live, "b" if self.live == "a" else "a"
        tree = self.tree(name)
        lag = store.load(self._lag_file(name), manifest.VERSION) if self._known else None
        self._lag_file(name).unlink(missing_ok=True)
        self._manifest_file(name).unlink(missing_ok=True)
        supply = _Supply(self.tree(before) if before else None, staged)
        paths = touched.keys() | lag if lag is not None else wanted.entries.keys()
        if (
            lag is None
            or len(paths) > 50 + len(wanted.entries) // 8
            or not _mended(tree, wanted, paths, supply)
        ):
            shutil.rmtree(tree, ignore_errors=True)
            tree.mkdir()
            _mend(tree, wanted, wanted.entries.keys(), supply)
        wanted.save(self._manifest_file(name))
        self._swap(name)
        if before and self._known:
            store.save(self._lag_file(before), manifest.VERSION, list(touched))

    def save_live(self, current: Manifest) -> None:
        """Note what was learnt about the live tree, which itself stays as it is."""
        if self.live:
            current.save(self._manifest_file(self.live))

    def _lag_file(self, name: str) -> Path:
        return self.private / f"{name}.lag"

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


def damaged(tree: Path, entries: Mapping[str, Entry]) -> list[str]:
    """Paths whose file is missing or not as it was written."""
    found = []
    stat = os.lstat
    base = f"{tree}/"
    for path, entry in entries.items():
        try:
            now = stat(base + path)
        except OSError:
            found.append(path)
            continue
        if now.st_mtime_ns != entry[1] or now.st_size != entry[0] or now.st_ino != entry[2]:
            found.append(path)
    return found


class _Supply:
    """Where the files of a new tree come from."""

    def __init__(self, live: Path | None, staged: Mapping[str, Path]) -> None:
        self._live = live
        self._staged = staged

    def deliver(self, path: str, target: str) -> None:
        """Put the file in place. A staged one keeps its place in the stage, should this tree be given up."""
        source = self._staged.get(path) or (f"{self._live}/{path}" if self._live else None)
        if source is None:
            raise PublishError(f"{path}: nothing to publish it from")
        try:
            os.link(source, target)  # (thousands of calls: pathlib triples the time)
        except FileExistsError:
            temporary = f"{target}.~new"
            os.link(source, temporary)
            os.rename(temporary, target)  # noqa: PTH104 (as above)
            if os.path.lexists(temporary):  # both were the same file, and rename did nothing
                os.unlink(temporary)  # noqa: PTH108 (as above)


def _mended(tree: Path, wanted: Manifest, paths: Iterable[str], supply: _Supply) -> bool:
    """False when the tree is not as we left it; it then has to be made anew."""
    try:
        _mend(tree, wanted, paths, supply)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    return all((tree / path).is_file() for path in paths if path in wanted.entries)


def _mend(tree: Path, wanted: Manifest, paths: Iterable[str], supply: _Supply) -> None:
    """Make these paths of the tree as they are wanted; the others are."""
    base = f"{tree}/"
    present: list[str] = []
    for path in paths:
        if path in wanted.entries:
            present.append(path)
        else:
            _remove(tree, path)
    made: set[str] = set()
    for path in present:
        folder = path.rpartition("/")[0]
        if folder not in made:
            os.makedirs(base + folder, exist_ok=True)  # noqa: PTH103 (as above)
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
