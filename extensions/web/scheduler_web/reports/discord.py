"""Sending one message to a Discord webhook, by Discord's documented rules (API v10, "Execute Webhook").

The webhook's address is a secret: it is in no message, error or log of ours.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from pydantic import SecretStr

CONNECT_LIMIT_S = 10.0
ANSWER_LIMIT_S = 30.0
"""Generous: a message whose answer is lost may have arrived, and is sent again."""
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0


class DiscordError(Exception):
    """It was not sent, or nobody can say (`uncertain`); the text says why."""

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A PNG, shown by an embed whose image is `attachment://NAME`; `description` is read out to the blind."""

    name: str
    content: bytes = field(repr=False)
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long to try. `clock` and `sleep` are for tests; `cancelled` ends the waiting."""

    give_up_after_s: float = 180.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one attempt came to; `retry_after_s` None: there is no use in trying again."""

    problem: str = ""
    retry_after_s: float | None = None
    uncertain: bool = False
    message_id: str = ""


def send(
    webhook: SecretStr, embeds: list[Mapping[str, Any]], picture: Picture | None, patience: Patience
) -> str:
    """Post one message; returns its id.

    429 is obeyed, for as long as it says. 5xx, refused connections and time-outs are tried again with growing
    pauses. Any other answer is final. Raises DiscordError.
    """
    until = patience.clock() + patience.give_up_after_s
    delay_s, uncertain = FIRST_DELAY_S, False
    body = _body(embeds, picture)
    with _quiet():
        while True:
            answer = _attempt(webhook, body, picture)
            uncertain = uncertain or answer.uncertain
            if answer.message_id:
                return answer.message_id
            if answer.retry_after_s is None:
                break
            pause_s = max(answer.retry_after_s, 0.0) or delay_s
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)
            if patience.clock() + pause_s > until:
                answer = _Answer(f"{answer.problem}; given up after {patience.give_up_after_s:.0f} s")
                break
            if not _wait(pause_s, patience):
                answer = _Answer(f"{answer.problem}; the run was cancelled")
                break
    raise DiscordError(answer.problem, uncertain=uncertain)


def _body(embeds: list[Mapping[str, Any]], picture: Picture | None) -> str:
    message: dict[str, Any] = {"embeds": embeds, "allowed_mentions": {"parse": []}}
    if picture is not None:
        message["attachments"] = [
            {"id": 0, "filename": picture.name, "description": picture.description[:1024]}
        ]
    return json.dumps(message)


def _attempt(webhook: SecretStr, body: str, picture: Picture | None) -> _Answer:
    """One request. Errors of requests quote the address, so only their kind is told."""
    files = {"payload_json": (None, body, "application/json")}
    if picture is not None:
        files["files[0]"] = (picture.name, picture.content, "image/png")  # type: ignore[assignment]
    try:
        response = requests.post(
            webhook.get_secret_value(),
            params={"wait": "true"},
            files=files,
            timeout=(CONNECT_LIMIT_S, ANSWER_LIMIT_S),
            allow_redirects=False,
        )
    except requests.exceptions.ConnectTimeout:
        return _Answer("Discord did not take the connection", 0.0)
    except requests.exceptions.ReadTimeout:
        return _Answer(f"Discord did not answer within {ANSWER_LIMIT_S:.0f} s", 0.0, uncertain=True)
    except requests.exceptions.SSLError:
        return _Answer("Discord's certificate could not be verified")
    except requests.exceptions.ConnectionError as exc:
        refused = "NewConnectionError" in repr(exc) or "NameResolutionError" in repr(exc)
        return _Answer(
            "no connection to Discord" if refused else "the connection broke", 0.0, uncertain=not refused
        )
    except requests.exceptions.RequestException as exc:
        return _Answer(f"the request failed ({type(exc).__name__})")
    return _judge(response)


def _judge(response: requests.Response) -> _Answer:
    told = _told(response)
    if 200 <= response.status_code < 300:
        return _Answer(message_id=str(told.get("id") or "sent"))
    if response.status_code == 429:
        wait_s = _number(told.get("retry_after")) or _number(response.headers.get("Retry-After")) or 0.0
        return _Answer(f"Discord's rate limit asked for a pause of {wait_s:.0f} s", wait_s)
    if response.status_code >= 500:
        return _Answer(f"Discord answered {response.status_code}", 0.0)
    reason = "; ".join(_reasons(told)) or response.reason or "no reason given"
    return _Answer(f"Discord refused it: {response.status_code} {reason}"[:500])


def _told(response: requests.Response) -> dict[str, Any]:
    try:
        told = response.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _reasons(told: Mapping[str, Any]) -> Iterator[str]:
    """Discord's message, its code, and where the form was wrong."""
    if message := told.get("message"):
        code = f" (code {told['code']})" if told.get("code") else ""
        yield f"{message}{code}"
    yield from _places(told.get("errors"), "")


def _places(errors: object, path: str) -> Iterator[str]:
    if not isinstance(errors, dict):
        return
    for name, value in errors.items():
        if name == "_errors" and isinstance(value, list):
            yield from (f"{path}: {e.get('message', '')}" for e in value if isinstance(e, dict))
        else:
            yield from _places(value, f"{path}.{name}" if path else str(name))


def _wait(seconds: float, patience: Patience) -> bool:
    """Sleep in small parts; False once the run shall end."""
    until = patience.clock() + seconds
    while (left := until - patience.clock()) > 0:
        if patience.cancelled():
            return False
        patience.sleep(min(left, 0.5))
    return not patience.cancelled()


@contextmanager
def _quiet() -> Iterator[None]:
    """urllib3 logs paths at DEBUG, and the path is the secret."""
    logger = logging.getLogger("urllib3.connectionpool")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
