"""The nine steps of the specification, in its order. Each works on a build and may fail by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scheduler_web.publish import copying, feeds, llms, robots, sitemap
from scheduler_web.publish.build import Build
from scheduler_web.publish.ingest import ingest
from scheduler_web.publish.prerender import bodies, prerender
from scheduler_web.publish.problems import ContentError, Problem
from scheduler_web.publish.produce import produce
from scheduler_web.publish.products import Product


@dataclass(frozen=True)
class Step:
    name: str
    description: str
    run: Callable[[Build], None]


def content_ingestion(build: Build) -> None:
    """Raises ContentError naming every file that could not be taken, after the others were."""
    with build.around.database() as connection:
        ingest(connection, build.index, build.sources, build.around.now)
    problems = [Problem(*p) for p in (*build.index.errors.values(), *build.index.conflicts)]
    for name, source in build.config.content_sources.items():
        if source.enabled and name not in build.scans:
            problems.append(Problem(source.path, 0, f'the folder of the source "{name}" is not there'))
        for path in build.scans[name].refused if name in build.scans else ():
            shown = build.sources.shown((name, path))
            problems.append(Problem(shown, 0, "not read: it is a link that leads outside, or no plain file"))
    if problems:
        raise ContentError(sorted(problems))


def asset_copy(build: Build) -> None:
    copying.copy_assets(build, "asset_copy")


def content_prerender(build: Build) -> None:
    if not build.unchanged:
        prerender(build)


def page_prerender(build: Build) -> None:
    if _needed(build, "page_prerender"):
        products, problems = build.page_plan
        try:
            _produce(build, "page_prerender", products)
        finally:
            build.note("", problems)
    warnings = [p for problems in build.wanted.problems.values() for p in problems]
    if warnings and build.config.broken_links == "error":
        raise ContentError(sorted(warnings))


def sitemap_xml(build: Build) -> None:
    if _needed(build, "sitemap"):
        _produce(build, "sitemap", sitemap.plan(build.site))


def llms_txt(build: Build) -> None:
    if _needed(build, "llms_txt"):
        _produce(build, "llms_txt", llms.plan(build.site, lambda ids: bodies(build, ids)))


def robots_txt(build: Build) -> None:
    if _needed(build, "robots_txt"):
        _produce(build, "robots_txt", robots.plan())


def rss_feed(build: Build) -> None:
    if _needed(build, "rss_feed"):
        _produce(build, "rss_feed", feeds.plan(build.site))


def asset_organization(build: Build) -> None:
    copying.organize_assets(build, "asset_organization")


STEPS = (
    Step("content_ingestion", "Read changed Markdown files into the database", content_ingestion),
    Step(
        "asset_copy", "Copy images, styles and scripts under names that hold their content's hash", asset_copy
    ),
    Step("content_prerender", "Render changed Markdown to HTML fragments", content_prerender),
    Step("page_prerender", "Render the pages whose inputs changed", page_prerender),
    Step("sitemap", "Write sitemap.xml", sitemap_xml),
    Step("llms_txt", "Write llms.txt and llms-full.txt", llms_txt),
    Step("robots_txt", "Write robots.txt", robots_txt),
    Step("rss_feed", "Write the RSS and Atom feeds", rss_feed),
    Step(
        "asset_organization",
        "Bring CSS and JS to their final paths, drop what is not needed",
        asset_organization,
    ),
)


def _needed(build: Build, step: str) -> bool:
    """Whether the step has to look at its files one by one."""
    return not build.unchanged or step in build.damaged


def _produce(build: Build, step: str, products: list[Product]) -> None:
    produce(build, step, products, build.inputs)


__all__ = ["STEPS", "Step"]
