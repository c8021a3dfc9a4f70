"""The nine steps on a small site, and what becomes of the others when one fails."""

from __future__ import annotations

import os
import re
import stat
from typing import Any

import pytest
from scheduler_web.publish import feeds, steps

NAMES = [step.name for step in steps.STEPS]


def test_publishes_every_kind_of_file(work_site: Any) -> None:
    work_site.post("hello", "# Hello\n\nA **bold** start.\n", tags="[first]")
    work_site.write("guide/start.md", "# Start here\n\n## One\n\n## Two\n")
    run = work_site.publish()
    assert run.result.ok, run.result.message
    assert [step.name for step in run.context.steps] == NAMES
    assert (run.result.items_processed, run.result.items_failed) == (9, 0)
    tree = work_site.tree()
    wanted = """index.html 404.html blog/index.html blog/hello/index.html guide/start/index.html
        tags/index.html tags/first/index.html archive/index.html archive/2026/index.html
        sitemap.xml llms.txt llms-full.txt robots.txt feed.xml atom.xml blog/feed.xml blog/atom.xml
        tags/first/feed.xml css/site.css js/site.js favicon.svg"""
    assert set(wanted.split()) <= set(tree)
    assert "<strong>bold</strong>" in work_site.read("blog/hello/index.html")
    assert work_site.rows("SELECT slug, source_id, public FROM markdown_content ORDER BY slug") == [
        ("hello", "blog", True),
        ("start", "guide", True),
    ]


def test_drafts_appear_nowhere(work_site: Any) -> None:
    work_site.post("shown")
    work_site.post("concealed", "Secretive.\n", public="false", tags="[clandestine]")
    work_site.post("sketch", "Secretive.\n", draft="true")
    work_site.post("later", "Secretive.\n", published_at="2026-12-24")
    work_site.publish()
    everything = b"\n".join(work_site.tree().values()).lower() + "\n".join(work_site.tree()).encode()
    for word in (b"concealed", b"secretive", b"sketch", b"later", b"clandestine"):
        assert word not in everything
    assert dict(work_site.rows("SELECT slug, public FROM markdown_content"))["concealed"] is False


def test_a_failed_step_keeps_its_files_and_the_rest_is_published(
    work_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_site.post("one")
    work_site.publish()
    before = work_site.read("feed.xml")
    work_site.post("two")

    def broken(*_: Any) -> Any:
        raise RuntimeError("the feed is broken")

    with monkeypatch.context() as patched:
        patched.setattr(feeds, "plan", broken)
        run = work_site.publish()
    assert not run.result.ok
    assert run.result.message.startswith("8 succeeded, 1 failed: rss_feed: RuntimeError: the feed is broken")
    assert (run.result.items_processed, run.result.items_failed) == (8, 1)
    assert work_site.read("feed.xml") == before
    assert "blog/two/" in work_site.read("sitemap.xml")
    assert work_site.publish().result.ok
    assert "Two" in work_site.read("feed.xml")


def test_a_step_alone_leaves_the_others_files(work_site: Any) -> None:
    work_site.post("one")
    work_site.publish()
    work_site.post("two")
    before = work_site.tree()
    assert work_site.publish("content_ingestion").result.ok
    assert work_site.publish("sitemap").result.ok
    after = work_site.tree()
    assert {path for path in after if after[path] != before.get(path)} == {"sitemap.xml"}
    assert work_site.publish().result.ok
    assert "blog/two/index.html" in work_site.tree()


def test_deleted_documents_go_and_their_rows_are_withdrawn(work_site: Any) -> None:
    work_site.post("stays")
    gone = work_site.post("gone")
    work_site.publish()
    gone.unlink()
    run = work_site.publish()
    assert run.result.ok
    assert "blog/gone/index.html" not in work_site.tree()
    assert not (work_site.out / "blog/gone").exists()
    assert dict(work_site.rows("SELECT slug, public FROM markdown_content")) == {"stays": True, "gone": False}
    work_site.now += 31 * 86_400
    work_site.publish()
    assert work_site.rows("SELECT slug FROM markdown_content") == [("stays",)]


def test_a_bad_file_is_named_with_its_line_and_hides_no_other(work_site: Any) -> None:
    work_site.post("good")
    work_site.write("content/bad.md", "---\ntitle: Bad\npublished_at: someday\n---\n")
    work_site.write("content/worse.md", "---\ntitle: [\n---\n")
    run = work_site.publish()
    assert not run.result.ok
    assert "content/bad.md:3: published_at is 'someday': it should be a date" in run.log
    assert "content/worse.md:3: " in run.log
    assert "blog/good/index.html" in work_site.tree()


def test_a_file_that_becomes_bad_keeps_its_page(work_site: Any) -> None:
    file = work_site.post("good", "First words.\n")
    work_site.publish()
    file.write_text("---\ntitle: [\n---\n")
    assert not work_site.publish().result.ok
    assert "First words." in work_site.read("blog/good/index.html")
    assert not work_site.publish().result.ok


def test_two_documents_with_one_address_are_both_named(work_site: Any) -> None:
    work_site.post("a", slug="same")
    work_site.post("b", slug="same")
    run = work_site.publish()
    assert "content/b.md:1: not published: it has the same address /blog/same/ as content/a.md" in run.log


def test_a_slug_may_not_leave_the_site(work_site: Any) -> None:
    work_site.post("bad", slug="'../../etc/passwd'")
    run = work_site.publish()
    assert "content/bad.md:4: slug is '../../etc/passwd'" in run.log
    assert not run.result.ok


def test_a_real_folder_at_the_output_is_refused(work_site: Any) -> None:
    (work_site.folder / "out").mkdir()
    (work_site.folder / "out/precious").write_text("x")
    with pytest.raises(Exception, match=r"mv .*/out .*/out\.before"):
        work_site.publish()
    assert (work_site.folder / "out/precious").read_text() == "x"


def test_readers_may_read_whatever_the_umask(work_site: Any) -> None:
    work_site.post("one")
    before = os.umask(0o077)
    try:
        work_site.publish()
    finally:
        assert os.umask(before) == 0o077
    root = work_site.out.resolve()
    for path in (root, *root.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() else 0o644), path
    assert stat.S_IMODE((work_site.folder / ".out/private").stat().st_mode) == 0o700


def test_a_dry_run_tells_and_changes_nothing(work_site: Any) -> None:
    work_site.post("one")
    work_site.publish()
    before = work_site.tree()
    work_site.post("two")
    run = work_site.publish(dry_run=True)
    assert run.result.ok
    assert re.match(r"dry run: would write \d+, leave \d+, remove 0; slowest ", run.result.message)
    assert "would write blog/two/index.html" in run.log
    assert work_site.tree() == before
    assert work_site.rows("SELECT slug FROM markdown_content") == [("one",)]
    assert work_site.publish().result.ok
    assert "blog/two/index.html" in work_site.tree()


def test_a_post_falls_due_without_an_edit(work_site: Any) -> None:
    work_site.post("soon", published_at="2026-11-22T13:00:00Z", expires_at="2026-11-22T15:00:00Z")
    work_site.publish()
    assert "blog/soon/index.html" not in work_site.tree()
    work_site.now += 3600
    work_site.publish()
    assert "blog/soon/index.html" in work_site.tree()
    assert "blog/soon/" in work_site.read("sitemap.xml")
    work_site.now += 7200
    work_site.publish()
    assert "blog/soon/index.html" not in work_site.tree()
