"""The extension `web`: publishes the site, counts its readers, reports on both."""

from __future__ import annotations

from pathlib import Path

from scheduler_daemon.extension import Extension
from scheduler_web.analytics.job import register as register_analytics
from scheduler_web.config import WebConfig
from scheduler_web.publish.pipeline import register as register_publishing
from scheduler_web.reports.jobs import register as register_reports

_HERE = Path(__file__).parent

extension = Extension(
    "web",
    config_model=WebConfig,
    migrations=_HERE / "migrations",
    resources={"web.templates": _HERE / "theme" / "templates", "web.assets": _HERE / "theme" / "assets"},
)
register_publishing(extension)
register_analytics(extension)
register_reports(extension)
