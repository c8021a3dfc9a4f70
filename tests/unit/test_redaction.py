"""Secrets do not leave: by value, by shape, under a telling key."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from scheduler_daemon.config import load
from scheduler_daemon.logs import configure
from scheduler_daemon.model import LogRecord, Outcome, RunStatus, StepRecord
from scheduler_daemon.redaction import HIDDEN, LONG, Redactor

TOKEN = "tok-51Hq/9+Zz=ä"
DATABASE = "postgresql://app:p%40ss-w0rd@db.example:5432/scheduler"
HOOK = "https://discord.example/api/webhooks/1187/AbCdEfGh1jKl-mnop"


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(
        [TOKEN, DATABASE, HOOK, "https://hc.example/hooks?key=k3y-of-eighteen-cs", "db-host", "5432", "on"]
    )


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (f"sent with {TOKEN}.", "sent with ***."),
        ("sent with tok-51Hq%2F9%2BZz%3D%C3%A4", "sent with ***"),
        (json.dumps({"a": TOKEN}), '{"a": "***"}'),
        (f"cannot connect to {DATABASE}", "cannot connect to ***"),
        ('password authentication failed: "p@ss-w0rd"', 'password authentication failed: "***"'),
        (
            "Max retries exceeded with url: /api/webhooks/1187/AbCdEfGh1jKl-mnop (",
            "Max retries exceeded with url: *** (",
        ),
        ("the hook 1187/AbCdEfGh1jKl-mnop", "the hook 1187/***"),
        ("the key k3y-of-eighteen-cs", "the key ***"),
        ("amqp://guest:unknown-to-us@mq/", "amqp://guest:***@mq/"),
        ("no answer from db-host, port 5432", "no answer from ***, port 5432"),
        (
            "db-hostname and old-db-host stay, and so does on",
            "db-hostname and old-db-host stay, and so does on",
        ),
        ("in /hooks and hc.example", "in /hooks and hc.example"),
        ("/var/lib/scheduler-daemon", "/var/lib/scheduler-daemon"),
    ],
)
def test_a_secret_is_hidden_in_text(redactor: Redactor, said: str, left: str) -> None:
    assert redactor.text(said) == left


def test_a_telling_key_hides_its_text_and_no_number(redactor: Redactor) -> None:
    said = {
        "password": "x",
        "api_key": "y",
        "Authorization": "Bearer z",
        "discord_webhook": "w",
        "total_tokens_used": 12,
        "tokenizer": "mistune",
        "deep": [{"db.password": "v", "url": DATABASE}],
        "secret": None,
    }
    assert redactor.value(said) == {
        "password": HIDDEN,
        "api_key": HIDDEN,
        "Authorization": HIDDEN,
        "discord_webhook": HIDDEN,
        "total_tokens_used": 12,
        "tokenizer": "mistune",
        "deep": [{"db.password": HIDDEN, "url": HIDDEN}],
        "secret": None,
    }


def test_outcomes_and_records_are_cleaned_throughout(redactor: Redactor) -> None:
    outcome = redactor.outcome(
        Outcome(
            run_id="1",
            status=RunStatus.FAILED,
            finished_at=1.0,
            message=f"m {TOKEN}",
            error=f"e {TOKEN}",
            traceback=f"t {TOKEN}",
            steps=(StepRecord(name="post", status="failed", error=f"s {TOKEN}"),),
        )
    )
    assert (outcome.message, outcome.error, outcome.traceback) == ("m ***", "e ***", "t ***")
    assert outcome.steps[0].error == "s ***"
    record = redactor.record(
        LogRecord(timestamp=1.0, level="INFO", module="m", message=TOKEN, fields={"a": [TOKEN], "token": "t"})
    )
    assert (record.message, record.fields) == ("***", {"a": ["***"], "token": "***"})


def test_what_was_a_secret_stays_one(redactor: Redactor) -> None:
    redactor.learn(["a-second-secret"])
    assert redactor.text(f"{TOKEN} a-second-secret") == "*** ***"


@given(st.text(min_size=LONG), st.text(), st.text())
def test_no_long_secret_survives(secret: str, before: str, after: str) -> None:
    if secret.isdigit():
        return
    assert secret not in Redactor([secret]).text(before + secret + after).replace(HIDDEN, "")


def test_the_configuration_tells_which_values_are_secret(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(HOOK + "\n")
    (tmp_path / "config.yaml").write_text(
        "database: {url: 'postgresql://app:${env:PW}@db.example/app'}\n"
        "notifications: {discord: '${credential:hook}'}\n"
        "scheduler: {jobs: []}\n"
    )
    loaded = load(tmp_path / "config.yaml", environ={"PW": "p%40ss", "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert loaded.secrets == {"p%40ss", HOOK}
    assert HOOK not in repr(loaded.secrets - loaded.secrets) + repr(loaded).replace(repr(loaded.settings), "")


@pytest.mark.parametrize("as_json", [True, False])
def test_no_log_line_holds_a_secret(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    told: list[LogRecord] = []
    tap = configure(level="INFO", as_json=as_json)
    tap.redactor.learn([TOKEN, DATABASE])
    tap.sink = told.append
    try:
        log = structlog.get_logger("scheduler_daemon.test")
        log.info(f"hello {TOKEN}", where=DATABASE, password="short", rows=3)
        try:
            raise RuntimeError(f"refused: {TOKEN}")
        except RuntimeError:
            log.exception("it failed")
        logging.getLogger("urllib3").warning("retrying %s", DATABASE)
    finally:
        configure(level="WARNING", as_json=False)
    written = capsys.readouterr().err
    assert as_json or re.search(
        r"^\d\d:\d\d:\d\d \[warning  \] urllib3: retrying \*\*\*$", written, re.MULTILINE
    )
    for secret in (TOKEN, DATABASE, "p@ss-w0rd", "short", json.dumps(TOKEN)[1:-1]):
        assert secret not in written
        assert secret not in repr(told)
    assert written.count(HIDDEN) == 5
    assert [record.level for record in told] == ["INFO", "ERROR"]
    if as_json:
        events = [json.loads(line) for line in written.splitlines()]
        assert [event["event"] for event in events] == ["hello ***", "it failed", "retrying ***"]
        assert "RuntimeError: refused: ***" in events[1]["exception"]
