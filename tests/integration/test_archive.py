"""Backup and restore, on every PostgreSQL that we promise, and from one to the other."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from scheduler_daemon.database import archive, binaries
from scheduler_daemon.database.archive import backup, inspect, replace, restore
from scheduler_daemon.database.roles import ensure_job_role
from scheduler_daemon.database.temporary import TemporaryServer, scheduler_sets
from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError
from scheduler_daemon.testing import MakeDatabase

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    url = make_database()
    fill(url)
    return url


@pytest.fixture
def empty(make_database: MakeDatabase) -> str:
    return make_database(scheduler=False)


def fill(url: str) -> None:
    """Something of an application's, beside the daemon's schema."""
    tell(
        url,
        "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL,"
        " paid jsonb)",
        "INSERT INTO orders (note, paid) SELECT 'Größe ' || g, '{\"a\": [1]}' FROM generate_series(1, 500) g",
        "CREATE VIEW unpaid AS SELECT * FROM orders WHERE paid IS NULL",
        "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 2 * $1; END",
    )


def tell(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def contents(url: str) -> list[object]:
    return [
        rows(url, "SELECT * FROM orders ORDER BY id"),
        rows(url, "SELECT owner, version, checksum, applied_at FROM scheduler.migrations ORDER BY 1, 2"),
        rows(url, "SELECT twice(21)"),
        rows(
            url, "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|info)' ORDER BY 1, 2"
        ),
    ]


async def test_there_and_back(any_server: TemporaryServer, tmp_path: Path) -> None:
    url, empty = any_server.make_database(*scheduler_sets()), any_server.make_database()
    fill(url)
    file = tmp_path / "backup"
    made = await backup(url, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert made.size == file.stat().st_size
    assert made.tables == len(
        rows(url, "SELECT 1 FROM pg_tables WHERE schemaname IN ('public', 'scheduler')")
    )
    assert list(tmp_path.iterdir()) == [file]
    before = contents(url)
    assert await restore(empty, file) == made
    assert contents(empty) == before
    tell(empty, "INSERT INTO orders (note) VALUES ('the sequence goes on')")
    assert rows(empty, "SELECT max(id) FROM orders") == [(501,)]


async def test_a_file_that_exists_is_kept_unless_told(url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    file.write_text("precious")
    with pytest.raises(DatabaseUnusableError, match=f"^{file} exists already"):
        await backup(url, file)
    assert file.read_text() == "precious"
    await backup(url, file, overwrite=True)
    assert (await inspect(file)).tables > 1


async def test_a_folder_that_is_not_there_is_said(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match="cannot be written: No such file or directory"):
        await backup(url, tmp_path / "absent" / "backup")


async def test_only_an_empty_database_is_filled(url: str, tmp_path: Path) -> None:
    await backup(url, tmp_path / "backup")
    before = contents(url)
    with pytest.raises(DatabaseUnusableError, match="is not empty"):
        await restore(url, tmp_path / "backup")
    assert contents(url) == before


@pytest.mark.parametrize("content", [b"", b"not at all", b"PGDMP\x01\x10\x00"])
async def test_what_is_no_backup_is_refused(empty: str, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "backup"
    file.write_bytes(content)
    with pytest.raises(DatabaseUnusableError, match=f"^{file} is no backup, or a damaged one: "):
        await restore(empty, file)
    with pytest.raises(DatabaseUnusableError, match="cannot be read: No such file"):
        await restore(empty, tmp_path / "absent")


async def test_another_application_s_dump_is_refused(empty: str, tmp_path: Path) -> None:
    tell(empty, "CREATE TABLE theirs (id int)")
    with pytest.raises(
        DatabaseUnusableError, match="is no backup of this daemon: it has no schema `scheduler`"
    ):
        await backup(empty, tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []


async def test_damage_is_noticed_and_leaves_nothing_behind(url: str, empty: str, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    await backup(url, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DatabaseUnusableError):
        await restore(empty, file)
    at = (
        whole.index(b"x\x9c", len(whole) // 2) + 40
        if b"x\x9c" in whole[len(whole) // 2 :]
        else len(whole) // 2
    )
    file.write_bytes(whole[:at] + bytes(byte ^ 0xFF for byte in whole[at : at + 8]) + whole[at + 8 :])
    with pytest.raises(DatabaseUnusableError):
        await restore(empty, file)
    assert rows(empty, "SELECT count(*) FROM pg_tables WHERE schemaname !~ '^(pg_|info)'") == [(0,)]


async def test_a_replaced_database_stays_under_another_name(url: str, tmp_path: Path) -> None:
    await backup(url, tmp_path / "backup")
    before = contents(url)
    tell(url, "DELETE FROM orders")
    old = await replace(url, tmp_path / "backup", now=NOW)
    assert old.endswith("_before_20261122_103000")
    assert contents(url) == before
    assert rows(make_conninfo(url, dbname=old), "SELECT count(*) FROM orders") == [(0,)]


async def test_a_replacement_that_fails_changes_nothing(url: str, tmp_path: Path) -> None:
    await backup(url, tmp_path / "backup")
    before = contents(url)
    names = "SELECT datname FROM pg_database ORDER BY 1"
    databases = rows(url, names)
    with (
        psycopg.connect(url),
        pytest.raises(DatabaseUnavailableError, match="is being accessed by other users"),
    ):
        await replace(url, tmp_path / "backup", now=NOW)
    assert contents(url) == before
    assert rows(url, names) == databases


async def test_the_jobs_role_keeps_what_is_its_own(url: str, empty: str, tmp_path: Path) -> None:
    await ensure_job_role(url)
    tell(url.replace("postgres@", "scheduler_jobs@"), "CREATE TABLE of_a_job (id int)")
    await backup(url, tmp_path / "backup")
    await restore(empty, tmp_path / "backup")
    jobs = empty.replace("postgres@", "scheduler_jobs@")
    tell(jobs, "DROP TABLE of_a_job", "UPDATE orders SET note = 'paid'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(jobs, "SELECT * FROM scheduler.migrations")


async def test_a_plain_user_gets_it_all_as_its_own(url: str, empty: str, tmp_path: Path) -> None:
    await backup(url, tmp_path / "backup")
    database = rows(empty, "SELECT current_database()")[0][0]
    tell(
        empty,
        "DROP ROLE IF EXISTS plain",
        "CREATE ROLE plain LOGIN",
        f"ALTER DATABASE {database} OWNER TO plain",
    )
    plain = empty.replace("postgres@", "plain@")
    await restore(plain, tmp_path / "backup")
    assert contents(plain) == contents(url)
    assert rows(
        plain, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'scheduler')"
    ) == [("plain",)]


async def test_it_moves_from_one_server_to_another(
    any_server: TemporaryServer, other_server: TemporaryServer, tmp_path: Path
) -> None:
    """Also from the embedded server to an older one of one's own."""
    url, there = any_server.make_database(*scheduler_sets()), other_server.make_database()
    fill(url)
    await backup(url, tmp_path / "backup")
    await restore(there, tmp_path / "backup")
    assert contents(there) == contents(url)


async def test_what_a_server_notes_for_itself_is_no_option_of_a_column(
    any_server: TemporaryServer,
    other_server: TemporaryServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the wheel's pg_dump, which may be older than the server; what a column really has stays."""
    monkeypatch.setattr(binaries, "system", lambda program: [])
    url, there = any_server.make_database(*scheduler_sets()), other_server.make_database()
    options = "SELECT attoptions FROM pg_attribute WHERE attrelid = 'note'::regclass AND attname = 'said'"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE note (said text, by text)")
        connection.execute("ALTER TABLE note ALTER said SET (n_distinct = 5)")
    await backup(url, tmp_path / "backup")
    await restore(there, tmp_path / "backup")
    ((found,),) = rows(there, options)
    assert isinstance(found, list)
    assert [option for option in found if "pg_attver" not in option] == ["n_distinct=5"]


def test_only_that_note_is_left_out() -> None:
    kept = b"ALTER TABLE ONLY public.t ALTER COLUMN c SET (n_distinct=5);\n"
    marked = (
        b"ALTER TABLE ONLY public.t ALTER COLUMN a SET (pg_attver=1);\n"
        b"ALTER TABLE ONLY public.t ALTER COLUMN c SET (n_distinct=5, pg_attver=22);\n"
        b"ALTER TABLE ONLY public.t ALTER COLUMN c SET (pg_attver=22, n_distinct=5);\n"
        b"ALTER FOREIGN TABLE ONLY public.f ALTER COLUMN a SET (pg_attver=1);\n"
    )
    assert archive._unmarked(marked + kept) == 3 * kept


@pytest.fixture(scope="session")
def other_server(any_server: TemporaryServer) -> Iterator[TemporaryServer]:
    """The other one of the promised servers."""
    debian = [found for found in binaries.system("postgres") if found.major == 15]
    wheel = any_server.cluster.binaries == binaries.newest()
    if wheel and not debian:
        pytest.skip("Debian's postgresql-15 is not installed")
    server = TemporaryServer(debian[0] if wheel else None)
    try:
        server.start()
        yield server
    finally:
        server.stop()


async def test_without_pg_dump_one_line_says_what_to_install(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "installed", list)
    monkeypatch.setattr(binaries, "system", lambda program: [])
    with pytest.raises(
        DatabaseUnusableError, match=r"pg_dump of PostgreSQL 1[58] or newer .* install postgresql"
    ):
        await backup(url, tmp_path / "backup")
