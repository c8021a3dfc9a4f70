"""Readers see the old site or the new one, whatever happens to the build."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scheduler_web.publish import store, workshop
from scheduler_web.publish.pipeline import publish
from scheduler_web.publish.problems import PublishError


@contextmanager
def readers(root: Path, paths: list[str], count: int = 2) -> Iterator[list[int]]:
    """Processes that read the site over and over; afterwards, the numbers of their good and bad reads."""
    results: list[int] = []
    channels = []
    for _ in range(count):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _read_for_ever(root, paths, write)
        os.close(write)
        channels.append((pid, read))
    for _, read in channels:
        assert os.read(read, 5) == b"ready"
    try:
        yield results
    finally:
        for pid, read in channels:
            os.kill(pid, signal.SIGTERM)
            results += [int(number) for number in os.read(read, 100).split()]
            os.waitpid(pid, 0)
            os.close(read)


def _read_for_ever(root: Path, paths: list[str], out: int) -> None:
    counts = [0, 0]

    def stop(*_: object) -> None:
        os.write(out, b"%d %d" % tuple(counts))
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    while True:
        for path in paths:
            try:
                whole = (
                    (root / path)
                    .read_bytes()
                    .rstrip()
                    .endswith((b"</html>", b"</urlset>", b"</rss>", b"</feed>"))
                )
            except OSError:
                whole = False
            counts[0 if whole else 1] += 1
        if out and counts[0] == len(paths):
            os.write(out, b"ready")


def test_readers_never_see_a_site_that_is_being_made(work_site: Any) -> None:
    for number in range(30):
        work_site.post(f"post{number}", "Words. " * 300, tags="[one]")
    work_site.publish()
    paths = [f"blog/post{number}/index.html" for number in range(10)]
    paths += ["index.html", "sitemap.xml", "feed.xml", "atom.xml", "blog/index.html", "tags/one/index.html"]
    with readers(work_site.out, paths) as counts:
        for number in range(8):
            if number % 2:
                work_site.config["site"] = {**work_site.config["site"], "name": f"Name {number}"}
            work_site.post(f"post{number}", f"Edit {number}.\n", tags="[one]")
            assert work_site.publish().result.ok
    good, bad = sum(counts[::2]), sum(counts[1::2])
    assert bad == 0
    assert good > 1_000


def test_a_run_killed_anywhere_leaves_the_old_site_or_the_new(work_site: Any) -> None:
    for number in range(3):
        work_site.post(f"post{number}")
    work_site.publish()
    work_site.post("post0", "The edit.\n")
    before = work_site.tree()
    calls = 0
    finished = False
    while not finished:
        calls += 1
        finished = _publish_and_die(work_site, calls)
        after = work_site.tree()
        if after != before:
            assert "The edit." in work_site.read("blog/post0/index.html")
            assert sorted(after) == sorted(before)
    assert calls > 5
    work_site.publish()
    assert "The edit." in work_site.read("blog/post0/index.html")


def _publish_and_die(site: Any, calls: int) -> bool:
    """Publish in a process that is killed at its `calls`-th step; True when it came to its end."""
    pid = os.fork()
    if pid == 0:
        left = [calls]

        def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **named)

            return call

        for room, name in ((workshop.os, "link"), (store, "save"), (Path, "replace"), (Path, "unlink")):
            setattr(room, name, mortal(getattr(room, name)))
        try:
            site.publish()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def test_a_full_disk_changes_nothing_for_readers(work_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    work_site.post("one")
    work_site.publish()
    before = work_site.tree()
    work_site.post("two")
    real = os.link

    def full(source: Any, target: Any) -> None:
        if str(target).endswith("sitemap.xml"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(workshop.os, "link", full)
        with pytest.raises(PublishError, match=r"/\.out cannot be written: No space left"):
            work_site.publish()
    assert not (work_site.folder / ".out/private/stage").exists()
    assert work_site.tree() == before
    assert work_site.publish().result.ok
    assert "blog/two/index.html" in work_site.tree()


def test_a_place_that_cannot_be_written_is_named(work_site: Any) -> None:
    work_site.post("one")
    work_site.config["output"] = "content/one.md/out"
    with pytest.raises(
        PublishError, match=r"nothing was published: .*/one\.md/\.out cannot be written: Not a"
    ):
        work_site.publish()


def test_what_is_not_ours_is_never_touched(work_site: Any) -> None:
    work_site.post("one")
    other = work_site.folder / "elsewhere"
    other.mkdir()
    (other / "file").write_text("precious")
    work_site.out.symlink_to("elsewhere")
    with pytest.raises(PublishError, match="is a symlink to elsewhere, which is not ours"):
        work_site.publish()
    work_site.out.unlink()
    (work_site.folder / ".out").mkdir()
    (work_site.folder / ".out/file").write_text("precious")
    with pytest.raises(PublishError, match=r"was not made by publishing: move it aside with `mv"):
        work_site.publish()
    assert (other / "file").read_text() == (work_site.folder / ".out/file").read_text() == "precious"


@pytest.mark.parametrize("looks", [1, 8, 20])
def test_a_cancelled_run_leaves_the_old_site(
    work_site: Any, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    for number in range(50):
        work_site.post(f"post{number}")
    work_site.publish()
    before = work_site.tree()
    for number in range(50):
        work_site.post(f"post{number}", "Edited.\n")
    asked = itertools.count()
    context = work_site.context()
    monkeypatch.setattr(type(context), "cancelled", property(lambda _: next(asked) >= looks), raising=False)
    with pytest.raises(asyncio.CancelledError):
        publish(context, clock=lambda: work_site.now)
    monkeypatch.undo()
    assert work_site.tree() == before
    assert work_site.publish().result.ok
    assert "Edited." in work_site.read("blog/post49/index.html")


def test_one_build_at_a_time(work_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    work_site.post("one")
    work_site.publish()
    monkeypatch.setattr(workshop, "LOCK_WAIT_S", 0.1)
    with (work_site.folder / ".out/private/lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(PublishError, match="another build holds"):
            work_site.publish()
    assert work_site.publish().result.ok


def test_a_build_of_an_older_version_is_made_anew(work_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from scheduler_web.publish import manifest

    work_site.post("one")
    work_site.publish()
    before = work_site.tree()
    monkeypatch.setattr(manifest, "VERSION", "another")
    monkeypatch.setattr(workshop, "_manifests", store.Kept())
    with pytest.raises(PublishError, match="run publish_pipeline first"):
        work_site.publish("robots_txt")
    assert work_site.tree() == before
    run = work_site.publish()
    assert f"{len(before)} written" in run.result.message
    assert work_site.tree() == before


@pytest.mark.parametrize("how", ["gone", "altered", "emptied"])
def test_a_damaged_output_is_repaired(work_site: Any, how: str) -> None:
    work_site.post("one")
    work_site.publish()
    before = work_site.tree()
    for path in ("blog/one/index.html", "css/site.css", "sitemap.xml"):
        file = work_site.out / path
        if how == "gone":
            file.unlink()
        else:
            file.write_bytes(b"" if how == "emptied" else b"altered")
    run = work_site.publish()
    assert run.result.ok
    assert "3 written" in run.result.message
    assert work_site.tree() == before


def test_unchanged_files_keep_their_inode_and_time(work_site: Any) -> None:
    work_site.post("one")
    work_site.post("two")
    work_site.publish()
    before = {p: (work_site.out / p).stat() for p in ("feed.xml", "blog/two/index.html", "css/site.css")}
    for number in range(3):
        work_site.write("guide/page.md", f"# Page {number}\n")
        work_site.publish()
        for path, stat in before.items():
            now = (work_site.out / path).stat()
            assert (now.st_ino, now.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns), path
