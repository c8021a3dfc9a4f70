"""Sending: what Discord documents, what networks do, and a secret that stays one."""

from __future__ import annotations

import logging
import socket
import traceback
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from scheduler_web.config import WebConfig
from scheduler_web.reports import discord as client
from scheduler_web.reports.discord import DiscordError, Patience, Picture, send
from scheduler_web.reports.settings import ReportsConfig

EMBED = {"title": "Hello", "fields": [], "timestamp": "2026-11-22T19:00:00+00:00"}
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    def patience(self, give_up_after_s: float = 180, **more: Any) -> Patience:
        return Patience(give_up_after_s=give_up_after_s, clock=lambda: self.now, sleep=self.sleep, **more)


@pytest.fixture
def time() -> Time:
    return Time()


def test_posts_the_embed_and_the_picture(discord: Any, webhook: SecretStr, time: Time) -> None:
    embed = {**EMBED, "image": {"url": "attachment://chart.png"}}
    picture = Picture(name="chart.png", content=PNG, description="Views of 14 days")
    assert send(webhook, [embed], picture, time.patience()) == "1100001"
    message = discord.messages[0]
    assert message.query == {"wait": ["true"]}
    assert message.files == {"files[0]": PNG}
    assert message.payload["attachments"] == [
        {"id": 0, "filename": "chart.png", "description": "Views of 14 days"}
    ]
    assert message.payload["allowed_mentions"] == {"parse": []}


def test_obeys_a_rate_limit_to_the_moment(discord: Any, webhook: SecretStr, time: Time, reply: Any) -> None:
    body = {"message": "You are being rate limited.", "retry_after": 3.25, "global": False}
    discord.replies = [reply(429, body, {"Retry-After": "4"}), reply(429, body)]
    send(webhook, [EMBED], None, time.patience())
    assert time.now == pytest.approx(6.5)
    assert len(discord.messages) == 1


def test_obeys_a_limit_that_only_the_header_tells(
    discord: Any, webhook: SecretStr, time: Time, reply: Any
) -> None:
    discord.replies = [reply(429, b"<html>blocked</html>", {"Retry-After": "7", "Content-Type": "text/html"})]
    send(webhook, [EMBED], None, time.patience())
    assert time.now == pytest.approx(7)


def test_the_servers_own_rate_limit_holds_no_message_back(
    discord: Any, webhook: SecretStr, time: Time
) -> None:
    discord.limit, discord.clock = 1, lambda: time.now
    send(webhook, [EMBED], None, time.patience())
    send(webhook, [EMBED], None, time.patience())
    assert len(discord.messages) == 2
    assert discord.requests == 3
    assert time.now == pytest.approx(2)


def test_gives_up_when_asked_to_wait_longer_than_the_message_is_worth(
    discord: Any, webhook: SecretStr, time: Time, reply: Any
) -> None:
    discord.replies = [reply(429, {"retry_after": 3600.0})]
    with pytest.raises(DiscordError, match=r"pause of 3600 s; given up after 180 s") as failure:
        send(webhook, [EMBED], None, time.patience())
    assert not failure.value.uncertain
    assert time.now == 0
    assert discord.requests == 1


def test_tries_again_after_server_errors_with_growing_pauses(
    discord: Any, webhook: SecretStr, time: Time, reply: Any
) -> None:
    discord.replies = [reply(502, b"Bad Gateway"), reply(503, b""), reply(500, {})]
    send(webhook, [EMBED], None, time.patience())
    assert time.now == pytest.approx(1 + 2 + 4)
    assert len(discord.messages) == 1


def test_stops_trying_within_its_bound(discord: Any, webhook: SecretStr, time: Time, reply: Any) -> None:
    discord.replies = [reply(500, {})] * 50
    with pytest.raises(DiscordError, match="Discord answered 500; given up after 20 s") as failure:
        send(webhook, [EMBED], None, time.patience(20))
    assert time.now <= 20
    assert not failure.value.uncertain


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, {"message": "Unknown Webhook", "code": 10015}, "404 Unknown Webhook (code 10015)"),
        (401, {"message": "Invalid Webhook Token", "code": 50027}, "401 Invalid Webhook Token (code 50027)"),
        (
            400,
            {
                "message": "Invalid Form Body",
                "code": 50035,
                "errors": {
                    "embeds": {
                        "0": {
                            "title": {
                                "_errors": [{"code": "X", "message": "Must be 256 or fewer in length."}]
                            }
                        }
                    }
                },
            },
            "400 Invalid Form Body (code 50035); embeds.0.title: Must be 256 or fewer in length.",
        ),
        (403, b"not json", "403 Forbidden"),
        (307, b"", "307"),
    ],
)
def test_reports_a_refusal_in_discords_words(  # a table of cases
    discord: Any, webhook: SecretStr, time: Time, reply: Any, status: int, body: Any, told: str
) -> None:
    discord.replies = [reply(status, body, {"Location": "http://127.0.0.1:9/elsewhere"})]
    with pytest.raises(DiscordError) as failure:
        send(webhook, [EMBED], None, time.patience())
    assert told in str(failure.value)
    assert discord.requests == 1
    assert not failure.value.uncertain


def test_the_real_limits_refuse_a_title_that_is_too_long(
    discord: Any, webhook: SecretStr, time: Time
) -> None:
    with pytest.raises(DiscordError, match=r"embeds\.0\.title: Must be 256 or fewer in length"):
        send(webhook, [{**EMBED, "title": "x" * 257}], None, time.patience())


def test_an_answer_that_never_comes_may_mean_that_it_arrived(
    discord: Any, webhook: SecretStr, time: Time, reply: Any
) -> None:
    discord.replies = [reply(0, drop=True), reply(400, {"message": "no"})]
    with pytest.raises(DiscordError) as failure:
        send(webhook, [EMBED], None, time.patience())
    assert failure.value.uncertain


def test_a_slow_answer_is_a_time_out(
    webhook: SecretStr, time: Time, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(client, "ANSWER_LIMIT_S", 0.05)
        silent = SecretStr(f"http://127.0.0.1:{server.getsockname()[1]}/api/webhooks/1/{secret}")
        with pytest.raises(DiscordError, match="did not answer") as failure:
            send(silent, [EMBED], None, time.patience(5))
    assert failure.value.uncertain
    assert secret not in str(failure.value)


def test_a_refused_connection_is_tried_again_and_surely_not_sent(time: Time, secret: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DiscordError, match="no connection to Discord; given up after 10 s") as failure:
        send(SecretStr(f"http://127.0.0.1:{port}/api/webhooks/1/{secret}"), [EMBED], None, time.patience(10))
    assert not failure.value.uncertain
    assert time.now > 5


def test_stops_waiting_when_the_run_shall_end(
    discord: Any, webhook: SecretStr, time: Time, reply: Any
) -> None:
    discord.replies = [reply(500, {})] * 5
    with pytest.raises(DiscordError, match="the run was cancelled"):
        send(webhook, [EMBED], None, time.patience(cancelled=lambda: time.now >= 1.4))
    assert time.now < 3


def test_the_webhook_is_nowhere_to_be_read(
    discord: Any,
    webhook: SecretStr,
    time: Time,
    reply: Any,
    secret: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    discord.replies = [reply(500, {}), reply(0, drop=True), reply(404, {"message": "Unknown Webhook"})]
    with pytest.raises(DiscordError) as failure:
        send(webhook, [EMBED], None, time.patience())
    told = [str(failure.value), repr(failure.value), caplog.text, repr(webhook), str(webhook)]
    told += traceback.format_exception(failure.value)
    assert not any(secret in text for text in told)


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_webhook_is_none(value: str | None) -> None:
    assert ReportsConfig(discord_webhook=value).discord_webhook is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["ftp://discord.com/SECRET", "http://discord.com/SECRET", "SECRET", "https://[SECRET"]
)
def test_an_address_that_is_none_is_refused_without_telling_it(value: str) -> None:
    for model, section in (
        (ReportsConfig, {"discord_webhook": value}),
        (WebConfig, {"reports": {"discord_webhook": value}}),
    ):
        with pytest.raises(ValidationError, match="not the address of a webhook") as failure:
            model.model_validate(section)
        assert "SECRET" not in str(failure.value)


def test_the_configuration_does_not_show_it(webhook: SecretStr, secret: str) -> None:
    config = WebConfig.model_validate({"reports": {"discord_webhook": webhook.get_secret_value()}})
    assert secret not in repr(config) + str(config) + config.model_dump_json()


def test_the_summary_may_have_a_place_of_its_own() -> None:
    one = ReportsConfig.model_validate({"discord_webhook": "https://discord.com/api/webhooks/1/a"})
    assert one.for_activity == one.discord_webhook
    two = ReportsConfig.model_validate({"activity_webhook": "https://discord.com/api/webhooks/2/b"})
    assert two.discord_webhook is None
    assert two.for_activity == two.activity_webhook
