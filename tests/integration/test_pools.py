"""Connections: how they are named, checked, retried, and what their errors say."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from scheduler_daemon.database import pools
from scheduler_daemon.database.confinement import confinement
from scheduler_daemon.database.temporary import TemporaryServer
from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError, SchedulerError

NOWHERE = "postgresql://someone:s3cret@127.0.0.1:1/app"


async def value(connection: pools.Connection, query: bytes) -> object:
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return row[0]


async def test_a_pool_s_connections_are_named_in_utc_and_limited(scheduler_database: str) -> None:
    pool = await pools.open_pool(
        scheduler_database, application_name="test claims", settings=pools.CLAIM_LIMITS
    )
    async with pool, pool.connection() as connection:
        assert await value(connection, b"SHOW application_name") == "test claims"
        assert await value(connection, b"SHOW timezone") == "UTC"
        assert await value(connection, b"SHOW lock_timeout") == "5s"
        assert await value(connection, b"SHOW idle_in_transaction_session_timeout") == "5s"


async def test_every_promised_server_is_accepted(any_server: TemporaryServer) -> None:
    async with await pools.connect(any_server.url, application_name="test") as connection:
        server = await pools.check_server(connection)
    assert server.version == any_server.cluster.binaries.version
    assert (server.database, server.pooler) == ("postgres", False)


async def test_an_older_server_is_refused(scheduler_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "OLDEST", 99)
    async with await pools.connect(scheduler_database, application_name="test") as connection:
        with pytest.raises(DatabaseUnusableError, match=r"is PostgreSQL 18.*; the daemon needs 99 or newer"):
            await pools.check_server(connection)


async def test_a_database_in_another_encoding_is_refused(scheduler_postgres: str) -> None:
    async with await pools.connect(scheduler_postgres, application_name="test") as connection:
        await connection.execute(
            b"CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C' LOCALE_PROVIDER libc"
        )
    async with await pools.connect(
        scheduler_postgres.replace("/postgres?", "/latin?"), application_name="test"
    ) as connection:
        with pytest.raises(DatabaseUnusableError, match="encoded in LATIN1"):
            await pools.check_server(connection)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("/postgres?", "/absent?"), 'database "absent" at .*: .*database "absent" does not exist'),
        (("postgres@", "absent@"), 'role "absent" does not exist'),
    ],
)
async def test_a_refused_login_is_not_tried_again(
    scheduler_postgres: str, change: tuple[str, str], words: str
) -> None:
    lines: list[str] = []
    with pytest.raises(DatabaseUnusableError, match=words):
        await pools.connect_with_retry(scheduler_postgres.replace(*change), lines.append, timedelta(hours=1))
    assert lines == []


async def test_no_answer_is_retried_told_once_and_never_tells_the_password() -> None:
    lines: list[str] = []
    with pytest.raises(DatabaseUnavailableError) as caught:
        await pools.connect_with_retry(NOWHERE, lines.append, timedelta(seconds=0.5))
    assert str(caught.value).startswith('database "app" at 127.0.0.1:1: ')
    assert "refused" in str(caught.value)
    (line,) = lines
    assert re.search(r"; trying again for \d s$", line)
    assert "s3cret" not in line + str(caught.value)
    assert "\n" not in line + str(caught.value)


async def test_a_server_that_comes_up_meanwhile_is_found() -> None:
    server = TemporaryServer()
    told = asyncio.Event()
    waiting = asyncio.create_task(
        pools.connect_with_retry(server.url, lambda line: told.set(), timedelta(minutes=1))
    )
    try:
        await told.wait()
        await asyncio.to_thread(server.start)
        async with await waiting as connection:
            assert await value(connection, b"SELECT 1") == 1
    finally:
        server.stop()


@pytest.mark.parametrize(
    "url", ["postgresql://u:p/s3cret@db/app", "postgresql://u:s3cret@db:5x/app", "no url", "host=a s3cret"]
)
async def test_an_unreadable_url_is_not_repeated(url: str) -> None:
    with pytest.raises(SchedulerError) as caught:
        await pools.connect(url, application_name="test")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3cret" not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://u:pw@db.example/app", 'database "app" at db.example'),
        ("postgresql://u:pw@db.example:5433/app", 'database "app" at db.example:5433'),
        ("postgresql://u@/app?host=%2Frun%2Fpg&port=5432", 'database "app" at /run/pg'),
        ("postgresql://u@", 'database "u" at the local socket'),
    ],
)
def test_a_url_is_described_without_its_password(url: str, text: str) -> None:
    assert pools.describe(url) == text


async def test_foreign_errors_become_ours(scheduler_database: str) -> None:
    async with await pools.connect(scheduler_database, application_name="test") as connection:
        with pytest.raises(SchedulerError, match=r"^here: division by zero$"), pools.border("here"):
            await connection.execute(b"SELECT 1/0")
        with (
            pytest.raises(DatabaseUnavailableError, match=r"^here: terminating connection"),
            pools.border("here"),
        ):
            await connection.execute(b"SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.fixture
def pooled(scheduler_database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same database behind PgBouncer, in the pool mode that the test asks for."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    info = psycopg.conninfo.conninfo_to_dict(scheduler_database)
    (tmp_path / "users").write_text('"postgres" ""\n')
    (tmp_path / "pgbouncer.ini").write_text(
        f"[databases]\napp = host={info['host']} port={info['port']} dbname={info['dbname']} user=postgres\n"
        f"[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {tmp_path}\nauth_type = trust\n"
        f"auth_file = {tmp_path / 'users'}\npool_mode = {request.param}\ndefault_pool_size = 4\n"
    )
    command = confinement().command(program, str(tmp_path / "pgbouncer.ini"), dies_with_parent=True)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as bouncer:
        assert bouncer.stderr is not None
        try:
            while "process up" not in (line := bouncer.stderr.readline()):
                assert line, "pgbouncer did not start"
            yield f"postgresql://postgres@/app?host={tmp_path}&port=6432"
        finally:
            bouncer.kill()


@pytest.mark.parametrize("pooled", ["transaction", "statement"], indirect=True)
async def test_a_transaction_pooler_is_noticed(pooled: str) -> None:
    with pytest.raises(DatabaseUnusableError, match="behind a pooler in transaction mode"):
        await pools.connect_with_retry(pooled, print, timedelta(seconds=10))


@pytest.mark.parametrize("pooled", ["session"], indirect=True)
async def test_a_session_pooler_is_fine(pooled: str) -> None:
    async with await pools.connect_with_retry(pooled, print, timedelta(seconds=10)) as connection:
        assert (await pools.check_server(connection)).pooler
    pool = await pools.open_pool(pooled, application_name="test", settings=pools.CLAIM_LIMITS)
    async with pool, pool.connection() as lent:
        assert await value(lent, b"SHOW lock_timeout") == "5s"
