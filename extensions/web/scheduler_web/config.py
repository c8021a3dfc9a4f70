"""The section `extensions.web` of the configuration."""

from __future__ import annotations

from scheduler_web.analytics.settings import AnalyticsConfig
from scheduler_web.publish.config import PublishConfig
from scheduler_web.reports.settings import ReportsConfig


class WebConfig(PublishConfig):
    """Publishing's keys, and below those of the other rooms."""

    analytics: AnalyticsConfig = AnalyticsConfig()
    reports: ReportsConfig = ReportsConfig()
