"""Nodes and what is said of them; overrides, actions and revisions; whose ledger this is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from scheduler_daemon.ledger.history import Actor, LogFilter, Override, RunFilter
from scheduler_daemon.ledger.outcomes import Batch
from scheduler_daemon.ledger.presence import Verdict
from scheduler_daemon.model import LogRecord

from .conftest import NOON, SECOND, MakeNode, Query, cron, due

Runs = Any
GONE = Verdict(reason="node_gone", message="its node gave no sign of life for 30 s")


async def test_a_heartbeat_is_refused_once_another_daemon_has_the_nodes_row(make_node: MakeNode) -> None:
    one = await make_node()
    await one.presence.register("r1")
    assert await one.presence.heartbeat("r1") is not None
    again = await make_node(id=one.id)
    await again.presence.register("r1")
    assert await one.presence.heartbeat("r1") is None
    assert await again.presence.heartbeat("r1") is not None
    (known,) = await again.presence.nodes()
    assert (known.boot_id, known.stopped_at) == (again.identity.boot_id, None)
    await again.presence.stop()
    assert (await again.presence.nodes())[0].stopped_at is not None


async def test_what_a_dead_daemon_left_is_found_by_its_successor(make_node: MakeNode, runs: Runs) -> None:
    dead = await make_node("a", "b")
    await dead.presence.register("r1")
    await dead.claim(due("a", cron()), due("b", cron()), capacity=1)
    successor = await make_node(id=dead.id)
    await successor.presence.register("r1")
    running, queued = await successor.presence.left_behind()
    assert (running.status, queued.status, queued.waiting) == ("running", "queued", "worker")
    assert await successor.presence.declare_lost([running, queued], GONE) == {running.id}
    adopted, token = await successor.presence.adopt([running, queued])
    assert adopted == {queued.id}
    (mine,) = await successor.presence.own_live()
    assert (mine.id, mine.claim_token) == (queued.id, token)
    assert await successor.presence.left_behind() == []
    assert await dead.presence.own_live() == []


async def test_silent_stopped_and_restarted_daemons_leave_orphans_and_living_ones_none(
    make_node: MakeNode, query: Query
) -> None:
    judge, other = await make_node("a"), await make_node()
    for node in (judge, other):
        await node.presence.register("r1")
    await other.claim(due("a", cron()))
    now = await judge.presence.now()
    since = now - timedelta(seconds=30)
    assert await judge.presence.orphans_of_others(since) == []
    assert len(await judge.presence.orphans_of_others(now + SECOND)) == 1
    assert await other.presence.orphans_of_others(now + SECOND) == []
    await other.presence.stop()
    assert len(await judge.presence.orphans_of_others(since)) == 1
    again = await make_node(id=other.id)
    await again.presence.register("r1")
    (orphan,) = await judge.presence.orphans_of_others(since)
    assert await judge.presence.declare_lost([orphan], GONE) == {orphan.id}


async def test_a_judge_that_was_stopped_before_its_verdict_does_not_judge_by_what_it_saw(
    make_node: MakeNode, query: Query, runs: Runs
) -> None:
    """Two minutes of SIGSTOP between looking and judging: the silent node is long back."""
    judge, other = await make_node("a"), await make_node()
    for node in (judge, other):
        await node.presence.register("r1")
    await other.claim(due("a", cron()))
    query("UPDATE scheduler.nodes SET heartbeat_at = now() - interval '40 s' WHERE id = %s", other.id)
    since = await judge.presence.now() - timedelta(seconds=30)
    (orphan,) = await judge.presence.orphans_of_others(since)
    await other.presence.heartbeat("r1")
    verdict = Verdict(reason="node_gone", message="", silent_since=since)
    assert await judge.presence.declare_lost([orphan], verdict) == set()
    assert runs(columns="status") == [{"status": "running"}]


async def test_a_new_ledger_is_accepted_and_one_on_another_server_or_database_is_not(
    make_node: MakeNode, query: Query
) -> None:
    node = await make_node()
    assert await node.presence.restored() is False
    assert await node.presence.restored() is False
    for change in ("system_identifier = system_identifier + 1", "database_oid = 1"):
        query(f"UPDATE scheduler.installation SET {change}")
        assert await node.presence.restored() is True
        assert await node.presence.restored() is True
        await node.presence.accept()
        assert await node.presence.restored() is False


async def test_a_daemon_without_a_superusers_rights_can_tell_too(
    make_node: MakeNode, query: Query, scheduler_database: str
) -> None:
    role = f"plain_{uuid4().hex}"
    query(f"CREATE ROLE {role} LOGIN")
    try:
        query(f"GRANT ALL ON SCHEMA scheduler TO {role}")
        query(f"GRANT ALL ON ALL TABLES IN SCHEMA scheduler TO {role}")
        node = await make_node()
        async with node.gateway.connection() as connection:
            await connection.execute(f"SET SESSION AUTHORIZATION {role}".encode())
            await connection.execute("SELECT system_identifier FROM pg_control_system()")
            await connection.execute("RESET SESSION AUTHORIZATION")
    finally:
        query(f"DROP OWNED BY {role}")
        query(f"DROP ROLE {role}")


async def test_overrides_last_as_long_as_they_were_meant_to(make_node: MakeNode) -> None:
    node = await make_node()
    override = Override(
        job="a", enabled=False, reason="r", actor="me", since=NOON, until=NOON + timedelta(hours=1)
    )
    await node.history.set_override(override)
    await node.history.set_override(Override(**{**_plain(override), "job": "b", "until": None}))
    assert set(await node.history.overrides()) == {"a", "b"}
    assert await node.history.expire_overrides(NOON + timedelta(minutes=59)) == []
    assert await node.history.expire_overrides(NOON + timedelta(hours=1)) == [override]
    await node.history.clear_override("b")
    assert await node.history.overrides() == {}


def _plain(override: Override) -> dict[str, Any]:
    return {name: getattr(override, name) for name in Override.__dataclass_fields__}


async def test_actions_are_kept_with_who_did_them(make_node: MakeNode) -> None:
    node = await make_node()
    await node.history.record_action(
        Actor(uid=7, user_name="eva", pid=9), "disable", "a", (None, {"x": NOON})
    )
    await node.history.record_action(Actor(uid=None, user_name="?"), "run", "b", (None, None), "refused")
    second, first = await node.history.actions(5)
    assert (first["uid"], first["user_name"], first["after"]) == (7, "eva", {"x": str(NOON)})
    assert (second["error"], second["target"]) == ("refused", "b")


@pytest.mark.parametrize("text", ["%", "_", "\\", "100%"])
async def test_text_is_searched_for_as_it_is(make_node: MakeNode, text: str) -> None:
    node = await make_node()
    logs = [
        LogRecord(timestamp=float(n), level="INFO", module="m", message=message)
        for n, message in enumerate((f"a {text} b", "plain"))
    ]
    await node.outcomes.write(Batch(logs=logs))
    assert [row["message"] for row in await node.history.logs(LogFilter(pattern=text))] == [f"a {text} b"]


async def test_runs_are_found_by_job_status_time_and_the_beginning_of_their_id(make_node: MakeNode) -> None:
    node = await make_node("a", "b")
    granted = await node.claim(due("a", cron(1), cron(2)), due("b", cron(1)))
    first, skipped, _ = granted.decision.inserts
    assert [r["id"] for r in await node.history.runs(RunFilter(job="a"))] == [skipped.id, first.id]
    assert [r["id"] for r in await node.history.runs(RunFilter(statuses=("skipped",)))] == [skipped.id]
    assert await node.history.runs(RunFilter(since=granted.at + SECOND, statuses=("skipped",))) == []
    assert await node.history.run_ids_like(str(first.id)) == [first.id]
    assert len(await node.history.run_ids_like(str(first.id)[:8])) == 2
    for nonsense in ("xyz", "", "'; --", "f" * 33):
        assert await node.history.run_ids_like(nonsense) == []
    assert {r["id"] for r in await node.history.live()} == {r.id for r in granted.decision.runs()}


async def test_the_newest_revision_is_in_force_for_everybody(make_node: MakeNode) -> None:
    one = await make_node("a")
    two = await make_node("a", revision="r2")
    for node in (one, two):
        latest = await node.presence.latest_revision()
        assert latest is not None
        assert (latest.hash, latest.node) == ("r2", two.id)
        assert json.loads(latest.text)["configuration"]["scheduler"]["jobs"] == [{"name": "a"}]
    assert [r.hash for r in await one.presence.revisions(5)] == ["r2", "r1"]
