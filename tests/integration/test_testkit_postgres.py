"""The PostgreSQL fixtures of the test kit."""

from pathlib import Path

import psycopg

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
