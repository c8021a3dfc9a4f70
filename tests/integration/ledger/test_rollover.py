"""From one configuration to the next: no instant is lost or doubled, whatever changes meanwhile."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scheduler_daemon.config import bindings, load
from scheduler_daemon.errors import DatabaseUnavailableError, OtherRevisionError
from scheduler_daemon.ledger.audit import Audit
from scheduler_daemon.ledger.claims import Granted
from scheduler_daemon.model import Catalogue, ExtensionInfo, JobInfo
from scheduler_daemon.runner.book import Book
from scheduler_daemon.runner.claiming import claims_of
from scheduler_daemon.runner.planning import Outage, Situation
from scheduler_daemon.runner.rollover import Edition, Rollover

from .conftest import NOON, SECOND, MakeNode, Node, Query

NAMES = "abcdef"
CATALOGUE = Catalogue(
    extensions=(ExtensionInfo(name="x", jobs=tuple(JobInfo(extension="x", name=n) for n in NAMES)),)
)
Jobs = Mapping[str, Mapping[str, Any]]
BEGINNING = NOON - timedelta(days=1000)


def job(schedule: str = "* * * * * *", **rest: Any) -> dict[str, Any]:
    return {"schedule": schedule, "enabled": True, **rest}


@dataclass
class Daemon:
    """What a daemon does with its plan, without workers: it ends everything at once."""

    node: Node
    folder: Path
    able_since: datetime = NOON
    outages: list[Outage] = field(default_factory=list)
    book: Book = field(default_factory=Book)
    ran: list[tuple[str, datetime]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rollover = Rollover(self.node.plans, self.node.claims, node=(self.node.name, str(self.node.id)))

    def edition(self, jobs: Jobs) -> Edition:
        entries = [{"name": name, "extension": "x", "job": name, **entry} for name, entry in jobs.items()]
        file = self.folder / "config.yaml"
        file.write_text(json.dumps({"scheduler": {"jobs": entries}}))
        settings = load(file).settings
        return Edition(settings=settings, catalogue=CATALOGUE, bindings=bindings(settings, CATALOGUE))

    def began(self, now: datetime) -> None:
        """A start: what came before was missed."""
        self.able_since, self.outages = now, [Outage(start=BEGINNING, end=now, reason="daemon_down")]

    def at(self, now: datetime) -> Situation:
        return Situation(now=now, able_since=self.able_since, outages=self.outages)

    async def go_over(self, jobs: Jobs, now: datetime) -> None:
        turnover = await self.rollover.apply(self.edition(jobs), lambda: now, self.at, 1000)
        for _, granted in turnover.settled:
            await self._perform(granted)
        self.book = turnover.book

    async def turn(self, now: datetime) -> bool:
        """Claim what is due, as the dispatcher does; False if another revision is in force."""
        due = set(self.book.jobs)
        while due:
            claims = claims_of(self.book, due, self.at(now))
            due = set()
            if not claims:
                return True
            try:
                granted = await self.node.claim(*claims)
            except OtherRevisionError:
                return False
            for name, _, watermark, *_ in (*granted.decision.watermarks, *granted.decision.stale):
                self.book.jobs[name].watermark = watermark
            due = {name for name, _, _ in granted.decision.stale}
            await self._perform(granted)
        return True

    async def _perform(self, granted: Granted) -> None:
        for run in granted.decision.runs():
            assert run.first is not None
            self.ran.append((run.job, run.first))
            if run.waiting:
                await self.node.claims.start_granted([run.id])
                async with self.node.gateway.connection() as connection:
                    await connection.execute(
                        "UPDATE scheduler.runs SET claim_token = %s WHERE id = %s", (granted.token, run.id)
                    )
            await self.node.end(run.id, granted.token)


MakeDaemon = Callable[..., Awaitable[Daemon]]


@pytest.fixture
def make_daemon(make_node: MakeNode, tmp_path: Path) -> MakeDaemon:
    async def make(name: str = "here", **rest: Any) -> Daemon:
        return Daemon(await make_node(name=name, **rest), tmp_path)

    return make


async def audited(node: Node) -> None:
    """Nothing unaccounted, nothing doubled, nothing unplanned."""
    found = await Audit(node.gateway).run()
    assert [finding for account in found for finding in account.findings] == []
    assert all(account.clean for account in found)


def seconds(query: Query, name: str = "a") -> list[tuple[str, int, int, int]]:
    """(status, first, last, instants), in seconds after NOON."""
    rows = query("SELECT * FROM scheduler.runs WHERE job = %s AND planned ORDER BY scheduled_for", name)
    return [
        (
            row["status"],
            int((row["scheduled_for"] - NOON) / SECOND),
            int((row["last_for"] - NOON) / SECOND),
            row["instants"],
        )
        for row in rows
    ]


async def test_what_was_missed_while_down_was_planned_by_the_revision_of_that_time(
    make_daemon: MakeDaemon, query: Query
) -> None:
    daemon = await make_daemon()
    await daemon.go_over({"a": job()}, NOON)
    await daemon.turn(NOON + 2 * SECOND)
    again = await make_daemon(id=daemon.node.id)
    again.began(NOON + 12.5 * SECOND)
    await again.go_over({"a": job("*/5 * * * * *", misfire="skip")}, NOON + 12.5 * SECOND)
    await again.turn(NOON + 20.5 * SECOND)
    assert seconds(query) == [
        ("missed", 1, 1, 1),
        ("succeeded", 2, 2, 1),
        ("missed", 3, 12, 10),
        ("missed", 15, 15, 1),
        ("succeeded", 20, 20, 1),
    ]
    await audited(again.node)


async def test_the_same_revision_again_plans_on_from_where_it_was(
    make_daemon: MakeDaemon, query: Query
) -> None:
    daemon = await make_daemon()
    await daemon.go_over({"a": job()}, NOON)
    await daemon.go_over({"a": job()}, NOON + 5 * SECOND)
    assert len(query("SELECT 1 FROM scheduler.config_revisions")) == 1
    await daemon.turn(NOON + 5 * SECOND)
    assert seconds(query) == [("missed", 1, 4, 4), ("succeeded", 5, 5, 1)]


async def test_a_job_comes_goes_and_comes_back(make_daemon: MakeDaemon, query: Query) -> None:
    daemon = await make_daemon()
    await daemon.go_over({"a": job()}, NOON)
    await daemon.turn(NOON + 3 * SECOND)
    await daemon.go_over({"b": job()}, NOON + 3.5 * SECOND)
    await daemon.turn(NOON + 10 * SECOND)
    await daemon.go_over({"a": job(), "b": job()}, NOON + 10.5 * SECOND)
    await daemon.turn(NOON + 11 * SECOND)
    assert [first for _, first, _, _ in seconds(query)] == [1, 3, 11]
    assert seconds(query, "b")[0][1] == 4
    await audited(daemon.node)


async def test_a_disabled_every_second_job_is_one_row_over_turns_restarts_and_revisions(
    make_daemon: MakeDaemon, query: Query
) -> None:
    daemon = await make_daemon()
    await daemon.go_over({"a": job(enabled=False)}, NOON)
    for number in range(1, 50):
        await daemon.turn(NOON + number * SECOND)
    again = await make_daemon(id=daemon.node.id)
    again.began(NOON + 500 * SECOND)
    await again.go_over({"a": job(enabled=False), "b": job()}, NOON + 500 * SECOND)
    await again.turn(NOON + 600 * SECOND)
    await again.go_over({"a": job("*/2 * * * * *", enabled=False)}, NOON + 600 * SECOND)
    await again.turn(NOON + 700 * SECOND)
    assert seconds(query) == [("skipped", 1, 700, 650)]
    await audited(again.node)


async def test_a_revision_that_could_not_be_committed_changes_nothing(
    make_daemon: MakeDaemon, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = await make_daemon()
    await daemon.go_over({"a": job()}, NOON)
    before = query("SELECT * FROM scheduler.schedules"), query("SELECT * FROM scheduler.config_revisions")
    put = daemon.node.plans.put_in_force

    async def put_and_die(connection: Any, *rest: Any) -> None:
        await put(connection, *rest)
        query("SELECT pg_terminate_backend(%s)", connection.info.backend_pid)

    monkeypatch.setattr(daemon.node.plans, "put_in_force", put_and_die)
    with pytest.raises(DatabaseUnavailableError):
        await daemon.go_over({"b": job()}, NOON + 5 * SECOND)
    monkeypatch.undo()
    after = query("SELECT * FROM scheduler.schedules"), query("SELECT * FROM scheduler.config_revisions")
    assert (after, query("SELECT 1 FROM scheduler.runs")) == (before, [])


async def test_a_failed_change_leaves_a_node_with_the_revision_that_it_really_has(
    make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held because another node went ahead; its own reload fails; it must stay held."""
    one, two = await make_daemon(), await make_daemon("there")
    await one.go_over({"a": job()}, NOON)
    await two.go_over({"a": job("*/2 * * * * *")}, NOON + SECOND)
    assert not await one.turn(NOON + 2 * SECOND)

    async def fail(*rest: Any) -> None:
        raise psycopg.DataError("as it was asked to")

    monkeypatch.setattr(one.node.plans, "put_in_force", fail)
    with pytest.raises(psycopg.DataError):
        await one.go_over({"a": job("*/3 * * * * *")}, NOON + 10 * SECOND)
    assert not await one.turn(NOON + 12 * SECOND)


async def test_two_nodes_that_go_over_at_once_settle_the_old_plan_once(
    make_daemon: MakeDaemon, query: Query
) -> None:
    import asyncio

    one, two = await make_daemon(), await make_daemon("there")
    for round_ in range(10):
        now = NOON + (10 * round_ + 0.5) * SECOND
        plan = {"a": job(f"*/{round_ + 1} * * * * *"), "b": job()}
        await asyncio.gather(one.go_over(plan, now), two.go_over(plan, now))
        await asyncio.gather(*(daemon.turn(now + 3 * SECOND) for daemon in (one, two)))
    assert len(query("SELECT 1 FROM scheduler.config_revisions")) == 10
    await audited(one.node)


async def test_a_job_of_every_node_is_settled_by_each_node_for_itself(
    make_daemon: MakeDaemon, query: Query
) -> None:
    """The other node puts a new revision in force before this one has claimed its last instants."""
    one, two = await make_daemon(), await make_daemon("there")
    for daemon in (one, two):
        await daemon.go_over({"a": job(nodes="every")}, NOON)
        await daemon.turn(NOON + SECOND)
    plan = {"a": job("*/2 * * * * *", nodes="every")}
    await two.go_over(plan, NOON + 5.5 * SECOND)
    await one.go_over(plan, NOON + 7.5 * SECOND)
    await one.turn(NOON + 8 * SECOND)
    await two.turn(NOON + 8 * SECOND)
    assert {moment for name, moment in one.ran} >= {NOON + 5 * SECOND, NOON + 8 * SECOND}
    await audited(one.node)


async def test_a_job_of_one_node_is_left_to_it_and_settled_by_whoever_takes_it_over(
    make_daemon: MakeDaemon, query: Query
) -> None:
    one, two = await make_daemon(), await make_daemon("there")
    bound = {"a": job(nodes="here"), "b": job()}
    for daemon in (one, two):
        await daemon.go_over(bound, NOON)
    await one.turn(NOON + 2 * SECOND)
    await two.turn(NOON + 3 * SECOND)
    assert "a" not in two.book.jobs
    await two.go_over({"a": job("*/2 * * * * *", nodes="there"), "b": job()}, NOON + 10.5 * SECOND)
    await two.turn(NOON + 12 * SECOND)
    await one.go_over({"a": job("*/2 * * * * *", nodes="there"), "b": job()}, NOON + 13 * SECOND)
    assert "a" not in one.book.jobs
    assert {moment for name, moment in two.ran if name == "a"} == {NOON + 12 * SECOND}
    await audited(one.node)


async def test_a_job_may_move_between_all_nodes_and_any(make_daemon: MakeDaemon) -> None:
    daemon = await make_daemon()
    for number, nodes in enumerate(("any", "every", "any", "here", "every", "any")):
        now = NOON + (20 * number + 0.5) * SECOND
        await daemon.go_over({"a": job(nodes=nodes)}, now)
        await daemon.turn(now + 10 * SECOND)
    await audited(daemon.node)


async def test_after_a_step_backwards_a_new_plan_begins_where_the_old_one_had_come_to(
    make_daemon: MakeDaemon,
) -> None:
    daemon = await make_daemon()
    await daemon.go_over({"a": job(), "b": job("0 * * * * *")}, NOON)
    await daemon.turn(NOON + 100 * SECOND)
    await daemon.go_over({"a": job("*/2 * * * * *"), "c": job()}, NOON + 30 * SECOND)
    await daemon.turn(NOON + 60 * SECOND)
    await daemon.turn(NOON + 110 * SECOND)
    moments = [moment for name, moment in daemon.ran if name == "a"]
    assert len(moments) == len(set(moments))
    await audited(daemon.node)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_the_audit_balances(make_daemon: MakeDaemon, query: Query, seed: int) -> None:
    """Random revisions, turns, downtimes and clocks of two nodes; then the accounts."""
    chance = random.Random(seed)
    daemons = [await make_daemon(), await make_daemon("there")]
    now, plan = NOON, _any_plan(chance)
    for daemon in daemons:
        await daemon.go_over(plan, now)
    for _ in range(30):
        now += chance.choice((0.4, 1, 1, 3, 20, 61)) * SECOND
        if chance.random() < 0.1:
            now -= chance.choice((2, 15, 50)) * SECOND
        daemon = chance.choice(daemons)
        what = chance.random()
        if what < 0.25:
            plan = _any_plan(chance)
            await daemon.go_over(plan, now)
        elif what < 0.4:
            daemon.began(now)
            await daemon.go_over(plan, now)
        elif not await daemon.turn(now):
            await daemon.go_over(plan, now)
    for daemon in daemons:
        await daemon.go_over(plan, now)
        await daemon.turn(now)
    await audited(daemons[0].node)
    together = [
        run for daemon in daemons for run in daemon.ran if plan.get(run[0], {}).get("nodes") != "every"
    ]
    rows = query(
        "SELECT job, scheduled_for FROM scheduler.runs WHERE scope = '' AND planned AND status = 'succeeded'"
    )
    assert len(rows) == len({(row["job"], row["scheduled_for"]) for row in rows})
    del together


def _any_plan(chance: random.Random) -> dict[str, dict[str, Any]]:
    return {
        name: job(
            chance.choice(("* * * * * *", "*/2 * * * * *", "*/7 * * * * *", "5 * * * * *")),
            enabled=chance.random() < 0.8,
            nodes=chance.choice(("any", "any", "any", "every", "here", "there")),
            misfire=chance.choice(("latest", "skip", "all")),
            overlap=chance.choice(("skip", "allow", "queue")),
        )
        for name in chance.sample(NAMES, k=4)
    }
