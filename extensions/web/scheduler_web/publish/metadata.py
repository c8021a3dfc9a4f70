"""JSON-LD (schema.org) for the head of a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from scheduler_web.publish.documents import Document, encoded

if TYPE_CHECKING:
    from scheduler_web.publish.view import View


def website_data(view: View) -> Markup:
    settings = view.inputs.site.config.site
    data = {
        "@type": "WebSite",
        "name": settings.name,
        "url": view.absolute("/"),
        "inLanguage": settings.language,
    }
    if settings.description:
        data["description"] = settings.description
    return _script({**data, **view.inputs.site.config.metadata.structured_data})


def page_data(view: View, context: dict[str, Any]) -> Markup:
    return _script({"@type": "WebPage", "name": context["title"], "url": context["canonical"]})


def article_data(view: View, document: Document) -> Markup:
    settings = view.inputs.site.config.site
    technical = view.inputs.site.sources[document.source].layout == "docs"
    url = view.absolute(encoded(document.url))
    published, modified = view.moment(document.published_at), view.moment(document.modified_at)
    data: dict[str, Any] = {
        "@type": "TechArticle" if technical else "BlogPosting",
        "headline": document.title,
        "description": view.summary(document),
        "inLanguage": document.locale,
        "mainEntityOfPage": document.canonical_url or url,
        "datePublished": published.isoformat() if published else None,
        "dateModified": modified.isoformat() if modified else None,
        "author": {"@type": "Person", "name": document.author} if document.author else None,
        "image": view.image(document) or None,
        "keywords": document.keywords or ", ".join(document.tags) or None,
        "publisher": {"@type": "Organization", "name": settings.name, "url": view.absolute("/")},
    }
    return _script({key: value for key, value in data.items() if value})


def _script(data: dict[str, Any]) -> Markup:
    text = json.dumps({"@context": "https://schema.org", **data}, ensure_ascii=False, sort_keys=True)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)  # noqa: S704 (no mark is left that could end the script)
