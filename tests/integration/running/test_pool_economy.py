"""How many workers there are: `min` kept ready, more as needed up to `max`, idle ones let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from scheduler_daemon.model import WorkerSettings
from scheduler_daemon.runner import pool as module
from scheduler_daemon.runner.pool import Pool

from .conftest import MakePool, Scene, order

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE_S = 40.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


def ready(pool: Pool) -> list[int]:
    return sorted(slot.link.pid for slot in pool.workers if slot.ready and slot.link)


async def test_idle_workers_are_let_go_down_to_min(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.2)
    pool, heard = await make_pool(min=1, max=3)
    runs = [order("gate", {"gate": f"economy-{n}"}, timeout=0.3) for n in range(3)]
    pool.submit(runs)
    await heard.end(*runs)
    await until(lambda: len(pool.workers) == 1)
    assert len(ready(pool)) == 1


async def test_a_reload_keeps_min_workers_ready(make_pool: MakePool) -> None:
    pool, _ = await make_pool(min=2, max=3)
    await until(lambda: len(ready(pool)) == 2)
    old = ready(pool)
    pool.refresh(WorkerSettings(min=2, max=3))
    await until(lambda: len(pool.workers) == 2 and len(ready(pool)) == 2)
    assert not set(old) & set(ready(pool))


async def test_min_is_kept_where_it_is_also_the_most(make_pool: MakePool) -> None:
    pool, _ = await make_pool(min=1, max=1)
    await until(lambda: len(ready(pool)) == 1)
    old = ready(pool)
    pool.refresh(WorkerSettings(min=1, max=1))
    await until(lambda: len(ready(pool)) == 1)
    assert ready(pool) != old


async def test_a_worker_forked_across_a_reload_is_not_kept(make_pool: MakePool) -> None:
    pool, _ = await make_pool(min=1, max=2)
    await asyncio.sleep(0)  # the fork is under way
    assert pool.forking == 1
    pool.refresh(WorkerSettings(min=0, max=2))
    await until(lambda: pool.forking == 0 and not pool.workers)


async def test_what_waits_for_workers_that_are_taken_waits_in_the_ledger(
    make_pool: MakePool, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it is queued, not running, and whoever finds it after a crash starts it."""
    monkeypatch.setattr(module, "TAKEN_S", 0.0)
    pool, heard = await make_pool(max=2)
    room = pool.capacity
    first, second = (order("gate", {"gate": f"taken-{n}"}) for n in range(2))
    pool.submit([first])
    await heard.start(first)
    assert (pool.capacity, pool.thirsty) == (room // 2, True)
    pool.submit([second])
    await heard.start(second)
    assert (pool.capacity, pool.thirsty) == (0, False)
    scene.open("taken-0")
    await heard.end(first)
    assert (pool.capacity, pool.thirsty) == (room // 2, True)
    scene.open("taken-1")
    await heard.end(second)
    assert pool.capacity == room


async def test_a_worker_that_has_done_its_share_of_runs_is_replaced(make_pool: MakePool) -> None:
    pool, heard = await make_pool(min=1, max=1, recycle_after=2)
    await until(lambda: len(ready(pool)) == 1)
    old = ready(pool)
    for number in range(2):
        run = order("gate", {"gate": f"share-{number}"}, timeout=0.05)
        pool.submit([run])
        await heard.end(run)
    await until(lambda: len(ready(pool)) == 1 and ready(pool) != old)


async def test_in_a_burst_workers_are_replaced_one_by_one(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forks take the time that the runs of the burst need."""
    monkeypatch.setattr(module, "REPLACE_EVERY_S", 3600.0)
    monkeypatch.setattr(Pool, "_rest_s", lambda self: 0.001)
    pool, heard = await make_pool(min=2, max=2, recycle_after=1)
    await until(lambda: len(ready(pool)) == 2)
    old = ready(pool)
    runs = [order("gate", {"gate": f"burst-{n}"}, timeout=0.05) for n in range(2)]
    pool.submit(runs)
    await heard.end(*runs)
    await until(lambda: len(ready(pool)) == 2 and ready(pool) != old)
    assert len(set(old) & set(ready(pool))) == 1
