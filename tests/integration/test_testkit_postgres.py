"""The PostgreSQL fixtures of the test kit."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from scheduler_daemon.testing import MakeDatabase


def test_a_fresh_database_has_the_schema_scheduler(scheduler_database: str) -> None:
    with psycopg.connect(scheduler_database) as connection:
        row = connection.execute("SELECT to_regclass('scheduler.migrations') IS NOT NULL").fetchone()
    assert row == (True,)


def test_each_database_is_its_own_even_from_inside_an_event_loop(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    folder = tmp_path / "scheduler_shop" / "migrations"
    folder.mkdir(parents=True)
    (folder / "0001_orders.sql").write_text("CREATE TABLE orders (id int);")
    first, second = make_database(folder), make_database(folder, scheduler=False)
    assert first != second
    with psycopg.connect(first) as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        assert connection.execute("SELECT owner FROM scheduler.migrations").fetchall() == [("shop",)]


SLEEPER = """
def test_it(scheduler_database):
    print(scheduler_database, flush=True)
    input()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_run_that_is_ended_leaves_neither_server_nor_folder(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "test_sleeper.py").write_text(SLEEPER)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-p",
        "scheduler_daemon.testing",
        "test_sleeper.py",
    ]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=alone, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        url = next(line for line in run.stdout if line.startswith("postgresql://"))
        folder = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"])).parent
        pidfd = os.pidfd_open(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
        run.send_signal(number)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(30_000), "the server is still there"
    finally:
        os.close(pidfd)
    limit = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < limit, "the folder is still there"
        time.sleep(0.01)
