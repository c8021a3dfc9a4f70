"""The way to the database: away is noticed by whatever happens to it, found again, and told once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scheduler_daemon.database import gateway as gateway_module
from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.database.temporary import TemporaryServer
from scheduler_daemon.errors import DatabaseUnavailableError

PATIENCE_S = 40.0


class Listened(Gateway):
    """A gateway that remembers what it told."""

    def __init__(self, url: str, **rest: Any) -> None:
        self.lines: list[str] = []
        super().__init__(url, log=self.lines.append, **rest)
        self.told: list[str] = []
        self.back = asyncio.Event()
        self.on_away = self._away
        self.on_back = self._back

    def _away(self, since: datetime) -> None:
        self.told.append("away")
        self.back.clear()

    async def _back(self, since: datetime) -> None:
        assert await self.ask() == 1
        self.told.append("back")
        self.back.set()

    async def ask(self, statement: str = "SELECT 1") -> Any:
        async with self.connection() as connection:
            row = await (await connection.execute(statement.encode())).fetchone()
            return row and row[0]

    async def until_back(self) -> None:
        await asyncio.wait_for(self.back.wait(), PATIENCE_S)


@asynccontextmanager
async def opened(url: str, **rest: Any) -> AsyncIterator[Listened]:
    gateway = Listened(url, **rest)
    await gateway.open()
    try:
        yield gateway
    finally:
        await gateway.close()


@pytest.fixture
async def gateway(scheduler_database: str) -> AsyncIterator[Listened]:
    async with opened(scheduler_database) as made:
        yield made


async def refused(gateway: Listened) -> None:
    """Ask until it is noticed that nobody answers."""
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(DatabaseUnavailableError):
            while True:
                await gateway.ask()


def cut(url: str) -> int:
    """End every connection to this database but the one that does it."""
    statement = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return int(row[0])


async def test_what_is_done_is_committed_at_the_end_and_rolled_back_on_an_exception(
    gateway: Listened,
) -> None:
    async with gateway.connection() as connection:
        await connection.execute("CREATE TABLE public.kept (n int)")

    async def fail() -> None:
        async with gateway.connection() as connection:
            await connection.execute("CREATE TABLE public.dropped (n int)")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fail()
    assert await gateway.ask("SELECT to_regclass('kept') IS NOT NULL")
    assert not await gateway.ask("SELECT to_regclass('dropped') IS NOT NULL")
    assert gateway.told == []


async def test_cut_connections_are_one_outage_however_many_notice(
    gateway: Listened, scheduler_database: str
) -> None:
    all_hold = asyncio.Barrier(5)

    async def hold() -> None:
        async with gateway.connection() as connection:
            await connection.execute("SELECT 1")
            await all_hold.wait()
            await connection.execute("SELECT pg_sleep(60)")

    holders = [asyncio.create_task(hold()) for _ in range(4)]
    async with asyncio.timeout(PATIENCE_S):
        await all_hold.wait()
    await asyncio.to_thread(
        cut, scheduler_database
    )  # once: a second cut could meet the connections made anew
    ended = await asyncio.gather(*holders, return_exceptions=True)
    assert {type(error) for error in ended} == {DatabaseUnavailableError}
    await gateway.until_back()
    assert await gateway.ask() == 1
    assert gateway.told == ["away", "back"]
    assert [line.split(" after")[0].split(":")[0] for line in gateway.lines] == [
        "database away",
        "database back",
    ]


async def test_the_late_end_of_an_old_connection_is_no_new_outage(
    gateway: Listened, scheduler_database: str
) -> None:
    """One task finds out later than the others that its connection was cut, long after all is well again."""
    async with gateway.connection() as late:
        await late.execute("SELECT 1")
        await asyncio.to_thread(cut, scheduler_database)
        await refused(gateway)
        await gateway.until_back()
        with pytest.raises(psycopg.OperationalError):
            await late.execute("SELECT 1")
    assert gateway.told == ["away", "back"]
    assert await gateway.ask() == 1


async def test_while_it_is_away_everybody_is_refused_at_once() -> None:
    server = TemporaryServer()
    await asyncio.to_thread(server.start)
    try:
        async with opened(server.url) as gateway:
            assert await gateway.ask() == 1
            postmaster = int((server.cluster.data / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGQUIT)
            await refused(gateway)
            for _ in range(100):
                with pytest.raises(DatabaseUnavailableError, match="database away since"):
                    await gateway.ask()
            assert gateway.told == ["away"]
    finally:
        await asyncio.to_thread(server.stop)


def _stop_backends(name: str) -> Callable[[], None]:
    """SIGSTOP every backend of connections of that name; returns what continues them."""
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and name in (entry / "cmdline").read_text():
                pids.append(int(entry.name))
        except OSError:
            continue
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    assert pids
    return lambda: [os.kill(pid, signal.SIGCONT) for pid in pids] and None


async def test_a_server_that_does_not_answer_any_more_is_away_too(monkeypatch: pytest.MonkeyPatch) -> None:
    server = TemporaryServer()
    await asyncio.to_thread(server.start)
    monkeypatch.setattr(gateway_module, "NO_ANSWER_S", 1.0)
    try:
        async with opened(server.url) as gateway:
            assert await gateway.ask() == 1
            resume = _stop_backends("postgres postgres [local]")
            asked = datetime.now(UTC)
            try:
                with pytest.raises(DatabaseUnavailableError, match="no answer for 1 s"):
                    await gateway.ask("SELECT 2")
                assert gateway.told[0] == "away"
                assert gateway.away_since is not None
                assert gateway.away_since - asked < timedelta(seconds=1)  # since it was asked
            finally:
                resume()
            await gateway.until_back()
    finally:
        await asyncio.to_thread(server.stop)


async def test_many_who_look_leave_room_for_those_who_act(
    gateway: Listened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "POOL_TIMEOUT_S", 1.0)

    async def look() -> None:
        async with gateway.reading() as connection:
            await connection.execute("SELECT pg_sleep(0.4)")

    lookers = [asyncio.create_task(look()) for _ in range(20)]
    await asyncio.sleep(0)
    for _ in range(20):
        assert await gateway.ask() == 1
    assert not any(looker.done() for looker in lookers[10:])
    await asyncio.gather(*lookers)
    assert gateway.told == []


async def test_a_pool_that_is_used_up_is_no_outage(
    scheduler_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "POOL_TIMEOUT_S", 0.1)
    async with opened(scheduler_database, max_size=1) as gateway:
        async with gateway.connection():
            with pytest.raises(DatabaseUnavailableError, match="every connection to the database is in use"):
                await gateway.ask()
        assert await gateway.ask() == 1
        assert gateway.told == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SET LOCAL lock_timeout = '1ms'; LOCK TABLE scheduler.nodes", "lock timeout"),
        ("SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(10)", "statement timeout"),
    ],
)
async def test_busy_is_not_away(
    gateway: Listened, scheduler_database: str, statement: str, said: str
) -> None:
    with psycopg.connect(scheduler_database) as holder:
        holder.execute("LOCK TABLE scheduler.nodes")
        with pytest.raises(DatabaseUnavailableError, match=f"the database is busy: .*{said}"):
            await gateway.ask(statement)
    assert await gateway.ask() == 1
    assert gateway.told == []


async def test_a_mistake_of_ours_is_neither(gateway: Listened) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        await gateway.ask("SELECT * FROM nowhere")
    assert gateway.told == []


async def test_a_return_that_could_not_be_handled_is_handled_again(
    gateway: Listened, scheduler_database: str
) -> None:
    handled = gateway.on_back
    failures = [ValueError("x"), DatabaseUnavailableError("busy")]

    async def fail(since: datetime) -> None:
        if failures:
            raise failures.pop()
        await handled(since)

    gateway.on_back = fail
    assert await gateway.ask() == 1
    cut(scheduler_database)
    await refused(gateway)
    await gateway.until_back()
    assert gateway.told == ["away"] * 3 + ["back"]


async def test_closing_while_it_is_away_ends_the_search_and_twice_is_fine(scheduler_database: str) -> None:
    gateway = Listened(scheduler_database)
    with pytest.raises(DatabaseUnavailableError, match="not open"):
        await gateway.ask()
    await gateway.open()
    assert await gateway.ask() == 1
    gateway.url = "postgresql:///nowhere?host=/nowhere"
    cut(scheduler_database)
    await refused(gateway)
    await gateway.close()
    await gateway.close()
