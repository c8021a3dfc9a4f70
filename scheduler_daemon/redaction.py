"""Secrets do not leave in logs, errors, messages or answers: not by value, not under a telling key."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from scheduler_daemon.model import LogRecord, Outcome

HIDDEN = "***"
SHORTEST = 6
"""Characters: what is shorter, or a number, would blot out innocent text."""
LONG = 16
DEEPEST = 12
_KEY = re.compile(
    r"(?:^|[_.-])(?:pass(?:word|wd)?|pw|secret|token|authorization|cookie|api_?key|credential|webhook)s?(?:$|[_.-])",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z._-]+")
_PIECES = re.compile(r"[/?&=]")
_IN_URL = re.compile(r"(?<=://)([^/\s:@\"']*):([^/\s@\"']+)@")


class Redactor:
    """Knows the secrets that the configuration refers to; forgets none: an old one may still be valid."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        new = {form for form in forms if len(form) >= SHORTEST and not form.isdigit()} - self._known
        if new:
            self._known |= new
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(_expression, longest_first)))

    def text(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        return _IN_URL.sub(rf"\1:{HIDDEN}@", text) if "://" in text else text

    def value(self, value: Any, depth: int = 0) -> Any:
        """The same value with every secret in it hidden, and all text that stands under a telling key."""
        if isinstance(value, str):
            return self.text(value)
        if depth > DEEPEST:
            return value
        if isinstance(value, Mapping):
            return {
                name: HIDDEN if _telling(name, one) else self.value(one, depth + 1)
                for name, one in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(one, depth + 1) for one in value]
        return value

    def record(self, record: LogRecord) -> LogRecord:
        message = self.text(record.message)
        if not record.fields and message == record.message:
            return record
        return replace(record, message=message, fields=self.value(record.fields))

    def outcome(self, outcome: Outcome) -> Outcome:
        if not (outcome.message or outcome.error or outcome.traceback or outcome.steps):
            return outcome
        return replace(
            outcome,
            message=self._maybe(outcome.message),
            error=self._maybe(outcome.error),
            traceback=self._maybe(outcome.traceback),
            steps=tuple(replace(step, error=self._maybe(step.error)) for step in outcome.steps),
        )

    def _maybe(self, text: str | None) -> str | None:
        return text and self.text(text)


def _token(text: str) -> bool:
    """A long piece of an address with digits in it: what makes the address a secret."""
    return len(text) >= LONG and any(map(str.isdigit, text))


def _telling(name: Any, value: Any) -> bool:
    return isinstance(value, str) and bool(value) and isinstance(name, str) and bool(_KEY.search(name))


def _expression(secret: str) -> str:
    """A short word, such as a host's name, is hidden only where it stands alone."""
    if len(secret) < LONG and _WORD.fullmatch(secret):
        return rf"(?<![\w.-]){re.escape(secret)}(?![\w-])"
    return re.escape(secret)


def _forms(secret: str) -> Iterator[str]:
    """The ways in which a secret shows up: as it is, quoted, and of a URL the parts that are secret alone."""
    parts = [secret, *secret.splitlines()]
    if "://" in secret:
        with contextlib.suppress(ValueError):
            url = urlsplit(secret)
            parts.append(url.password or "")
            if url.scheme.startswith("http"):
                parts += [url.path] if len(url.path) >= LONG else []
                parts += filter(_token, _PIECES.split(f"{url.path}?{url.query}"))
    for part in parts:
        yield from (part, unquote(part), quote(part, safe=""), json.dumps(part)[1:-1])
