"""Every file is what its specification asks for: HTML5, sitemaps.org, RSS, Atom, llms.txt, robots.txt."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import feedparser
import html5lib
import pytest
import yaml
from lxml import etree, html
from scheduler_web.publish import sitemap
from scheduler_web.publish.robots import AI_CRAWLERS

ROOT = Path(__file__).parents[3]
ATOM = "{http://www.w3.org/2005/Atom}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
RICH = """# A title

Intro with `code`, https://example.com/?a=b&c, [other](other.md#part "A <T>"), ![picture <b>](pic.png "t"),
[bad](javascript:alert(1)), <b>raw</b> <script>alert(1)</script> {{ 7 * 7 }} and 😀 مرحبا &#1; &#x202e;

> [!NOTE]
> Careful *here*.

> [!CAUTION]
>
> And there.

## A heading: with `code` & [x](other.md)
### Below
## A heading: with `code` & [x](other.md)

| a | b | c |
|:--|--:|:-:|
| 1 | 2 | `x` |

- [ ] to do
- [x] done

  more

Term
: Definition

Note[^1], again[^1], ~~gone~~ and another[^two].

```python title="a.py"
def f(x): return "a<b"
```

```nosuchlanguage
<x>
```

[^1]: The note.

    More.
[^two]: Second.
"""
SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
  targetNamespace="http://www.sitemaps.org/schemas/sitemap/0.9" elementFormDefault="qualified">
  <xs:simpleType name="address"><xs:restriction base="xs:anyURI">
    <xs:minLength value="12"/><xs:maxLength value="2047"/></xs:restriction></xs:simpleType>
  <xs:simpleType name="when"><xs:union memberTypes="xs:date xs:dateTime"/></xs:simpleType>
  <xs:simpleType name="often"><xs:restriction base="xs:string">
    <xs:enumeration value="always"/><xs:enumeration value="hourly"/><xs:enumeration value="daily"/>
    <xs:enumeration value="weekly"/><xs:enumeration value="monthly"/><xs:enumeration value="yearly"/>
    <xs:enumeration value="never"/></xs:restriction></xs:simpleType>
  <xs:simpleType name="share"><xs:restriction base="xs:decimal">
    <xs:minInclusive value="0"/><xs:maxInclusive value="1"/></xs:restriction></xs:simpleType>
  <xs:element name="urlset"><xs:complexType><xs:sequence>
    <xs:element name="url" minOccurs="1" maxOccurs="50000"><xs:complexType><xs:sequence>
      <xs:element name="loc" type="address"/><xs:element name="lastmod" type="when" minOccurs="0"/>
      <xs:element name="changefreq" type="often" minOccurs="0"/>
      <xs:element name="priority" type="share" minOccurs="0"/>
      <xs:any namespace="##other" processContents="skip" minOccurs="0" maxOccurs="unbounded"/>
    </xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>
  <xs:element name="sitemapindex"><xs:complexType><xs:sequence>
    <xs:element name="sitemap" minOccurs="1" maxOccurs="50000"><xs:complexType><xs:sequence>
      <xs:element name="loc" type="address"/><xs:element name="lastmod" type="when" minOccurs="0"/>
    </xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>
</xs:schema>"""


@pytest.fixture
def rich_site(work_site: Any) -> Any:
    """A site with something of everything."""
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (600).to_bytes(4, "big") + (200).to_bytes(4, "big")
    work_site.write("content/pic.png", picture)
    work_site.post(
        "all", RICH, title="'A title'", tags="[C++, c#, Été, one & two]", image="pic.png", author="Jo",
        updated_at="2026-11-05T08:00:00Z", aliases="[/old/path/]", expires_at="2027-01-01",
        links="[{title: Else, url: 'https://example.com/?a=1&b=2'}]",
    )  # fmt: skip
    work_site.post("other", "Words.\n\n## Part\n\nMore words.\n", tags="[c++]")
    work_site.post("ander", "Worte.\n", slug="other", lang="de", published_at="2026-10-31T23:30:00+02:00")
    work_site.post("emoji-🎈", "Up.\n", published_at="2026-10-30")
    work_site.write("guide/index.md", "# The guide\n\n[One](one.md)\n")
    work_site.write(
        "guide/one.md", "# One\n\n## Part\n\n[All](../content/all.md#below) `x`\n\n## Other part\n"
    )
    work_site.config["content_sources"]["blog"]["sitemap"].update(priority=0.7, changefreq="daily")
    run = work_site.publish()
    assert run.result.ok, run.result.message
    assert "broken" not in run.log
    return work_site


def test_pages_are_html5_without_an_error(rich_site: Any) -> None:
    parser = html5lib.HTMLParser(strict=True)
    pages = [path for path in rich_site.tree() if path.endswith(".html")]
    assert len(pages) > 15
    for path in pages:
        document = parser.parse(rich_site.read(path))
        ids = [element.get("id") for element in document.iter() if element.get("id")]
        assert len(ids) == len(set(ids)), path


def test_text_stays_text(rich_site: Any) -> None:
    page = rich_site.read("blog/all/index.html")
    assert "<script>alert" not in page
    assert "javascript:" not in page
    assert "&lt;b&gt;raw&lt;/b&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert "\x01" not in page


def test_images_have_their_size_and_external_links_are_marked(rich_site: Any) -> None:
    page = rich_site.read("blog/all/index.html")
    assert re.search(
        r'<img src="/assets/media/blog/pic\.[0-9a-f]{10}\.png" width="600" height="200" alt="picture', page
    )
    assert '<a href="https://example.com/?a=b&amp;c" rel="external noopener">' in page
    assert '<a href="/blog/other/#part" title="A &lt;T&gt;">other</a>' in page


def test_headings_are_named_as_on_github(rich_site: Any) -> None:
    page = rich_site.read("blog/all/index.html")
    assert re.findall(r'<h[23] id="([^_"][^"]*)"', page) == [
        "a-heading-with-code--x",
        "below",
        "a-heading-with-code--x-1",
    ]


def test_the_head_tells_machines_what_the_page_is(rich_site: Any) -> None:
    page = html.fromstring(rich_site.read("blog/all/index.html"))
    assert page.xpath("//link[@rel='canonical']/@href") == ["https://example.org/blog/all/"]
    assert page.xpath("//meta[@property='og:type']/@content") == ["article"]
    assert page.xpath("//meta[@name='twitter:card']/@content") == ["summary_large_image"]
    (script,) = page.xpath("//script[@type='application/ld+json']/text()")
    data = yaml.safe_load(script)
    assert data["@type"] == "BlogPosting"
    assert data["headline"] == "A title"
    assert data["dateModified"].startswith("2026-11-05T08:00:00")
    other = html.fromstring(rich_site.read("de/blog/other/index.html"))
    assert other.get("lang") == "de"
    found = {link.get("hreflang"): link.get("href") for link in other.xpath("//link[@hreflang]")}
    assert found == {"de": "https://example.org/de/blog/other/", "en": "https://example.org/blog/other/"}


def test_an_alias_leads_to_the_page(rich_site: Any) -> None:
    page = rich_site.read("old/path/index.html")
    assert 'http-equiv="refresh" content="0; url=/blog/all/"' in page


def test_pages_say_which_way_their_text_runs(work_site: Any) -> None:
    for name, lang in (("a", "en"), ("b", "ar"), ("c", "az-Arab"), ("d", "fa-Latn"), ("e", "he-IL")):
        work_site.post(name, lang=lang)
    work_site.publish()
    assert '<html lang="en">' in work_site.read("blog/a/index.html")
    assert '<html lang="ar" dir="rtl">' in work_site.read("ar/blog/b/index.html")
    assert '<html lang="az-Arab" dir="rtl">' in work_site.read("az-arab/blog/c/index.html")
    assert '<html lang="fa-Latn">' in work_site.read("fa-latn/blog/d/index.html")
    assert '<html lang="he-IL" dir="rtl">' in work_site.read("he-il/blog/e/index.html")


def test_every_page_can_be_reached_and_is_in_the_sitemap(work_site: Any) -> None:
    work_site.config["page_size"] = 1
    for name in ("a", "b"):
        work_site.post(name, tags="[x, y]")
    work_site.write("guide/index.md", "# The guide\n")
    work_site.publish()
    pages = {f"/{path[: -len('index.html')]}" for path in work_site.tree() if path.endswith("index.html")}
    found, new = {"/"}, ["/"]
    while new:
        html = work_site.read(f"{new.pop()[1:]}index.html")
        links = set(re.findall(r'<a [^>]*?href="(/[^"#]*)"', html)) & pages
        new += links - found
        found |= links
    assert found == pages
    listed = set(re.findall("<loc>https://example.org([^<]*)</loc>", work_site.read("sitemap.xml")))
    assert listed == {page for page in pages if "/page/" not in page and "/archive/2" not in page}


def test_an_alias_may_be_a_file_of_old(work_site: Any) -> None:
    work_site.post("a", aliases="[/2019/a.html, /index.html, /blog/b/, /404.html, /x.html/y/]")
    work_site.post("b")
    run = work_site.publish()
    assert "/blog/a/" in work_site.read("2019/a.html")
    assert "the alias /index.html is the address of another page" in run.log
    assert "the alias /blog/b/ is the address of another page" in run.log
    assert "the alias /404.html cannot be: /404.html is a file" in run.log
    assert "the alias /x.html/y/ cannot be: /x.html is a file" in run.log


def test_the_sitemap_is_valid_and_tells_the_truth(rich_site: Any) -> None:
    document = etree.fromstring(rich_site.read("sitemap.xml").encode())
    etree.XMLSchema(etree.fromstring(SCHEMA)).assertValid(document)
    found = {u.findtext(f"{SITEMAP}loc"): u.findtext(f"{SITEMAP}lastmod") for u in document}
    assert found["https://example.org/blog/all/"] == "2026-11-05T08:00:00Z"
    assert found["https://example.org/guide/one/"] is None
    assert found["https://example.org/de/blog/other/"] == "2026-10-31T21:30:00Z"
    assert "https://example.org/blog/emoji-%F0%9F%8E%88/" in found
    for address in found:
        path = unquote(urlsplit(address).path).lstrip("/")
        assert (rich_site.out / path / "index.html").is_file(), address
    alternates = document.xpath("//*[@hreflang]/@href")
    assert len(alternates) == 4


def test_a_sitemap_that_is_too_long_is_split(work_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemap, "MAX_URLS", 4)
    monkeypatch.setattr(sitemap, "SPLIT_FROM", 0)
    for number in range(9):
        work_site.post(f"post{number}", updated_at=f"2026-11-1{number}")
    work_site.publish()
    schema = etree.XMLSchema(etree.fromstring(SCHEMA))
    index = etree.fromstring(work_site.read("sitemap.xml").encode())
    schema.assertValid(index)
    total = 0
    for entry in index:
        part = etree.fromstring(work_site.read(urlsplit(entry.findtext(f"{SITEMAP}loc")).path[1:]).encode())
        schema.assertValid(part)
        total += len(part)
        dates = [u.findtext(f"{SITEMAP}lastmod") for u in part]
        assert entry.findtext(f"{SITEMAP}lastmod") == max(d for d in dates if d)
    assert total == 9 + 3  # the posts, the front page, the list, the archive


FEEDS = ("feed.xml", "atom.xml", "blog/feed.xml", "blog/atom.xml", "tags/c++/feed.xml", "tags/été/atom.xml")


@pytest.mark.parametrize("path", FEEDS)
def test_feeds_are_read_by_feedparser(rich_site: Any, path: str) -> None:
    feed = feedparser.parse(rich_site.read(path).encode())
    assert not feed.bozo, feed.get("bozo_exception")
    assert feed.entries
    myself = next(link.href for link in feed.feed.links if link.rel == "self")
    assert unquote(urlsplit(myself).path) == f"/{path}"
    for entry in feed.entries:
        assert entry.id.startswith("urn:uuid:")
        assert entry.author
        body = html.fromstring(f"<div>{entry.content[0].value}</div>")
        for _, _, address, _ in body.iterlinks():
            assert urlsplit(address).scheme, address


def test_atom_has_what_rfc_4287_asks_for(rich_site: Any) -> None:
    feed = etree.fromstring(rich_site.read("atom.xml").encode())
    assert feed.tag == f"{ATOM}feed"
    for name in ("id", "title", "updated", "author"):
        assert len(feed.findall(f"{ATOM}{name}")) == 1
    assert {link.get("rel") for link in feed.findall(f"{ATOM}link")} == {"self", "alternate"}
    ids = [entry.findtext(f"{ATOM}id") for entry in feed.findall(f"{ATOM}entry")]
    assert len(ids) == len(set(ids)) == 4
    for entry in feed.findall(f"{ATOM}entry"):
        assert datetime.fromisoformat(entry.findtext(f"{ATOM}updated")).tzinfo
        assert entry.find(f"{ATOM}content").get("type") == "html"
        assert len(entry.findall(f"{ATOM}link[@rel='alternate']") or entry.findall(f"{ATOM}link")) == 1
    newest = max(entry.findtext(f"{ATOM}updated") for entry in feed.findall(f"{ATOM}entry"))
    assert feed.findtext(f"{ATOM}updated") == newest


def test_rss_has_what_the_advisory_board_asks_for(rich_site: Any) -> None:
    channel = etree.fromstring(rich_site.read("blog/feed.xml").encode()).find("channel")
    assert channel.findtext("link") == "https://example.org/blog/"
    assert channel.find(f"{ATOM}link").get("href") == "https://example.org/blog/feed.xml"
    for item in channel.findall("item"):
        assert item.find("guid").get("isPermaLink") == "false"
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", item.findtext("pubDate"))
        assert item.findtext("{http://purl.org/dc/elements/1.1/}creator")
    assert "12:00" not in channel.findtext("lastBuildDate")


def test_an_unchanged_feed_keeps_its_bytes_and_its_file(rich_site: Any) -> None:
    before = {path: (rich_site.read(path), (rich_site.out / path).stat()) for path in FEEDS}
    rich_site.now += 86_400
    rich_site.write("guide/two.md", "# Two\n")
    rich_site.publish()
    for path, (text, stat) in before.items():
        assert rich_site.read(path) == text
        assert (rich_site.out / path).stat().st_mtime_ns == stat.st_mtime_ns


def test_a_control_character_does_not_cost_the_feed(work_site: Any) -> None:
    work_site.post("one", "Bell \x07, vertical \x0b, escape \x1b, noncharacter \ufffe.\n", title='"a\\x07b"')
    work_site.publish()
    assert not feedparser.parse(work_site.read("feed.xml").encode()).bozo


def test_llms_txt_follows_its_format(rich_site: Any) -> None:
    text = rich_site.read("llms.txt")
    lines = text.splitlines()
    assert lines[0] == "# A site"
    assert lines[2] == "> About things"
    assert lines[4]
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert [section.splitlines()[0] for section in sections] == ["Blog", "Guide", "Optional"]
    for line in text.splitlines():
        if line.startswith("-"):
            assert re.fullmatch(r"- \[(?:[^\[\]\\]|\\.)+\]\(https://[^()\s]+\)(: .+)?", line), line


def test_llms_full_holds_the_texts_up_to_its_size(rich_site: Any) -> None:
    assert "Words.\n\n## Part" in rich_site.read("llms-full.txt")
    rich_site.config["llms_full_bytes"] = 900
    rich_site.publish()
    text = rich_site.read("llms-full.txt")
    assert len(text) < 1100
    assert "more documents are listed in https://example.org/llms.txt" in text


def test_robots_txt(rich_site: Any) -> None:
    assert (
        rich_site.read("robots.txt")
        == "User-agent: *\nDisallow:\n\nSitemap: https://example.org/sitemap.xml\n"
    )
    rich_site.config["robots"] = {"ai_crawlers": "disallow", "disallow": ["/private/"]}
    rich_site.publish()
    groups = rich_site.read("robots.txt").split("\n\n")
    assert groups[0].splitlines() == [*(f"User-agent: {name}" for name in AI_CRAWLERS), "Disallow: /"]
    assert groups[1] == "User-agent: *\nDisallow: /private/"


def test_the_shipped_guide_has_no_broken_link(work_site: Any) -> None:
    settings = yaml.safe_load((ROOT / "config/content.yaml").read_text("utf-8"))["extensions"]["web"]
    work_site.config = {**settings, "output": str(work_site.folder / "site"), "broken_links": "error"}
    work_site.folder, folder = ROOT, work_site.folder
    run = work_site.publish()
    work_site.folder = folder
    site = folder / "site"
    assert run.result.ok, run.log
    base = settings["site"]["base_url"]
    parser = html5lib.HTMLParser(strict=True)
    for page in site.resolve().rglob("*.html"):
        parser.parse(page.read_text("utf-8"))
        place = f"{base}/{page.relative_to(site.resolve()).as_posix().removesuffix('index.html')}"
        document = html.fromstring(page.read_text("utf-8"))
        for element, _, address, _ in document.iterlinks():
            target = urlsplit(urljoin(place, address))
            if f"{target.scheme}://{target.netloc}" != base or element.get("rel") == "canonical":
                continue
            file = site / unquote(target.path).lstrip("/")
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), f"{place}: {address}"
            if target.fragment and file.suffix == ".html":
                assert html.fromstring(file.read_text("utf-8")).xpath(
                    f"//*[@id='{unquote(target.fragment)}']"
                )
