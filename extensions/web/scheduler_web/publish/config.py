"""The publishing part of the section `extensions.web` of the configuration."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

Frequency = Literal["always", "hourly", "daily", "weekly", "monthly", "yearly", "never"]
Priority = Annotated[float, Field(ge=0.0, le=1.0)]


def _url_path(value: str) -> str:
    if not value.startswith("/") or "//" in value or ".." in value.split("/"):
        raise ValueError(
            f'"{value}" is not a path of the site: it starts with / and has no empty or ".." part'
        )
    return value


def _pattern(value: str) -> str:
    if value.count("{slug}") != 1 or "{" in value.replace("{slug}", ""):
        raise ValueError(
            f'"{value}" must hold {{slug}} once and no other placeholder, as in "/blog/{{slug}}/"'
        )
    return _url_path(value)


UrlPath = Annotated[str, AfterValidator(_url_path)]


class Strict(BaseModel):
    """An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Indexing(Strict):
    recursive: bool = True


class ParentRoute(Strict):
    """The page that lists a source's documents."""

    enabled: bool = True
    url: UrlPath
    priority: Priority | None = None
    changefreq: Frequency | None = None


class SitemapRules(Strict):
    enabled: bool = True
    url_pattern: Annotated[str, AfterValidator(_pattern)] = "/{slug}/"
    priority: Priority | None = None
    changefreq: Frequency | None = None
    parent_route: ParentRoute | None = None


class Branding(Strict):
    name: str = ""
    description: str = ""
    image: str = ""


class Source(Strict):
    """A folder of Markdown. `layout` docs: a sidebar in order of weight; blog: newest first, feeds."""

    path: str
    source_id: str = ""
    category_id: str = ""
    enabled: bool = True
    description: str = ""
    layout: Literal["docs", "blog"] = "blog"
    trusted_html: bool = False
    indexing: Indexing = Indexing()
    sitemap: SitemapRules = SitemapRules()
    branding: Branding = Branding()


class Category(Strict):
    name: str
    description: str = ""


class Metadata(Strict):
    default_author: str = ""
    structured_data: dict[str, Any] = {}


class MenuEntry(Strict):
    title: str
    url: str


class Site(Strict):
    name: str = "My site"
    description: str = ""
    base_url: str = "http://127.0.0.1:8000"
    language: str = "en"
    menu: tuple[MenuEntry, ...] = ()
    footer: str = ""

    @field_validator("base_url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError(f'"{value}" is not the address of a site, such as https://example.com')
        if parts.path.strip("/"):
            raise ValueError(f'"{value}": the site is published at the root of its host, without a path')
        return f"{parts.scheme}://{parts.netloc}"

    @field_validator("language")
    @classmethod
    def _tag(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", value):
            raise ValueError(f'"{value}" is not a language tag such as en or pt-BR')
        return value


class Robots(Strict):
    """`ai_crawlers`: whether the known crawlers of AI vendors may read the site."""

    ai_crawlers: Literal["allow", "disallow"] = "allow"
    disallow: tuple[UrlPath, ...] = ()
    crawl_delay_s: int | None = Field(default=None, ge=0, le=3600)


class PublishConfig(Strict):
    """Paths are relative to the configuration's folder. `output` becomes a symlink of ours."""

    site: Site = Site()
    content_sources: dict[str, Source] = {"content": Source(path="services/content")}
    categories: dict[str, str | Category] = {}
    metadata: Metadata = Metadata()
    output: str = "web/dist"
    templates: str = ""
    assets: str = ""
    page_size: int = Field(default=20, ge=1, le=1000)
    feed_entries: int = Field(default=20, ge=1, le=1000)
    llms_full_bytes: int = Field(default=1_000_000, ge=0)
    retention_days: int = Field(default=30, ge=0)
    max_document_bytes: int = Field(default=2_000_000, ge=1)
    render_timeout_s: float = Field(default=20.0, gt=0)
    processes: int | None = Field(default=None, ge=1, le=64)
    broken_links: Literal["warning", "error"] = "warning"
    robots: Robots = Robots()

    @field_validator("content_sources")
    @classmethod
    def _names(cls, value: dict[str, Source]) -> dict[str, Source]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
                raise ValueError(f'source "{name}": a name has letters, digits, - and _ only')
        return value

    @field_validator("output")
    @classmethod
    def _folder(cls, value: str) -> str:
        if PurePosixPath(value).name in ("", ".", ".."):
            raise ValueError(f'output "{value}" does not name a folder')
        return value

    def category(self, identifier: str) -> str:
        """The category's name for people; the identifier itself where none is configured."""
        found = self.categories.get(identifier, identifier)
        return found if isinstance(found, str) else found.name
