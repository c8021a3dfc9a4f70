"""Whether the ledger is true after the chaos: against the plan, and against what the jobs wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

from scheduler_daemon.database.gateway import Gateway
from scheduler_daemon.ledger.audit import Audit

if TYPE_CHECKING:
    from suite import Killed

SILENCE_S = 19.0


@dataclass
class Verdict:
    unaccounted: int = 0
    doubled: int = 0
    lost: int = 0
    lost_by_suite: int = 0
    runs: int = 0
    instants: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.findings and not self.unaccounted and not self.doubled

    @property
    def line(self) -> str:
        return (
            f"{self.unaccounted} unaccounted, {self.doubled} doubled, "
            f"{self.lost} lost of {self.lost_by_suite} killed "
            f"({self.instants} instants, {self.runs} runs)"
        )


@dataclass
class Written:
    """What one run wrote to its job's own log."""

    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    suicide: bool = False


async def check(url: str, logs: Path, killed: Killed, folder: Path) -> Verdict:
    verdict = Verdict()
    gateway = Gateway(url, log=print)
    await gateway.open()
    try:
        for account in await Audit(gateway).run():
            verdict.instants += account.planned
            verdict.unaccounted += account.unaccounted + account.unplanned
            verdict.doubled += account.doubled
            verdict.findings += [f"{account.job}: {finding}" for finding in account.findings]
    finally:
        await gateway.close()
    rows = await _rows(url)
    nodes = _nodes(folder)
    written = {file.name: _read(file) for file in logs.iterdir()}
    for row in rows:
        _compare(verdict, row, written.get(row["job"], {}))
        if row["status"] == "lost":
            verdict.lost += 1
            run = written.get(row["job"], {}).get(str(row["id"]), Written())
            if _by_suite(row, run, killed, nodes):
                verdict.lost_by_suite += 1
            else:
                verdict.findings.append(f"lost, and nobody killed it: {_short(row)}")
        if row["status"] in ("queued", "running"):
            verdict.findings.append(f"still {row['status']}: {_short(row)}")
    verdict.runs = sum(len(run.starts) for runs in written.values() for run in runs.values())
    known = {str(row["id"]) for row in rows}
    for job, runs in written.items():
        verdict.findings += [f"{job}: ran without a row: {run}" for run in runs if run not in known]
        _overlaps(verdict, job, runs, {str(row["id"]): row for row in rows if row["job"] == job})
    return verdict


async def _rows(url: str) -> list[dict[str, Any]]:
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        cursor = await connection.execute(
            "SELECT * FROM scheduler.runs WHERE status NOT IN ('skipped', 'missed') ORDER BY id"
        )
        return await cursor.fetchall()


def _nodes(folder: Path) -> dict[str, int]:
    """Node id → number of the daemon."""
    files = folder.glob("node*/node")
    return {file.read_text().strip(): int(file.parent.name.removeprefix("node")) for file in files}


def _read(file: Path) -> dict[str, Written]:
    runs: dict[str, Written] = {}
    for line in file.read_text().splitlines():
        run, what, at, _ = line.split()
        entry = runs.setdefault(run, Written())
        if what == "start":
            entry.starts.append(float(at))
        elif what == "end":
            entry.ends.append(float(at))
        else:
            entry.suicide = True
    return runs


def _compare(verdict: Verdict, row: dict[str, Any], runs: dict[str, Written]) -> None:
    """What the ledger says of one run against what the run wrote."""
    run = runs.get(str(row["id"]), Written())
    if len(run.starts) > 1:
        verdict.doubled += 1
        verdict.findings.append(f"started {len(run.starts)} times: {_short(row)}")
    if row["status"] in ("succeeded", "failed") and not (len(run.starts) == len(run.ends) == 1):
        verdict.findings.append(f"{len(run.starts)} starts, {len(run.ends)} ends: {_short(row)}")
    if row["status"] == "succeeded" and row["job"].startswith("failing"):
        verdict.findings.append(f"cannot have succeeded: {_short(row)}")


def _by_suite(row: dict[str, Any], run: Written, killed: Killed, nodes: dict[str, int]) -> bool:
    """The job killed its worker, or the suite killed the worker, killed the daemon, or froze it for so long
    that its workers gave it up.
    """
    if run.suicide or row["worker_pid"] in killed.workers:
        return True
    node = nodes.get(str(row["node"]))
    if any(number == node and until - began > SILENCE_S for number, began, until in killed.stopped):
        return True
    by_daemon = row["reason"] in ("daemon_died", "node_gone")
    return by_daemon and any(number == node for number, _ in killed.daemons)


def _overlaps(verdict: Verdict, job: str, runs: dict[str, Written], rows: dict[str, dict[str, Any]]) -> None:
    """Under `skip` and `queue` no two runs of a job are ever under way together."""
    spans = sorted(
        (run.starts[0], run.ends[0], name) for name, run in runs.items() if run.starts and run.ends
    )
    for (_, end, before), (start, _, after) in pairwise(spans):
        if start < end - 0.001 and before in rows and after in rows:
            verdict.findings.append(f"{job}: {after} began {end - start:.3f} s before {before} ended")


def _short(row: dict[str, Any]) -> str:
    return (
        f"{row['job']} {row['id']} {row['kind']} {row['status']} {row['reason'] or ''} "
        f"planned {row['scheduled_for']} claimed {row['claimed_at']} started {row['started_at']} "
        f"pid {row['worker_pid']} {row['error'] or ''}"
    )
