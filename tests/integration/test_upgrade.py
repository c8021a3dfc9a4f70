"""upgrade-database: from an older PostgreSQL of the wheel, or Debian's, to the newest."""

from pathlib import Path

import psycopg
import pytest

from scheduler_daemon.database import binaries
from scheduler_daemon.database import upgrade as upgrading
from scheduler_daemon.database.embedded import EmbeddedServer
from scheduler_daemon.database.migrations import SCHEDULER, apply
from scheduler_daemon.database.upgrade import upgrade
from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError


def silent(line: str) -> None:
    del line


def rows(url: str, query: bytes) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()


async def make_old(state_dir: Path, major: int) -> None:
    try:
        programs = binaries.of_major(major)
    except DatabaseUnusableError as exc:
        pytest.skip(str(exc))
    server = EmbeddedServer(state_dir, log=silent, programs=programs)
    await server.start()
    await apply(server.url, [SCHEDULER])
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS id")
        # As a server of the wheel would have made it; Debian's may be newer than any of those.
        connection.execute("UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text ~ 'pg_attver'")
        connection.execute(
            "INSERT INTO scheduler.installation (system_identifier, database_oid) "
            "SELECT system_identifier, 1 FROM pg_control_system()"
        )
    await server.stop()


@pytest.mark.parametrize("major", [16, 15])
async def test_everything_is_there_afterwards_and_the_old_cluster_stays(state_dir: Path, major: int) -> None:
    await make_old(state_dir, major)
    server = EmbeddedServer(state_dir, log=silent)
    with pytest.raises(DatabaseUnusableError, match="run scheduler-daemon upgrade-database"):
        await server.start()
    lines: list[str] = []
    old = await upgrade(state_dir, log=lines.append)
    assert old == state_dir / "postgres" / f"data.{major}"
    assert (old / "PG_VERSION").read_text() == f"{major}\n"
    assert len(lines) == 1
    await server.start()
    try:
        assert server.version == binaries.newest().version
        assert rows(server.url, b"SELECT id FROM kept") == [(7,)]
        assert rows(server.jobs_url, b"SELECT id FROM kept") == [(7,)]
        same = (
            b"SELECT system_identifier = (pg_control_system()).system_identifier FROM scheduler.installation"
        )
        assert rows(server.url, same) == [(True,)]
    finally:
        await server.stop()
    assert await upgrade(state_dir, log=lines.append) is None
    assert sorted(path.name for path in (state_dir / "postgres").iterdir() if path.is_dir()) == [
        "data",
        old.name,
    ]


async def test_stopped_half_way_it_is_run_again_and_a_swap_half_done_is_finished_by_a_start(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_old(state_dir, 16)

    def crash(*arguments: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(upgrading, "_convert", crash)
        with pytest.raises(InterruptedError):
            await upgrade(state_dir, log=silent)
    await upgrade(state_dir, log=silent)
    folder = state_dir / "postgres"
    (folder / "upgraded" / "postgres").mkdir(parents=True)
    (folder / "data").rename(folder / "upgraded" / "postgres" / "data")
    server = EmbeddedServer(state_dir, log=silent)
    await server.start()
    try:
        assert rows(server.url, b"SELECT id FROM kept") == [(7,)]
    finally:
        await server.stop()
    assert not (folder / "upgraded").exists()


async def test_what_stands_in_the_way_is_said(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = state_dir / "postgres" / "data"
    data.mkdir(parents=True)
    with pytest.raises(DatabaseUnusableError, match="no PG_VERSION in it"):
        await upgrade(state_dir, log=silent)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseUnusableError, match="PostgreSQL 9 itself is needed for that and is not here"):
        await upgrade(state_dir, log=silent)
    (data / "PG_VERSION").write_text("16\n")
    monkeypatch.setattr(upgrading, "ROOM", 1e15)
    with pytest.raises(DatabaseUnavailableError, match="the upgrade makes a copy and needs"):
        await upgrade(state_dir, log=silent)
    (state_dir / "postgres" / "data.16").mkdir()
    with pytest.raises(DatabaseUnusableError, match="the place for the old cluster, is taken"):
        await upgrade(state_dir, log=silent)
    (data / "PG_VERSION").write_text("99\n")
    with pytest.raises(DatabaseUnusableError, match="newer than this one"):
        await upgrade(state_dir, log=silent)
