"""Content that means harm, or was made by a broken tool, costs its own page and nothing else."""

from __future__ import annotations

import os
import re
import time
from typing import Any
from zoneinfo import ZoneInfo

import html5lib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scheduler_web.publish import frontmatter, markdown, prerender
from scheduler_web.publish.fanout import Failure, Limits, fan_out

HOSTILE = {
    "brackets": "[" * 50_000,
    "links": "[a](" * 10_000,
    "images": "![" * 25_000,
    "stars": "*a " * 20_000,
    "mixed": "**a *b " * 8_000,
    "quotes": ">" * 5_000,
    "ticks": "`" * 50_000,
    "angles": "<" * 50_000,
    "ampersands": "&" * 50_000,
    "pipes": "|" * 50_000,
    "lists": "\n".join(" " * n + "- x" for n in range(500)),
    "notes": "[^1]" * 5_000 + "\n\n[^1]: note",
    "headings": "# a\n" * 5_000,
    "nested quotes and lists": "> - " * 2_000 + "x",
    "right to left": "\u202eabc \u2066def\u2069 שלום عالم",
    "zero width": "\u200b\u200d\ufeff" * 1_000,
    "control characters": "".join(map(chr, range(32))) + "\x7f\x85",
    "tokens of ours": '\x01a\x03 \x02b\x03 &#1;x&#3; [l](\x01b\x03) ![i](&#2;c&#3;) [t](/x "&#1;&#3;")',
    "scripts": "<script>alert(1)</script> [a](javascript:x) [b](JaVaScRiPt&#58;x) ![c](data:text/html,x)",
    "vbscript": "[a](vbscript:x) [b](&#x6A;avascript:x) [c](java\nscript:x) <javascript:x>",
    "attributes": '[a](/x"onmouseover="y) ![b" onerror="x](/y) [c](/z "\' onclick=x") ```a"onload=x\ny\n```',
    "templates": "{{ site.__class__.__mro__ }} {% for x in y %} {# #} ${7*7}",
    "long line": "word " * 200_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_rendering_ends_soon_and_is_well_formed(name: str) -> None:
    started = time.process_time()
    fragment = markdown.render(HOSTILE[name])
    assert time.process_time() - started < 20  # a bound on growth, an order of magnitude above what it takes
    _harmless(fragment.html)


def _harmless(text: str) -> None:
    clean = re.sub("\x02([^\x03]*)\x03", r'src="\1"', text)
    clean = re.sub("\x01([^\x03]*)\x03", r"\1", clean)
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parseFragment(clean)
    for element in document.iter():
        assert element.tag not in ("script", "iframe", "object", "style"), element.tag
        for name, value in element.attrib.items():
            assert not str(name).startswith("on"), (name, value)
            if name in ("href", "src"):
                assert not re.match(r"\s*(javascript|vbscript|data:text)", value, re.IGNORECASE), value


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    st.text(
        st.one_of(
            st.sampled_from(list("[]()<>*_`~#|!&;:-+=\\\"'\n \t{}%^$@/.123abc\x01\x02\x03\ufeff")),
            st.characters(codec="utf-8"),
        ),
        max_size=300,
    )
)
def test_any_text_gives_html_without_an_error(text: str) -> None:
    _harmless(markdown.render(text).html)


def test_an_empty_heading_of_a_table_is_no_heading() -> None:
    html = markdown.render("| | a |\n|---|---|\n| b | c |\n").html
    assert '<td></td>\n<th scope="col">a</th>' in html
    assert '<th scope="col"></th>' not in html


@settings(max_examples=150, deadline=None, database=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_read_or_refused_with_a_line(data: bytes) -> None:
    for content in (data, b"---\n" + data + b"\n---\n", b"---\ntitle: x\n" + data + b"\n---\n# a\n"):
        page = _read(content)
        if isinstance(page, frontmatter.FrontMatterError):
            assert page.line >= 1
            assert str(page)
        else:
            assert page.fields["title"]
            assert "\0" not in page.body


def _read(content: bytes) -> frontmatter.Page | frontmatter.FrontMatterError:
    try:
        return frontmatter.read(content, ZoneInfo("UTC"))
    except frontmatter.FrontMatterError as error:
        return error


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("title: a\ntitle: b", 'a.md:3: "title" is given twice (first in line 2)'),
        ("title: &a [*a]", "a.md:2: "),
        ("title: a\nmore: *x", "a.md:3: "),
        ("title: a\n\ttags: b", "a.md:3: "),
        ("- title", "a.md:2: the front matter is not a list"),
        ("title: a\npublic: 'no'", "a.md:3: public is 'no': it should be true or false"),
        ("title: a\ntags: {b: c}", "a.md:3: tags is {'b': 'c'}: it should be a list of texts"),
        ("title: a\nslug: ../x", "a.md:3: slug is '../x'"),
        ("title: a\nslug: /etc/../x", "a.md:3: slug is"),
        ('title: a\nslug: "a\\0b"', "a.md:3: slug is"),
        ("title: a\nslug: " + "x" * 300, "a.md:3: slug is"),
        ("title: a\nkind: essay", "a.md:3: kind is 'essay': it should be one of article"),
        ("title: a\npublished_at: 0001-01-01", "a.md:3: published_at is"),
        ("title: a\naliases: [old]", "a.md:3: aliases is 'old': it should be a path of the site"),
        ("title: a\ncanonical_url: 'javascript:x'", "a.md:3: canonical_url is"),
        ("title: a\nlinks: [{title: x, url: 'javascript:x'}]", "a.md:3: links is"),
        ("title: a\nimage: 'data:x'", "a.md:3: image is"),
        ("titel: a", "a.md:1: no title"),
        ("title: !!python/object/apply:os.system [id]", "a.md:2: "),
        ("title: " + "[" * 3_000, "a.md:"),
        ("title: a\nweight: 1e999", "a.md:3: weight is"),
    ],
)
def test_mistakes_in_the_front_matter_have_a_line(work_site: Any, head: str, said: str) -> None:
    work_site.write("content/a.md", f"---\n{head}\n---\nText\n")
    work_site.post("good")
    run = work_site.publish()
    assert f"content/{said}" in run.log
    assert "blog/good/index.html" in work_site.tree()
    assert "blog/a/index.html" not in work_site.tree()


def test_an_unknown_field_is_a_warning_with_the_likely_one(work_site: Any) -> None:
    work_site.post("a", tgas="[x]")
    run = work_site.publish()
    assert run.result.ok
    assert 'content/a.md:4: unknown field "tgas" (did you mean tags?)' in run.log


def test_odd_tags_get_addresses_that_can_be(work_site: Any) -> None:
    tags = ["x" * 400, "é" * 300, "../..", "/", "a/b", "\\", ".", "C++", "\u202e", "feed.xml", "<b>"]
    work_site.post("a", tags="[" + ", ".join(f"'{tag}'" for tag in tags) + "]")
    run = work_site.publish()
    assert run.result.ok, run.result.message
    found = {
        path.split("/")[1] for path in work_site.tree() if path.startswith("tags/") and path.count("/") > 1
    }
    assert {"c++", "a-b", "feed.xml", "tag", "b"} <= found
    assert all(len(name.encode()) <= 120 for name in found)


def test_odd_files(work_site: Any) -> None:
    work_site.write("content/bom.md", b"\xef\xbb\xbf---\r\ntitle: BOM\r\n---\r\nOne\r\n\r\nTwo \0 three\r\n")
    work_site.write("content/huge.md", "# Huge\n\n" + "x" * 10_000_000)
    work_site.write("content/binary.md", bytes(range(256)))
    work_site.write("content/empty.md", "")
    work_site.write("content/unclosed.md", "---\ntitle: x\n")
    work_site.write("content/plain.md", "# Only a heading\n\nAnd text.\n")
    work_site.write("content/deep/er/and/er.md", "# Deep\n")
    work_site.write("content/emoji 🎈.md", "# Balloon\n")
    work_site.write("content/.hidden.md", "# Hidden\n")
    run = work_site.publish()
    tree = work_site.tree()
    assert "<p>One</p>\n<p>Two \ufffd three</p>" in work_site.read("blog/bom/index.html")
    assert {f"blog/{name}/index.html" for name in ("plain", "deep/er/and/er", "emoji 🎈")} <= set(tree)
    assert not any("hidden" in path for path in tree)
    for said in (
        "content/huge.md: larger than max_document_bytes (2,000,000)",
        "content/binary.md:2: this is not UTF-8 (byte 0x80)",
        "content/empty.md:1: no title",
        "content/unclosed.md:1: the front matter that starts here is never closed",
    ):
        assert said in run.log


def test_links_may_not_leave_the_source(work_site: Any) -> None:
    secret = work_site.write("secret.md", "# Secret\n")
    work_site.post("good")
    (work_site.folder / "content/out.md").symlink_to(secret)
    (work_site.folder / "content/etc").symlink_to("/etc")
    (work_site.folder / "content/inside.md").symlink_to("good.md")
    (work_site.folder / "content/dangling.md").symlink_to("nowhere")
    os.mkfifo(work_site.folder / "content/pipe.md")
    run = work_site.publish()
    for name in ("out.md", "etc", "dangling.md", "pipe.md"):
        assert f"content/{name}: not read: it is a link that leads outside, or no plain file" in run.log
    assert "blog/inside/index.html" in work_site.tree()
    assert not any("ecret" in path for path in work_site.tree())


def test_names_that_would_take_a_place_of_the_sites_own(work_site: Any) -> None:
    work_site.config["assets"] = "own"
    work_site.config["content_sources"]["blog"]["sitemap"]["url_pattern"] = "/{slug}/"
    work_site.write("own/robots.txt", "User-agent: *")
    work_site.write("own/notes", "a file")
    work_site.post("robots", slug="robots.txt/x")
    work_site.post("notes", slug="notes/more")
    work_site.post("assets", slug="assets/x")
    work_site.post("good")
    run = work_site.publish()
    assert "robots.txt: not published: the site has a page or file of its own there" in run.log
    assert "content/notes.md:1: not published: /notes is a file, so /notes/more/ cannot be" in run.log
    assert "content/robots.md:1: not published: /robots.txt is a file" in run.log
    assert "content/assets.md:1: not published: /assets is a file" in run.log
    assert "good/index.html" in work_site.tree()


def test_a_document_that_takes_too_long_costs_only_itself(
    work_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_site.config["render_timeout_s"] = 0.2
    real = prerender.render

    def slow(text: str, **named: Any) -> Any:
        while "SLOW" in text:
            pass
        return real(text, **named)

    monkeypatch.setattr(prerender, "render", slow)
    monkeypatch.setattr(prerender, "BIG", 10)
    work_site.post("slow", "SLOW and long enough.\n")
    work_site.post("good", "Fine and long enough.\n")
    run = work_site.publish()
    assert "content/slow.md: cannot be rendered: it takes longer than 0.2 s" in run.log
    assert "blog/good/index.html" in work_site.tree()
    assert not work_site.publish().result.ok


def test_a_child_that_dies_costs_only_its_tasks() -> None:
    def work(number: int) -> int:
        if number == 5:
            os.kill(os.getpid(), 9)
        if number == 9:
            raise ValueError("nine")
        return number * number

    found = dict(fan_out(work, range(40), Limits(processes=2, timeout_s=5)))
    assert sorted(found) == list(range(40))
    assert found[5] == Failure("its rendering process died")
    assert found[9] == Failure("ValueError: nine")
    assert found[39] == 39 * 39
    assert sum(isinstance(value, Failure) for value in found.values()) <= 5


def test_a_template_error_names_template_line_and_page(work_site: Any) -> None:
    work_site.config["templates"] = "own"
    work_site.write("own/article.html", "<p>\n{{ doc.nothing.at.all }}\n")
    work_site.post("one")
    run = work_site.publish()
    assert "page_prerender: blog/one/index.html: " in run.result.message
    assert "own/article.html:2: " in run.result.message
    work_site.write("own/article.html", "{% if %}")
    assert "own/article.html:1: " in work_site.publish().result.message


def test_a_template_that_never_ends_costs_only_its_page(work_site: Any) -> None:
    work_site.config |= {"templates": "own", "render_timeout_s": 0.2}
    many = "{% for i in range(99999) %}"
    work_site.write("own/article.html", f"\n{many}{many}{{% endfor %}}{{% endfor %}}")
    work_site.post("one")
    run = work_site.publish()
    assert "page_prerender: blog/one/index.html: " in run.result.message
    assert "own/article.html:2: it takes longer than 0.2 s" in run.result.message
    assert {"index.html", "feed.xml"} <= work_site.tree().keys()


@pytest.mark.parametrize("how", ["not UTF-8", "no such folder", "cannot be read"])
def test_templates_that_cannot_be_read_cost_only_the_pages(work_site: Any, how: str) -> None:
    work_site.post("one")
    work_site.publish()
    before = work_site.tree()
    work_site.config["templates"] = "own"
    if how == "not UTF-8":
        work_site.write("own/article.html", b"\xff")
    if how == "cannot be read":
        work_site.write("own/real", "")
        (work_site.folder / "own/article.html").symlink_to("/proc/self/mem")
    work_site.post("two")
    run = work_site.publish()
    assert [step.name for step in run.context.steps if step.failed] == ["page_prerender"]
    assert how in run.result.message
    assert work_site.tree()["blog/one/index.html"] == before["blog/one/index.html"]
    assert "/blog/two/" in work_site.read("sitemap.xml")
    work_site.config["templates"] = ""
    assert work_site.publish().result.ok
    assert "blog/two/index.html" in work_site.tree()


def test_templates_are_sandboxed(work_site: Any) -> None:
    work_site.config["templates"] = "own"
    work_site.write("own/article.html", "{{ asset.__globals__ }}{{ ''.__class__.__mro__ }}")
    work_site.post("one")
    run = work_site.publish()
    assert not run.result.ok
    assert "blog/one/index.html" not in work_site.tree()
