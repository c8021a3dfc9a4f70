"""Secrets come from the environment or from systemd, and are nowhere else."""

import json
from pathlib import Path

import pytest

from scheduler_daemon.config import load
from scheduler_daemon.errors import ConfigurationError


def write(folder: Path, **content: object) -> Path:
    file = folder / "config.yaml"
    file.write_text(json.dumps(content))
    return file


def refused(file: Path, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ=environ)
    (problem,) = caught.value.problems
    return f"{problem.line}:{problem.column}: {problem.message}"


def test_a_variable_is_put_in_and_the_revision_keeps_the_reference(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        database={"url": "postgresql://app:${env:PASSWORD}@db/app"},
        extensions={"web": {"hooks": [{"url": "${env:HOOK}"}]}},
    )
    settings = load(file, environ={"PASSWORD": "p%40ss", "HOOK": "https://hook"}).settings
    assert settings.database_url == "postgresql://app:p%40ss@db/app"
    assert settings.extensions == {"web": {"hooks": [{"url": "https://hook"}]}}
    assert "p%40ss" not in settings.revision_text
    assert "${env:PASSWORD}" in settings.revision_text


def test_the_revision_does_not_change_with_the_secret(tmp_path: Path) -> None:
    file = write(tmp_path, extensions={"web": {"token": "${env:TOKEN}"}})
    revisions = {load(file, environ={"TOKEN": token}).settings.revision for token in ("one", "two")}
    assert len(revisions) == 1


def test_a_credential_is_read_without_its_last_line_end(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "database-url").write_text("postgresql://app:x@db/app\n")
    file = write(tmp_path, database={"url": "${credential:database-url}"})
    settings = load(file, environ={"CREDENTIALS_DIRECTORY": str(credentials)}).settings
    assert settings.database_url == "postgresql://app:x@db/app"


def test_two_dollars_escape(tmp_path: Path) -> None:
    file = write(tmp_path, extensions={"web": {"a": "$${env:X}", "b": "cost: $5 {x} $x"}})
    settings = load(file, environ={}).settings
    assert settings.extensions == {"web": {"a": "${env:X}", "b": "cost: $5 {x} $x"}}


def test_a_secret_that_looks_like_a_reference_is_left_as_it_is(tmp_path: Path) -> None:
    file = write(tmp_path, extensions={"web": {"a": "${env:A}"}})
    settings = load(file, environ={"A": "${env:B}", "B": "no"}).settings
    assert settings.extensions == {"web": {"a": "${env:B}"}}


def section(value: str) -> dict[str, object]:
    return {"extensions": {"web": {"a": value}}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${env:TOKN}", 'the environment has no TOKN (did you mean "TOKEN"?)'),
        ("${env:EMPTY}", "the environment's EMPTY is empty"),
        ("${env:BYTES}", "the environment's BYTES is not UTF-8 text"),
        ("${credential:a}", "cannot read the credential a: no such file or directory"),
        ("${credential:..}", ".. is not the name of a credential"),
        ("${credential:bytes}", "the credential bytes is not UTF-8 text"),
        ("${credential:../x}", None),
        ("${file:x}", None),
        ("${TOKEN}", None),
        ("${env:", None),
    ],
)
def test_a_secret_that_cannot_be_had_is_an_error_at_its_place(
    tmp_path: Path, value: str, message: str | None
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    line = refused(
        write(tmp_path, **section(value)),
        TOKEN="t",
        EMPTY="",
        BYTES="\udcff",
        CREDENTIALS_DIRECTORY=str(tmp_path),
    )
    expected = message or "is no reference: write ${env:NAME} or ${credential:NAME}, or $${ for a plain ${"
    assert line.startswith("1:30: ")
    assert line.endswith(expected)


def test_without_systemd_a_credential_says_who_would_give_it(tmp_path: Path) -> None:
    assert refused(write(tmp_path, **section("${credential:hook}"))) == (
        "1:30: no credential hook: $CREDENTIALS_DIRECTORY is not set (systemd's LoadCredential= does)"
    )


def test_what_makes_the_plan_cannot_be_a_reference(tmp_path: Path) -> None:
    for content in (
        {"timezone": "${env:A}"},
        {"scheduler": {"defaults": {"timeout": "${env:A}"}}},
        {"workers": {"max": "${env:A}"}},
    ):
        assert "a reference cannot stand here" in refused(write(tmp_path, **content), A="UTC")


def test_parameters_may_hold_references_in_jobs_and_defaults(tmp_path: Path) -> None:
    job = {"name": "a", "extension": "e", "job": "j", "schedule": "@daily", "enabled": True}
    file = write(
        tmp_path,
        scheduler={
            "defaults": {"parameters": {"d": "${env:D}"}},
            "jobs": [job | {"parameters": {"p": "${env:P}"}}],
        },
    )
    settings = load(file, environ={"D": "1", "P": "2"}).settings
    assert settings.jobs[0].parameters == {"d": "1", "p": "2"}


def test_a_secret_never_shows_in_a_mistake(tmp_path: Path) -> None:
    line = refused(
        write(tmp_path, control={"group": "${env:GROUP}"}),
        GROUP="not a name, but a secret",
    )
    assert line.startswith('1:23: control.group: "${env:GROUP}" is not a name')


def test_what_was_loaded_does_not_print_its_tree(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, **section("x")), environ={})
    assert "tree" not in repr(loaded)
