"""From a run's context to a pass."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection

from scheduler_daemon.extension import JobContext
from scheduler_web.analytics.capture import captured, install
from scheduler_web.analytics.lookup import Site
from scheduler_web.analytics.passes import Report, Request, aggregate
from scheduler_web.analytics.schema import Schema
from scheduler_web.analytics.settings import AnalyticsConfig
from scheduler_web.analytics.statements import Statements
from scheduler_web.publish.config import PublishConfig
from scheduler_web.publish.documents import document_url


def run(ctx: JobContext) -> Report:
    """Do one pass, as the job's parameters ask."""
    with ctx.sync_db() as connection:
        return refresh(ctx, connection, full=ctx.parameters.full)


def refresh(ctx: JobContext, connection: Connection[Any], *, full: bool = False) -> Report:
    """Bring the numbers up to date; the caller commits."""
    settings: AnalyticsConfig = ctx.config.analytics
    statements = Statements("scheduler_web.analytics", connection)
    if settings.capture and captured(statements) is None:
        why = install(connection, Schema.look(statements))
        if why is None:
            ctx.logger.info("changes of engagement_events are captured from now on")
        else:
            ctx.logger.warning(f"changes of engagement_events are not captured: {why}")
    request = Request(
        settings=settings,
        site=site(ctx.config),
        zone=ZoneInfo(settings.timezone or ctx.timezone),
        now=datetime.now(UTC),
        full=full,
        progress=lambda note: ctx.progress(0, None, note),
    )
    return aggregate(connection, request)


def site(config: PublishConfig) -> Site:
    """How publishing addresses contents."""
    sources = {source.source_id or name: source for name, source in config.content_sources.items()}
    language = config.site.language

    def route(source_id: str, slug: str, locale: str) -> str | None:
        source = sources.get(source_id)
        return None if source is None else document_url(source, slug, locale, language)

    patterns = repr(sorted((name, source.sitemap.url_pattern) for name, source in sources.items()))
    digest = hashlib.sha256(f"{language} {patterns}".encode()).hexdigest()
    return Site(route=route, language=language, patterns=digest)
