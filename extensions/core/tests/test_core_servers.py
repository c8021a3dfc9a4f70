"""The jobs as the daemon runs them, on every PostgreSQL that is installed here and that we serve."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from scheduler_core import extension, indexes
from scheduler_core.seed import Plan, fill, main

from scheduler_daemon.database.binaries import Binaries, installed, read_binaries
from scheduler_daemon.database.temporary import TemporaryServer, scheduler_sets


def servers() -> list[Binaries]:
    """The embedded ones, and the system's."""
    found = {binaries.major: binaries for binaries in installed()}
    for program in Path("/usr/lib/postgresql").glob("*/bin/postgres"):
        binaries = read_binaries(program.parent)
        if binaries.major >= 15:
            found.setdefault(binaries.major, binaries)
    return list(found.values())


@pytest.fixture(scope="module", params=servers(), ids=lambda binaries: f"postgresql-{binaries.major}")
def server(request: pytest.FixtureRequest) -> Iterator[TemporaryServer]:
    made = TemporaryServer(request.param)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def url(server: TemporaryServer) -> Iterator[str]:
    assert extension.migrations is not None
    made = server.make_database(*scheduler_sets(extension.migrations, scheduler=False))
    yield made
    server.drop_database(made)


def test_every_job_on_generated_data(url: str, run_job: Any) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, Plan(users=1_000, logs=1_000, now=datetime.now(UTC)))

    names = sorted((job.name for job in extension.jobs), key=lambda name: name != "cleanup_inactive_sessions")
    ran = {name: run_job(extension, name, database_url=url) for name in names}
    again = {name: run_job(extension, name, database_url=url) for name in names}

    assert {name: outcome.error for name, outcome in ran.items()} == dict.fromkeys(ran)
    assert ran["cleanup_anonymous_users"].items_processed > 200
    assert ran["cleanup_empty_contexts"].items_processed > 100
    assert ran["cleanup_inactive_sessions"].items_processed > 300
    assert ran["database_cleanup"].items_processed > 600
    assert "vacuumed" in ran["database_cleanup"].message
    assert ran["log_cleanup"].items_processed == 0
    assert {name: outcome.items_processed for name, outcome in again.items()} == dict.fromkeys(ran, 0)
    assert [step.name for step in ran["cleanup_inactive_sessions"].steps] == ["expire", "remove"]


def test_the_same_seed_makes_the_same_data(server: TemporaryServer, url: str) -> None:
    other = server.make_database()
    now = datetime(2026, 11, 22, tzinfo=UTC)
    sums = []
    for database in (url, other):
        with psycopg.connect(database) as connection:
            fill(connection, Plan(users=50, logs=50, now=now, seed=7))
            sums.append(
                [
                    connection.execute(f"SELECT count(*), sum(hashtext(t::text)) FROM {table} t").fetchone()
                    for table in ("users", "user_sessions", "user_contexts", "agent_tasks", "task_messages")
                ]
            )
    assert sums[0] == sums[1]


def test_the_generator_from_the_command_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--users", "20", "--logs", "5", "--database", url]
    assert main(arguments) == 0
    assert "          20  users" in capsys.readouterr().out
    assert main(arguments) == 1
    assert "seed 1 is in this database already" in capsys.readouterr().err
    assert main([*arguments, "--seed", "2"]) == 0


def test_the_generator_asks_for_a_database(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main([]) == 1
    assert capsys.readouterr().err == (
        "scheduler_core.seed: which database? Give --database URL, or set DATABASE_URL\n"
    )
    assert main(["--database", "postgresql:///?host=/nowhere"]) == 1
    assert "/nowhere" in capsys.readouterr().err


def test_a_bloated_index_is_rebuilt_where_the_server_can_tell(
    url: str, run_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "BLOATED_BYTES", 100_000)
    with psycopg.connect(url, autocommit=True) as connection:
        able = connection.execute(
            "SELECT true FROM pg_available_extensions WHERE name = 'pgstattuple'"
        ).fetchone()
        if able is None:
            pytest.skip("this server has no pgstattuple")
        connection.execute("CREATE SCHEMA tools; CREATE EXTENSION pgstattuple SCHEMA tools")
        connection.execute(
            "CREATE TABLE t AS SELECT n FROM generate_series(1, 20000) n; CREATE INDEX t_n ON t (n)"
        )
        connection.execute("CREATE TABLE dense AS SELECT n FROM generate_series(1, 20000) n")
        connection.execute("CREATE INDEX dense_n ON dense (n)")
        connection.execute("DELETE FROM t WHERE n % 10 > 0")
        connection.execute("VACUUM t")

        ran = run_job(extension, "database_cleanup", database_url=url)

        assert "; rebuilt index: t_n (" in ran.message
        assert "KB won" in ran.message
        assert "dense_n" not in ran.message
        assert connection.execute("SELECT pg_relation_size('t_n') < 100000").fetchone() == (True,)
