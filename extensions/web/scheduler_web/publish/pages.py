"""Step 4, page prerender: every page of the site, by its template."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Any

from scheduler_web.publish.documents import Document, direction, encoded, page_file
from scheduler_web.publish.metadata import article_data, page_data, website_data
from scheduler_web.publish.problems import Problem, PublishError
from scheduler_web.publish.products import Product
from scheduler_web.publish.site import Site
from scheduler_web.publish.view import View

WORDS_PER_MINUTE = 200
Context = dict[str, Any]


def plan(site: Site, files: frozenset[str]) -> tuple[list[Product], list[Problem]]:
    """Every page, and what could not be placed. A document at a list's address becomes its introduction.

    `files` are the site's other files: none of them can be a folder as well.
    """
    pages: dict[str, Product] = {}
    problems: list[Problem] = []
    lists = {url: name for name in site.sources if (url := site.list_url(name))}
    folders = frozenset(name.partition("/")[0] for name in files) | _FILES
    for document in site.documents.values():
        url = document.url
        if url in lists or url == "/":
            continue
        if (url[1:].partition("/")[0] in folders or ".html" in url or ".xml" in url) and (
            blocked := _blocked(url, files)
        ):
            message = f"not published: /{blocked} is a file, so {url} cannot be"
            problems.append(Problem(_shown(site, document), 1, message))
            continue
        path = f"{url[1:]}index.html"
        pages[path] = Product(path, article, (document,), document.id)
    for url, make, arguments in _collections(site, lists):
        path = page_file(url)
        if path not in pages:
            pages[path] = Product(path, make, arguments)
    _add_aliases(site, pages, problems, files)
    pages["404.html"] = Product("404.html", not_found)
    return list(pages.values()), problems


def _add_aliases(
    site: Site, pages: dict[str, Product], problems: list[Problem], files: Container[str]
) -> None:
    with_aliases = [d for d in site.documents.values() if d.aliases]
    for document in sorted(with_aliases, key=lambda d: d.url):
        for alias in document.aliases:
            path = page_file(alias)
            blocked = _blocked(alias.rpartition("/")[0], files) or (path if path in _FILES else "")
            if blocked or path in pages:
                why = f"cannot be: /{blocked} is a file" if blocked else "is the address of another page"
                problems.append(Problem(_shown(site, document), 1, f"the alias {alias} {why}"))
            else:
                pages[path] = Product(path, redirect, (document,), document.id)


_FILES = frozenset(("assets", "404.html", "sitemap.xml", "robots.txt", "llms.txt", "llms-full.txt"))


def _blocked(url: str, files: Container[str]) -> str:
    """The part of the address that is the name of a file, if one is."""
    parts = url.strip("/").split("/")
    names = ("/".join(parts[:end]) for end in range(1, len(parts) + 1))
    endings = (".html", "feed.xml", "atom.xml")
    return next((n for n in names if n in files or n in _FILES or n.endswith(endings)), "")


def _shown(site: Site, document: Document) -> str:
    return f"{site.config.content_sources[document.source].path.rstrip('/')}/{document.path}"


def _collections(
    site: Site, lists: dict[str, str]
) -> Iterator[tuple[str, Callable[..., str], tuple[Any, ...]]]:
    yield "/", home, ()
    for url, name in lists.items():
        for number in range(1, site.page_count(len(site.lists[name])) + 1):
            yield _page_url(url, number), listing, (name, number)
    if site.tags:
        yield "/tags/", tag_index, ()
    for tag in site.tags.values():
        for number in range(1, site.page_count(len(tag.documents)) + 1):
            yield _page_url(tag.url, number), tag_page, (tag.slug, number)
    if site.posts:
        yield "/archive/", archive, ()
    for year in site.years:
        yield f"/archive/{year}/", archive_year, (year,)


def _page_url(url: str, number: int) -> str:
    return url if number == 1 else f"{url}page/{number}/"


# One function for each kind of page. Each returns the page's text.


def article(view: View, document: Document) -> str:
    fragment = _fragment(view, document)
    kind = f"{document.kind}.html"
    view.look("template", kind)
    template = kind if kind in view.inputs.theme else "article.html"
    context = _document_context(view, document, fragment)
    before, after = view.neighbours(document)
    source = view.inputs.site.sources[document.source]
    docs = source.layout == "docs"
    context.update(
        before=before,
        after=after,
        related=[] if docs else view.related(document),
        nav=view.nav(document.source, document.url) if docs else [],
        data=article_data(view, document),
    )
    return _render(view, template, context)


def home(view: View) -> str:
    site = view.inputs.site
    document = site.by_url.get("/")
    view.look("at", "/")
    context = _page_context(view, site.config.site.name, site.config.site.description, "/")
    context["doc"] = None
    if document is not None:
        context.update(_document_context(view, document, _fragment(view, document)))
    sections = [(n, s) for n, s in site.sources.items() if s.layout == "docs"]
    context.update(
        latest=view.latest(6),
        sections=[(site.title_of(n), s.branding.description, view.nav(n)) for n, s in sections],
        data=website_data(view),
    )
    return _render(view, "home.html", context)


def listing(view: View, name: str, number: int) -> str:
    site = view.inputs.site
    source, url = site.sources[name], str(site.list_url(name))
    document = site.by_url.get(url)
    view.look("at", url)
    view.look("list", name, number)
    title = site.title_of(name)
    context = _page_context(
        view, title, source.branding.description or source.description, _page_url(url, number)
    )
    context["doc"] = None
    if document is not None and number == 1:
        context.update(_document_context(view, document, _fragment(view, document)))
    members = [d for d in site.page_of(site.lists[name], number) if d is not document]
    context.update(
        entries=view.full(members),
        pager=_pager(url, number, site.page_count(len(site.lists[name]))),
        feed=f"{encoded(url)}feed.xml" if source.layout == "blog" else "",
        data=page_data(view, context),
    )
    return _render(view, "list.html", context)


def tag_page(view: View, slug: str, number: int) -> str:
    view.look("tag", slug, number)
    tag = view.inputs.site.tags[slug]
    context = _page_context(view, tag.name, f"Everything tagged {tag.name}", _page_url(tag.url, number))
    context.update(
        doc=None,
        entries=view.full(view.inputs.site.page_of(tag.documents, number)),
        pager=_pager(tag.url, number, view.inputs.site.page_count(len(tag.documents))),
        feed=f"{encoded(tag.url)}feed.xml",
        data=page_data(view, context),
    )
    return _render(view, "list.html", context)


def tag_index(view: View) -> str:
    context = _page_context(view, "Tags", "Every subject on this site", "/tags/")
    return _render(view, "tags.html", {**context, "tags": view.tags(), "data": page_data(view, context)})


def archive(view: View) -> str:
    view.look("years")
    years = [(str(y), f"/archive/{y}/", len(m)) for y, m in view.inputs.site.years.items()]
    context = _page_context(view, "Archive", "Everything published, by year", "/archive/")
    context.update(years=years, months=[], subjects=len(view.tags()), data=page_data(view, context))
    return _render(view, "archive.html", context)


def archive_year(view: View, year: int) -> str:
    view.look("year", year)
    context = _page_context(view, str(year), f"Everything published in {year}", f"/archive/{year}/")
    months: dict[str, list[Any]] = {}
    for document in view.inputs.site.years[year]:
        reference = view.short(document)
        assert reference.date is not None
        months.setdefault(reference.date.strftime("%Y-%m"), []).append(reference)
    context.update(years=[], months=list(months.values()), subjects=0, data=page_data(view, context))
    return _render(view, "archive.html", context)


def redirect(view: View, document: Document) -> str:
    view.look("doc", document.id)
    context = _page_context(view, document.title, "", document.url)
    return _render(view, "redirect.html", context)


def not_found(view: View) -> str:
    context = _page_context(view, "Page not found", "", "/404.html")
    return _render(view, "404.html", {**context, "data": page_data(view, context)})


# What templates are given


def _render(view: View, template: str, context: Context) -> str:
    view.look("template", template)
    return view.inputs.theme.render(template, context)


def _fragment(view: View, document: Document) -> Any:
    try:
        return view.fragment(document)
    except KeyError:
        raise PublishError(f"{view.inputs.file_of(document)} has not been rendered") from None


def _page_context(view: View, title: str, description: str, url: str) -> Context:
    settings = view.inputs.site.config.site
    blogs = [(n, s) for n, s in view.inputs.site.sources.items() if s.layout == "blog"]
    return {
        "site": settings,
        "title": title,
        "description": description,
        "url": encoded(url),
        "canonical": view.absolute(encoded(url)),
        "lang": settings.language,
        "dir": direction(settings.language),
        "image": "",
        "alternates": [],
        "kind": "website",
        "asset": view.asset,
        "absolute": view.absolute,
        "feeds": [
            (view.inputs.site.title_of(n), encoded(str(view.inputs.site.list_url(n))))
            for n, s in blogs
            if view.inputs.site.list_url(n)
        ],
        "has_posts": bool(blogs),
        "menu": view.menu(url),
    }


def _document_context(view: View, document: Document, fragment: Any) -> Context:
    context = _page_context(view, document.title, view.summary(document), document.url)
    body = view.body(document, fragment)
    _report_duplicates(view, document, fragment)
    context.update(
        doc=document,
        body=body,
        toc=fragment.toc,
        minutes=max(1, round(fragment.words / WORDS_PER_MINUTE)),
        published=view.moment(document.published_at),
        updated=_updated(view, document),
        tags=view.tag_links(document),
        category=view.inputs.site.config.category(document.category) if document.category else "",
        canonical=document.canonical_url or context["canonical"],
        lang=document.locale,
        dir=direction(document.locale),
        image=view.image(document),
        alternates=[(code, view.absolute(url)) for code, url in view.alternates(document)],
        kind="article",
        menu=view.menu(document.url, document.source if document.url != "/" else ""),
    )
    return context


def _updated(view: View, document: Document) -> Any:
    """Shown only when it is a later day than that of publication."""
    modified, published = view.moment(document.modified_at), view.moment(document.published_at)
    if modified is None or (published is not None and modified.date() <= published.date()):
        return None
    return modified


def _report_duplicates(view: View, document: Document, fragment: Any) -> None:
    seen: set[str] = set()
    for mark in fragment.ids:
        if mark in seen:
            view.report(document, f'"{mark}"', f'the id "{mark}" is given twice')
        seen.add(mark)


def _pager(url: str, number: int, count: int) -> Context:
    return {
        "number": number,
        "count": count,
        "newer": encoded(_page_url(url, number - 1)) if number > 1 else "",
        "older": encoded(_page_url(url, number + 1)) if number < count else "",
    }
