# ruff: noqa: E501 (templates)
"""Sites for Hugo and Pelican with the content and pages of ours: posts, lists, tags, feed, sitemap, 404."""

from __future__ import annotations

from pathlib import Path

from publish_corpus import Post

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="{description}"><link rel="canonical" href="{canonical}">
<link rel="stylesheet" href="/css/site.css"><link rel="alternate" type="application/rss+xml" href="/index.xml">
<meta property="og:title" content="{title}"><meta property="og:url" content="{canonical}">
</head><body><header><a href="/">B</a><nav><a href="/blog/">Blog</a><a href="/tags/">Tags</a></nav></header><main>
"""
FOOT = "</main><footer><p>B</p></footer></body></html>\n"

HUGO = {
    "hugo.toml": """baseURL = "https://example.org/"
title = "B"
[pagination]
pagerSize = 20
[markup.highlight]
noClasses = false
[markup.goldmark.renderer]
unsafe = false
[taxonomies]
tag = "tags"
[outputs]
home = ["html", "rss"]
section = ["html", "rss"]
term = ["html", "rss"]
[services.rss]
limit = 20
""",
    "layouts/_default/single.html": HEAD.format(
        title="{{ .Title }}", description="{{ .Description }}", canonical="{{ .Permalink }}"
    )
    + """<article><h1>{{ .Title }}</h1><p><time datetime="{{ .Date }}">{{ .Date.Format "2 January 2006" }}</time>
<span>{{ .ReadingTime }} min read</span></p>{{ .TableOfContents }}<div class="prose">{{ .Content }}</div>
<ul>{{ range .GetTerms "tags" }}<li><a href="{{ .RelPermalink }}">{{ .Title }}</a></li>{{ end }}</ul></article>
<nav>{{ with .PrevInSection }}<a href="{{ .RelPermalink }}">{{ .Title }}</a>{{ end }}
{{ with .NextInSection }}<a href="{{ .RelPermalink }}">{{ .Title }}</a>{{ end }}</nav>
"""
    + FOOT,
    "layouts/_default/list.html": HEAD.format(
        title="{{ .Title }}", description="{{ .Title }}", canonical="{{ .Permalink }}"
    )
    + """<h1>{{ .Title }}</h1><ul>{{ range .Paginator.Pages }}<li><time>{{ .Date.Format "2 January 2006" }}</time>
<h2><a href="{{ .RelPermalink }}">{{ .Title }}</a></h2><p>{{ .Description }}</p>
<ul>{{ range .GetTerms "tags" }}<li><a href="{{ .RelPermalink }}">{{ .Title }}</a></li>{{ end }}</ul></li>{{ end }}</ul>
<nav>{{ if .Paginator.HasPrev }}<a href="{{ .Paginator.Prev.URL }}">Newer</a>{{ end }}
{{ if .Paginator.HasNext }}<a href="{{ .Paginator.Next.URL }}">Older</a>{{ end }}</nav>
"""
    + FOOT,
    "layouts/_default/terms.html": HEAD.format(title="Tags", description="Tags", canonical="{{ .Permalink }}")
    + '<ul>{{ range .Pages }}<li><a href="{{ .RelPermalink }}">{{ .Title }}</a></li>{{ end }}</ul>'
    + FOOT,
    "layouts/404.html": HEAD.format(title="Not found", description="", canonical="/404.html") + FOOT,
}
PELICAN_CONF = """SITENAME = "B"
SITEURL = "https://example.org"
AUTHOR = "B"
PATH = "content"
TIMEZONE = "UTC"
DEFAULT_LANG = "en"
DEFAULT_PAGINATION = 20
DELETE_OUTPUT_DIRECTORY = False
LOAD_CONTENT_CACHE = True
CACHE_CONTENT = True
CONTENT_CACHING_LAYER = "generator"
CHECK_MODIFIED_METHOD = "mtime"
FEED_ALL_RSS = "feed.xml"
FEED_ALL_ATOM = "atom.xml"
TAG_FEED_RSS = "tags/{slug}/feed.xml"
CATEGORY_FEED_ATOM = AUTHOR_FEED_ATOM = AUTHOR_FEED_RSS = TRANSLATION_FEED_ATOM = None
FEED_MAX_ITEMS = 20
ARTICLE_URL = "blog/{slug}/"
ARTICLE_SAVE_AS = "blog/{slug}/index.html"
TAG_SAVE_AS = "tags/{slug}.html"
AUTHOR_SAVE_AS = CATEGORY_SAVE_AS = ARCHIVES_SAVE_AS = AUTHORS_SAVE_AS = CATEGORIES_SAVE_AS = ""
THEME = "theme"
DIRECT_TEMPLATES = ["index", "tags"]
PAGINATED_TEMPLATES = {"index": None, "tag": None}
MARKDOWN = {"extension_configs": {"markdown.extensions.codehilite": {"css_class": "highlight"},
    "markdown.extensions.extra": {}, "markdown.extensions.meta": {}, "markdown.extensions.toc": {}}}
"""


PELICAN_LIST = (
    HEAD.format(title="{{ SITENAME }}", description="", canonical="{{ SITEURL }}/")
    + """<ul>{% for article in articles_page.object_list %}<li><time>{{ article.locale_date }}</time>
<h2><a href="/{{ article.url }}">{{ article.title }}</a></h2>{{ article.summary }}
<ul>{% for tag in article.tags %}<li><a href="/{{ tag.url }}">{{ tag }}</a></li>{% endfor %}</ul></li>{% endfor %}</ul>
<nav>{% if articles_page.has_previous() %}<a href="/{{ articles_previous_page.url }}">Newer</a>{% endif %}
{% if articles_page.has_next() %}<a href="/{{ articles_next_page.url }}">Older</a>{% endif %}</nav>
"""
    + FOOT
)
PELICAN = {
    "theme/templates/article.html": HEAD.format(
        title="{{ article.title }}", description="", canonical="{{ SITEURL }}/{{ article.url }}"
    )
    + """<article><h1>{{ article.title }}</h1><p><time>{{ article.locale_date }}</time></p>
<div class="prose">{{ article.content }}</div>
<ul>{% for tag in article.tags %}<li><a href="/{{ tag.url }}">{{ tag }}</a></li>{% endfor %}</ul></article>
"""
    + FOOT,
    "theme/templates/index.html": PELICAN_LIST,
    "theme/templates/tag.html": PELICAN_LIST,
    "theme/templates/tags.html": HEAD.format(
        title="Tags", description="", canonical="{{ SITEURL }}/tags.html"
    )
    + '<ul>{% for tag, articles in tags %}<li><a href="/{{ tag.url }}">{{ tag }}</a></li>{% endfor %}</ul>'
    + FOOT,
    "theme/static/css/site.css": "body { margin: 0 }\n",
}


def hugo(folder: Path, posts: list[Post]) -> None:
    for name, text in HUGO.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    (folder / "content/blog").mkdir(parents=True)
    (folder / "static/css").mkdir(parents=True)
    (folder / "static/css/site.css").write_text("body { margin: 0 }\n")
    for post in posts:
        hugo_post(folder, post)


def hugo_post(folder: Path, post: Post) -> None:
    tags = ", ".join(post.tags)
    head = f"title: {post.title}\ndate: {post.date}\ntags: [{tags}]\ndescription: {post.description}\n"
    (folder / f"content/blog/{post.slug}.md").write_text(f"---\n{head}---\n\n{post.body}", "utf-8")


def pelican(folder: Path, posts: list[Post]) -> None:
    (folder / "content").mkdir(parents=True)
    (folder / "pelicanconf.py").write_text(PELICAN_CONF)
    for name, text in PELICAN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    for post in posts:
        pelican_post(folder, post)


def pelican_post(folder: Path, post: Post) -> None:
    tags = ", ".join(post.tags)
    head = f"Title: {post.title}\nDate: {post.date}\nTags: {tags}\nSummary: {post.description}\nSlug: {post.slug}\n"
    (folder / f"content/{post.slug}.md").write_text(f"{head}\n{post.body}", "utf-8")
