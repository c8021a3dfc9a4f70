"""The section `extensions.web.reports` of the configuration."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ReportsConfig(BaseModel):
    """`discord_webhook`: where both reports go; `activity_webhook`: another place for the daily summary.

    Webhooks are secrets: `${env:DISCORD_WEBHOOK}` or `${credential:discord-webhook}`. Without one, reports
    are computed and stored, and not sent. `give_up_after_s`: for how long, retries and rate limits included,
    a message is worth trying. `late_after_s`: how late a run starts to be told as late.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    discord_webhook: SecretStr | None = None
    activity_webhook: SecretStr | None = None
    give_up_after_s: Annotated[int, Field(ge=5, le=3600)] = 180
    late_after_s: Annotated[int, Field(ge=1)] = 60

    @field_validator("discord_webhook", "activity_webhook")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        """Empty means none, as an unset variable gives. The message must not tell what was written."""
        text = value.get_secret_value().strip() if value is not None else ""
        if not text:
            return None
        try:
            parts = urlsplit(text)
            host = parts.hostname
        except ValueError:
            host = None
        if host is None or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
            raise ValueError("not the address of a webhook: it starts with https://discord.com/api/webhooks/")
        return SecretStr(text)

    @property
    def for_activity(self) -> SecretStr | None:
        return self.activity_webhook or self.discord_webhook
