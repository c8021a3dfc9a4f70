"""The pool with real workers: runs handed over, taken back, timed out, cancelled; and what a death costs."""

from __future__ import annotations

import asyncio
import time

import pytest

from scheduler_daemon.model import RunStatus, WorkerSettings

from .conftest import MakePool, Scene, alive, order

pytestmark = pytest.mark.asyncio(loop_scope="module")
OK, LOST, CANCELLED, TIMED_OUT = (
    RunStatus.SUCCEEDED,
    RunStatus.LOST,
    RunStatus.CANCELLED,
    RunStatus.TIMED_OUT,
)


async def test_every_run_is_started_once_and_ends_once(make_pool: MakePool, scene: Scene) -> None:
    pool, heard = await make_pool(max=3)
    runs = [order("quick") for _ in range(200)]
    pool.submit(runs)
    outcomes = await heard.end(*runs)
    assert {o.status for o in outcomes} == {OK}
    assert {(o.items_processed, o.items_failed, o.message) for o in outcomes} == {(3, 1, "attempt 1")}
    assert sorted(set(scene.notes()) & {r.id for r in runs}) == sorted(r.id for r in runs)
    assert len(pool.workers) <= 3
    assert (pool.ids(), pool.running) == (set(), [])


async def test_nobody_waits_behind_a_slow_run_while_a_worker_may_be_forked(make_pool: MakePool) -> None:
    """Handed over together, the first one hangs: the others are taken back."""
    pool, heard = await make_pool(max=2)
    hanging = [order("gate", {"gate": "never-1"})]
    quick = [order("quick") for _ in range(40)]
    pool.submit([*hanging, *quick])
    assert {o.status for o in await heard.end(*quick)} == {OK}
    assert hanging[0].id not in heard.endings


async def test_a_worker_that_dies_with_several_runs_in_hand_loses_only_the_current_one(
    make_pool: MakePool, scene: Scene
) -> None:
    pool, heard = await make_pool(max=1)
    first, *rest = [order("dies"), *(order("quick") for _ in range(6)), order("dies"), order("quick")]
    pool.submit([first, *rest])
    outcomes = await heard.end(first, *rest)
    assert [o.status for o in outcomes] == [LOST, *[OK] * 6, LOST, OK]
    assert (outcomes[0].reason, outcomes[0].error) == ("worker_died", "its worker was killed by SIGKILL")
    assert scene.notes().count(first.id) == 1


async def test_a_run_that_kills_its_worker_before_its_first_line_is_given_up(make_pool: MakePool) -> None:
    pool, heard = await make_pool(max=1)
    runs = [order("poison", {"last_words": "x"}), order("quick")]
    pool.submit(runs)
    poison, quick = await heard.end(*runs)
    assert (poison.status, poison.reason, poison.started_at) == (LOST, "worker_died", None)
    assert poison.error == "3 workers died as they were about to start it"
    assert quick.status is OK


async def test_a_run_past_its_timeout_is_cancelled(make_pool: MakePool) -> None:
    pool, heard = await make_pool(max=1)
    run = order("gate", timeout=0.2)
    pool.submit([run])
    (outcome,) = await heard.end(run)
    assert (outcome.status, outcome.reason) == (TIMED_OUT, "timeout")
    assert outcome.started_at is not None


async def test_a_run_that_does_not_listen_is_killed_with_all_that_it_started(
    make_pool: MakePool, scene: Scene
) -> None:
    pool, heard = await make_pool(max=1)
    run = order("stubborn", timeout=0.2, kill_after=0.2)
    pool.submit([run, after := order("quick")])
    (outcome,) = await heard.end(run)
    assert (outcome.status, outcome.reason) == (TIMED_OUT, "timeout")
    assert outcome.error == "timed out after 0.2 s; its worker was killed by SIGKILL"
    assert ("sql", run.id) in heard.told
    await heard.end(after)
    assert [pid for pid in scene.pids(run.id) if alive(pid)] == []


async def test_to_cancel_a_run_in_line_leaves_the_current_one_and_its_guard_alone(
    make_pool: MakePool,
) -> None:
    """Its answer must not be taken for the current run's: that would lose its timeout, and run it twice."""
    pool, heard = await make_pool(max=1)
    current, queued, last = order("gate", timeout=1.5), order("quick"), order("quick")
    pool.submit([current, queued, last])
    await heard.start(current)
    assert pool.cancel(queued.id, "cancelled")
    (outcome,) = await heard.end(queued)
    assert (outcome.status, outcome.reason, outcome.started_at) == (CANCELLED, "cancelled", None)
    assert [o.id for o in pool.running] == [current.id]
    first, second = await heard.end(current, last)
    assert (first.status, second.status) == (TIMED_OUT, OK)
    assert heard.starts.count(current.id) == 1


async def test_after_a_run_in_line_was_cancelled_the_death_of_the_worker_still_ends_the_current_one(
    make_pool: MakePool,
) -> None:
    pool, heard = await make_pool(max=1)
    current, queued = order("gate"), order("quick")
    pool.submit([current, queued])
    await heard.start(current)
    pool.cancel(queued.id, "cancelled")
    await heard.end(queued)
    (slot,) = pool.workers
    assert slot.link is not None
    slot.link.kill(9)
    (outcome,) = await heard.end(current)
    assert outcome.status is LOST
    assert heard.starts.count(current.id) == 1


@pytest.mark.parametrize("job", ["gate", "stubborn"])
async def test_a_cancel_that_comes_before_the_start_is_heard_of_is_kept(
    make_pool: MakePool, job: str
) -> None:
    pool, heard = await make_pool(max=1)
    warm = order("quick")
    pool.submit([warm])
    await heard.end(warm)
    for _ in range(5):
        run = order(job, kill_after=0.2)
        pool.submit([run])
        assert pool.cancel(run.id, "cancelled")
        (outcome,) = await heard.end(run)
        assert (outcome.status, outcome.reason) == (CANCELLED, "cancelled")


async def test_a_cancel_of_a_run_that_nobody_has_yet_ends_it_at_once(make_pool: MakePool) -> None:
    pool, heard = await make_pool(max=1)
    run = order("quick")
    pool.submit([run])
    assert pool.cancel(run.id, "shutdown")
    (outcome,) = await heard.end(run)
    assert (outcome.status, outcome.reason) == (CANCELLED, "shutdown")
    assert not pool.cancel("nobody", "cancelled")


async def test_a_cancelled_run_that_is_taken_back_is_not_run(make_pool: MakePool, scene: Scene) -> None:
    pool, heard = await make_pool(max=2)
    for _ in range(10):
        slow, *rest = [order("gate", {"gate": "never-2"}), *(order("quick") for _ in range(8))]
        pool.submit([slow, *rest])
        await heard.start(slow)
        for run in rest:
            pool.cancel(run.id, "cancelled")
        outcomes = await heard.end(*rest)
        started = {run.id for run in rest} & set(scene.notes())
        assert {o.run_id for o in outcomes if o.status is OK} == started
        pool.cancel(slow.id, "cancelled")
        await heard.end(slow)


async def test_a_stop_lets_runs_finish_within_the_grace(make_pool: MakePool, scene: Scene) -> None:
    pool, heard = await make_pool(max=1)
    run, behind = order("gate", {"gate": "grace"}), order("quick")
    pool.submit([run, behind])
    await heard.start(run)
    stopping = asyncio.create_task(pool.stop(60, asyncio.Event()))
    await asyncio.sleep(0)
    scene.open("grace")
    await asyncio.wait_for(stopping, 30)
    assert [o.status for o in await heard.end(run, behind)] == [OK, OK]


async def test_a_stop_cancels_what_is_left_after_the_grace_and_a_second_word_hurries(
    make_pool: MakePool,
) -> None:
    for grace, hurried in ((0.2, False), (3600.0, True)):
        pool, heard = await make_pool(max=2)
        runs = [order("gate"), order("stubborn", kill_after=0.2)]
        pool.submit(runs)
        await heard.start(runs[0])
        await heard.start(runs[1])
        runs.append(order("quick"))
        pool.submit(runs[2:])
        hurry = asyncio.Event()
        stopping = asyncio.create_task(pool.stop(grace, hurry))
        await asyncio.sleep(0)
        if hurried:
            hurry.set()
        await asyncio.wait_for(stopping, 30)
        outcomes = await heard.end(*runs)
        assert [(o.status, o.reason) for o in outcomes] == [(CANCELLED, "shutdown")] * 3
        await heard.until(lambda pool=pool: not pool.workers)


async def test_a_worker_goes_after_its_share_of_runs(make_pool: MakePool) -> None:
    pool, heard = await make_pool(max=1, recycle_after=2)
    pids = []
    for _ in range(4):
        run = order("quick")
        pool.submit([run])
        await heard.end(run)
        pids.append(heard.endings[run.id].worker_pid)
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_a_reload_lets_the_old_workers_finish_and_gives_new_runs_to_new_ones(
    make_pool: MakePool, scene: Scene
) -> None:
    pool, heard = await make_pool(max=3)
    old = order("gate", {"gate": "reload"})
    pool.submit([old])
    await heard.start(old)
    (slot,) = pool.workers
    pool.refresh(WorkerSettings(min=0, max=2))
    new = order("quick")
    pool.submit([new])
    await heard.end(new)
    assert slot.current is not None
    scene.open("reload")
    (outcome,) = await heard.end(old)
    assert outcome.status is OK
    assert heard.endings[old.id].worker_pid != heard.endings[new.id].worker_pid
    await heard.until(lambda: slot not in pool.workers)


async def test_behind_a_run_that_holds_the_interpreter_nobody_waits_longer_than_it_takes(
    make_pool: MakePool,
) -> None:
    """Such a run cannot be asked to give back what it was handed with."""
    pool, heard = await make_pool(max=2)
    warm = [order("gate", {"gate": f"warm-{n}"}, timeout=0.1) for n in range(2)]
    pool.submit(warm)
    await heard.end(*warm)
    runs = [order("hog", {"seconds": 1.0}), *(order("quick") for _ in range(10))]
    began = time.monotonic()
    pool.submit(runs)
    await heard.end(*runs)
    assert time.monotonic() - began < 30
