"""Migrations, on every PostgreSQL that we promise."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from scheduler_daemon.database.migrations import SCHEDULER, MigrationSet, apply, pending
from scheduler_daemon.database.roles import ensure_job_role
from scheduler_daemon.database.temporary import TemporaryServer
from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError, MigrationError


@pytest.fixture
def url(any_server: TemporaryServer) -> Iterator[str]:
    url = any_server.make_database()
    yield url
    any_server.drop_database(url)


@pytest.fixture
def shop(tmp_path: Path) -> MigrationSet:
    folder = tmp_path / "migrations"
    folder.mkdir()
    write(
        folder, "0001_orders.sql", "CREATE TABLE orders (id int PRIMARY KEY);\nINSERT INTO orders VALUES (1);"
    )
    write(folder, "0002_paid.sql", "ALTER TABLE orders ADD paid bool;")
    return MigrationSet(owner="shop", folder=folder)


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def rows(url: str, query: bytes) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


async def test_each_is_applied_once_and_recorded(url: str, shop: MigrationSet) -> None:
    assert [(m.owner, m.version) for m in await pending(url, [shop])] == [("shop", 1), ("shop", 2)]
    applied = await apply(url, [shop])
    assert [(a.owner, a.version, a.name) for a in applied] == [("shop", 1, "orders"), ("shop", 2, "paid")]
    assert await apply(url, [shop]) == []
    assert await pending(url, [shop]) == []
    assert rows(url, b"SELECT id, paid FROM public.orders") == [(1, None)]
    recorded = rows(
        url, b"SELECT owner, version, name, length(checksum) FROM scheduler.migrations ORDER BY 2"
    )
    assert recorded == [("shop", 1, "orders", 64), ("shop", 2, "paid", 64)]


async def test_the_daemon_s_own_schema_comes_up(url: str) -> None:
    assert await apply(url, [SCHEDULER])
    assert await apply(url, [SCHEDULER]) == []


async def test_daemons_that_start_together_take_turns(url: str, shop: MigrationSet) -> None:
    said: list[str] = []
    results = await asyncio.gather(*(apply(url, [SCHEDULER, shop], log=said.append) for _ in range(6)))
    assert sorted(map(len, results))[:-1] == [0] * 5
    assert rows(url, b"SELECT count(*) FROM orders") == [(1,)]


async def test_a_failing_statement_is_named_by_its_place_and_its_file_leaves_nothing(
    url: str, shop: MigrationSet
) -> None:
    bad = "CREATE TABLE more (id int);\n\n-- twice\nINSERT INTO orders\nVALUES (1);"
    file = write(shop.folder, "0003_more.sql", bad)
    with pytest.raises(MigrationError, match=f"^{file}:4: duplicate key value .*; Key \\(id\\)=\\(1\\)"):
        await apply(url, [shop])
    assert rows(url, b"SELECT to_regclass('more')") == [(None,)]
    assert [m.version for m in await pending(url, [shop])] == [3]
    write(shop.folder, "0003_more.sql", "CREATE TABLE more (id int)")
    assert [a.version for a in await apply(url, [shop])] == [3]


async def test_a_mistake_is_named_by_line_and_column(url: str, shop: MigrationSet) -> None:
    file = write(shop.folder, "0003_bad.sql", "SELECT 1;\n  SELECT 'ä',\n    frm orders;")
    with pytest.raises(MigrationError, match=f'^{file}:3:5: column "frm" does not exist'):
        await apply(url, [shop])


@pytest.mark.parametrize("verb", ["BEGIN", "commit", "Rollback"])
async def test_a_file_may_not_end_its_transaction(url: str, shop: MigrationSet, verb: str) -> None:
    file = write(shop.folder, "0003_bad.sql", f"SELECT 1;\n{verb};")
    with pytest.raises(MigrationError, match=f"^{file}:2: {verb.upper()}: a migration is one transaction"):
        await apply(url, [shop])


async def test_an_edited_file_is_refused_and_line_ends_are_no_edit(url: str, shop: MigrationSet) -> None:
    await apply(url, [shop])
    file = shop.folder / "0001_orders.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert await apply(url, [shop]) == []
    file.write_text(file.read_text() + "-- more")
    for check in (apply, pending):
        with pytest.raises(MigrationError, match=f"^{file}: edited after it was applied"):
            await check(url, [shop])


async def test_a_file_that_is_gone_is_named(url: str, shop: MigrationSet) -> None:
    await apply(url, [shop])
    file = shop.folder / "0001_orders.sql"
    file.unlink()
    with pytest.raises(MigrationError, match=f"^{file}: applied to this database, but the file is gone"):
        await apply(url, [shop])


async def test_a_database_newer_than_the_code_is_fine(url: str, shop: MigrationSet) -> None:
    await apply(url, [shop])
    (shop.folder / "0002_paid.sql").unlink()
    assert await apply(url, [shop]) == []


async def test_a_file_that_was_merged_late_is_applied(url: str, shop: MigrationSet) -> None:
    late = shop.folder / "0001_orders.sql"
    text = late.read_text()
    late.rename(shop.folder / "0000_orders.sql")
    (shop.folder / "0002_paid.sql").unlink()
    write(shop.folder, "0003_last.sql", "SELECT 1")
    await apply(url, [shop])
    write(shop.folder, "0002_between.sql", text.replace("orders", "between_orders"))
    assert [a.version for a in await apply(url, [shop])] == [2]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1_short.sql", "a migration is named as in 0001_what_it_does.sql"),
        ("0002_again.sql", "has the same number"),
    ],
)
async def test_a_misnamed_file_is_refused(url: str, shop: MigrationSet, name: str, words: str) -> None:
    file = write(shop.folder, name, "SELECT 1")
    with pytest.raises(MigrationError, match=words) as caught:
        await apply(url, [shop])
    assert str(file.parent) in str(caught.value)


async def test_a_file_that_is_no_utf8_and_a_folder_that_is_not_there(url: str, shop: MigrationSet) -> None:
    file = shop.folder / "0003_latin.sql"
    file.write_bytes(b"SELECT '\xe4'")
    with pytest.raises(MigrationError, match=f"^{file}: "):
        await apply(url, [shop])
    with pytest.raises(MigrationError, match="no such folder"):
        await apply(url, [MigrationSet(owner="gone", folder=shop.folder / "gone")])


async def test_it_may_run_as_the_jobs_role_which_then_owns_the_tables(url: str, shop: MigrationSet) -> None:
    await ensure_job_role(url)
    await apply(url, [MigrationSet(owner="shop", folder=shop.folder, role="scheduler_jobs")])
    owner = rows(url, b"SELECT tableowner FROM pg_tables WHERE tablename = 'orders'")
    assert owner == [("scheduler_jobs",)]


async def test_a_user_who_may_not_create_the_schema_is_told(url: str, shop: MigrationSet) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS nobody_much")
        connection.execute("CREATE ROLE nobody_much LOGIN")
    weak = url.replace("postgres@", "nobody_much@")
    with pytest.raises(
        MigrationError, match="schema scheduler cannot be made: permission denied for database"
    ):
        await apply(weak, [shop])


async def test_a_user_who_may_not_read_the_schema_is_told(url: str, shop: MigrationSet) -> None:
    await apply(url, [shop])
    await ensure_job_role(url)
    with pytest.raises(DatabaseUnusableError, match="permission denied for schema scheduler"):
        await apply(url.replace("postgres@", "scheduler_jobs@"), [shop])


async def test_a_connection_lost_meanwhile_is_an_outage(url: str, shop: MigrationSet) -> None:
    write(shop.folder, "0003_dies.sql", "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises((MigrationError, DatabaseUnavailableError), match="terminating connection"):
        await apply(url, [shop])
    assert [m.version for m in await pending(url, [shop])] == [3]
