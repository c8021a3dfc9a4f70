"""The section `extensions.web` of the configuration."""

from __future__ import annotations

from pydantic import ConfigDict

from scheduler_web.analytics.settings import AnalyticsConfig
from scheduler_web.publish.config import PublishConfig
from scheduler_web.reports.settings import ReportsConfig


class WebConfig(PublishConfig):
    """Publishing's keys, and below those of the other rooms. Errors do not quote values: some are secrets."""

    model_config = ConfigDict(hide_input_in_errors=True)

    analytics: AnalyticsConfig = AnalyticsConfig()
    reports: ReportsConfig = ReportsConfig()
