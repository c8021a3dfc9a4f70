"""The section `extensions.web` of the configuration."""

from __future__ import annotations

from scheduler_web.publish.config import PublishConfig


class WebConfig(PublishConfig):
    """Publishing's keys, and below those of the other rooms."""
