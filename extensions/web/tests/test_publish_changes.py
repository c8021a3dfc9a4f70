"""What a change costs and keeps: rows follow their files, and only what a change touches is made again."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from scheduler_daemon.testing import MakeDatabase

ORIGINAL_TABLE = """
CREATE TABLE markdown_content (id text PRIMARY KEY, slug text NOT NULL, locale text NOT NULL DEFAULT 'en',
    title text NOT NULL, description text NOT NULL, body text NOT NULL, author text NOT NULL,
    published_at timestamptz, keywords text NOT NULL, kind text NOT NULL DEFAULT 'article', image text,
    category_id text, source_id text NOT NULL, version_hash text NOT NULL,
    public boolean NOT NULL DEFAULT true,
    links jsonb NOT NULL DEFAULT '[]', updated_at timestamptz NOT NULL DEFAULT now(), UNIQUE (slug, locale))
"""


def _changed(site: Any) -> set[str]:
    before = site.tree()
    assert site.publish().result.ok
    after = site.tree()
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def _ids(site: Any) -> dict[str, str]:
    return dict(site.rows("SELECT slug, id FROM markdown_content WHERE public"))


@pytest.fixture
def site(work_site: Any) -> Any:
    for number in range(1, 7):
        work_site.post(f"post{number}", published_at=f"2026-11-0{number}", tags=f"[tag{number % 2}]")
    work_site.write("guide/index.md", "# Guide\n")
    work_site.write("guide/one.md", "# One\n\n## Part\n")
    work_site.write("guide/two.md", "# Two\n\n[one](one.md#part)\n")
    work_site.config["page_size"] = 2
    assert work_site.publish().result.ok
    return work_site


def test_a_renamed_file_keeps_its_row(site: Any) -> None:
    before = _ids(site)
    (site.folder / "content/post2.md").rename(site.folder / "content/renamed.md")
    site.publish()
    after = _ids(site)
    assert after["renamed"] == before["post2"]
    assert "post2" not in after
    assert "blog/post2/index.html" not in site.tree()


def test_a_file_moved_to_a_folder_or_another_source_keeps_its_row(site: Any) -> None:
    before = _ids(site)
    (site.folder / "content/2026").mkdir()
    (site.folder / "content/post2.md").rename(site.folder / "content/2026/post2.md")
    (site.folder / "content/post3.md").rename(site.folder / "guide/post3.md")
    site.publish()
    after = _ids(site)
    assert (after["2026/post2"], after["post3"]) == (before["post2"], before["post3"])
    assert "guide/post3/index.html" in site.tree()


def test_files_may_exchange_their_slugs(site: Any) -> None:
    before = _ids(site)
    site.post("post1", slug="post2", published_at="2026-11-01")
    site.post("post2", slug="post1", published_at="2026-11-02")
    assert site.publish().result.ok
    after = _ids(site)
    assert (after["post1"], after["post2"]) == (before["post2"], before["post1"])


def test_an_edit_is_seen_in_the_sitemap_and_a_touch_is_not(site: Any) -> None:
    (site.folder / "content/post4.md").touch()
    assert _changed(site) == set()
    site.post("post4", "Edited.\n", published_at="2026-11-04", tags="[tag0]")
    site.publish()
    assert "<loc>https://example.org/blog/post4/</loc><lastmod>2026-11-22T12:00:00Z" in site.read(
        "sitemap.xml"
    )


def test_a_row_edited_by_hand_is_put_right(site: Any) -> None:
    with psycopg.connect(site.url) as connection:
        connection.execute("UPDATE markdown_content SET title = 'Hand', public = false WHERE slug = 'post1'")
    assert _changed(site) == set()
    assert site.rows("SELECT title, public FROM markdown_content WHERE slug = 'post1'") == [("Post1", True)]


def test_documents_of_a_source_that_is_gone_are_withdrawn(site: Any) -> None:
    del site.config["content_sources"]["guide"]
    site.publish()
    assert "guide/one/index.html" not in site.tree()
    assert site.rows("SELECT DISTINCT public FROM markdown_content WHERE source_id = 'guide'") == [(False,)]


def test_a_folder_that_is_missing_takes_nothing_down(site: Any) -> None:
    (site.folder / "guide").rename(site.folder / "away")
    run = site.publish()
    assert 'guide: the folder of the source "guide" is not there' in run.result.message
    assert "guide/one/index.html" in site.tree()


def test_an_edit_of_the_text_touches_its_page_and_what_shows_it(site: Any) -> None:
    site.post("post3", "Other words.\n", published_at="2026-11-03", tags="[tag1]")
    assert _changed(site) == {
        "blog/post3/index.html",  # itself
        "blog/page/2/index.html",  # its excerpt
        "tags/tag1/index.html",
        *(f"{place}{kind}.xml" for place in ("", "blog/", "tags/tag1/") for kind in ("feed", "atom")),
        "index.html",
        "sitemap.xml",
        "llms-full.txt",
    }


def test_a_new_title_touches_the_neighbours_too(site: Any) -> None:
    site.post("post3", title="Another", published_at="2026-11-03", tags="[tag1]")
    changed = _changed(site)
    assert {
        "blog/post2/index.html",
        "blog/post4/index.html",
        "llms.txt",
        "archive/2026/index.html",
    } <= changed
    assert "blog/post6/index.html" not in changed
    assert not any(path.startswith("guide/") for path in changed)


def test_the_menu_shows_in_which_part_of_the_site_a_page_is(site: Any) -> None:
    site.config["site"]["menu"] = [
        {"title": "Guide", "url": "/guide/one/"},
        {"title": "Blog", "url": "/blog/"},
    ]
    site.write("guide/one.md", "---\nslug: one\n---\n# One\n")
    site.write("guide/two.md", "---\nslug: two\n---\n# Two\n")
    site.post("a")
    site.publish()
    assert '<a href="/guide/one/" aria-current="page">Guide</a>' in site.read("guide/one/index.html")
    assert '<a href="/guide/one/" aria-current="true">Guide</a>' in site.read("guide/two/index.html")
    assert '<a href="/blog/" aria-current="true">Blog</a>' in site.read("blog/a/index.html")
    assert "aria-current" not in site.read("index.html")
    site.write("guide/one.md", "---\nslug: other\n---\n# One\n")
    site.publish()
    assert '<a href="/guide/one/">Guide</a>' in site.read("guide/two/index.html")


def test_an_anchor_that_goes_is_reported_where_it_is_used(site: Any) -> None:
    site.write("guide/one.md", "# One\n\n## Renamed\n")
    run = site.publish()
    assert run.result.ok
    assert "guide/two.md:3: broken link: one.md has no #part" in run.log
    site.config["broken_links"] = "error"
    run = site.publish()
    assert run.result.message.startswith("8 succeeded, 1 failed: page_prerender: guide/two.md:3: broken link")


def test_a_template_touches_the_pages_that_use_it(site: Any) -> None:
    site.config["templates"] = "own"
    site.write("own/tags.html", '{% extends "base.html" %}{% block content %}Mine{% endblock %}')
    assert _changed(site) == {"tags/index.html"}


def test_a_second_change_of_a_template_is_found_by_its_text(site: Any) -> None:
    site.config["templates"] = "own"
    site.write("own/parts.html", (site.context().resources("web.templates")[0][1] / "parts.html").read_text())
    site.publish()
    text = (site.folder / "own/parts.html").read_text().replace("min read", "minutes")
    site.write("own/parts.html", text)
    changed = _changed(site)
    assert changed == {p for p in site.tree() if p.startswith("blog/post")}


def test_styles_and_images_get_names_of_their_content(site: Any) -> None:
    site.config["assets"] = "assets"
    site.write("assets/css/site.css", "@import 'more.css'; body { background: url('../img/x.svg#a') }")
    site.write("assets/css/more.css", "p { color: red }")
    site.write("assets/img/x.svg", '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 2"/>')
    site.publish()
    page = site.read("index.html")
    style = re.search(r'href="/(assets/css/site\.[0-9a-f]{10}\.css)"', page)
    assert style
    text = site.read(style[1])
    more = re.search(r"@import '/(assets/css/more\.[0-9a-f]{10}\.css)'", text)
    image = re.search(r"url\('/(assets/img/x\.[0-9a-f]{10}\.svg)#a'\)", text)
    assert more
    assert image
    assert site.read(more[1]) == "p { color: red }"
    assert site.read("css/more.css") == "p { color: red }"
    site.write("assets/css/more.css", "p { color: green }")
    site.publish()
    again = re.search(r'href="/(assets/css/site\.[0-9a-f]{10}\.css)"', site.read("index.html"))
    assert again
    assert again[1] != style[1]
    assert style[1] not in site.tree()
    assert image[1] in site.tree()


def test_raw_html_is_for_trusted_sources(site: Any) -> None:
    body = '<div id="x">Hi <em>there</em></div>\n\n<div id="x">Twice</div>\n'
    site.post("raw", body)
    site.publish()
    assert "&lt;div id=" in site.read("blog/raw/index.html")
    site.config["content_sources"]["blog"]["trusted_html"] = True
    run = site.publish()
    assert '<div id="x">Hi <em>there</em></div>' in site.read("blog/raw/index.html")
    assert 'content/raw.md:5: the id "x" is given twice' in run.log


def test_a_nested_source_is_not_read_twice(site: Any) -> None:
    site.config["content_sources"]["inner"] = {
        "path": "content/inner",
        "sitemap": {"url_pattern": "/inner/{slug}/"},
    }
    site.write("content/inner/a.md", "# A\n")
    site.publish()
    assert "inner/a/index.html" in site.tree()
    assert "blog/inner/a/index.html" not in site.tree()


def test_a_table_that_the_application_made_is_used_as_it_is(
    work_site: Any, make_database: MakeDatabase
) -> None:
    from pathlib import Path

    import scheduler_web

    work_site.url = make_database(scheduler=False)
    with psycopg.connect(work_site.url) as connection:
        connection.execute(ORIGINAL_TABLE)
        connection.execute(
            "INSERT INTO markdown_content (id, slug, title, description, body, author, keywords, source_id,"
            " version_hash) VALUES ('one', 'kept', 'x', '', '', '', '', 'blog', 'x'),"
            " ('two', 'taken', 'x', '', '', '', '', 'elsewhere', 'x')"
        )
        migration = Path(scheduler_web.__file__).parent / "migrations/0001_content.sql"
        connection.execute(migration.read_text())  # type: ignore[arg-type]  # our own file
    work_site.post("kept")
    work_site.post("taken")
    work_site.post("twice")
    work_site.write("guide/twice.md", "# Twice\n")
    run = work_site.publish()
    assert (
        'content/taken.md:1: not published: the database has the slug "taken" in the source "elsewhere"'
        in run.log
    )
    assert 'guide/twice.md:1: not published: it has the same slug "twice" as content/twice.md' in run.log
    assert dict(work_site.rows("SELECT id, title FROM markdown_content WHERE id IN ('one', 'two')")) == {
        "one": "Kept",
        "two": "x",
    }
