"""The end of a lone run is written at once; ends that come together go into one batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from scheduler_daemon.ledger.outcomes import Batch, Ending, Outcomes
from scheduler_daemon.model import LogRecord, Outcome, RunStatus
from scheduler_daemon.runner import recorder as module
from scheduler_daemon.runner.recorder import Recorder
from scheduler_daemon.runner.spool import Spool

LONG_S = 3600.0
PATIENCE_S = 30.0


class Written:
    """In place of the database: keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.news = asyncio.Event()

    async def write(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.news.set()

    def ends(self) -> list[list[str]]:
        return [[ending.outcome.run_id for ending in batch.endings] for batch in self.batches]


def ending(run_id: str) -> Ending:
    return Ending(outcome=Outcome(run_id=run_id, status=RunStatus.SUCCEEDED, finished_at=1.0), token="t")


def line(run_id: str, number: int) -> LogRecord:
    return LogRecord(timestamp=1.0, level="INFO", module="m", message=str(number), run_id=run_id, fields={})


@pytest.fixture
async def written() -> Written:
    return Written()


@pytest.fixture
async def recorder(written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Recorder]:
    monkeypatch.setattr(module, "DELAY_S", LONG_S)
    one = Recorder(cast(Outcomes, written), Spool(tmp_path / "spool.jsonl"))
    await one.start()
    yield one
    await one.stop()


async def test_the_end_of_a_lone_run_waits_for_nobody(recorder: Recorder, written: Written) -> None:
    for run_id in ("a", "b"):
        written.news.clear()
        recorder.ended(ending(run_id), alone=True)
        await asyncio.wait_for(written.news.wait(), PATIENCE_S)
    assert written.ends() == [["a"], ["b"]]


async def test_ends_that_come_together_are_one_batch_and_the_last_one_sends_it(
    recorder: Recorder, written: Written
) -> None:
    for run_id in ("a", "b"):
        recorder.ended(ending(run_id))
        await asyncio.sleep(0)
    assert written.ends() == []
    recorder.ended(ending("c"), alone=True)
    await asyncio.wait_for(written.news.wait(), PATIENCE_S)
    assert written.ends() == [["a", "b", "c"]]


async def test_a_flood_of_log_lines_holds_up_no_other_run_s_end_and_its_own_comes_last(
    recorder: Recorder, written: Written
) -> None:
    lines = 2 * module.LOGS_AT_ONCE + 1
    for number in range(lines):
        recorder.logged(line("flood", number))
    recorder.ended(ending("flood"))
    recorder.ended(ending("other"))
    await asyncio.wait_for(recorder.flushed(), PATIENCE_S)

    assert written.ends() == [["other"], [], ["flood"]]
    told = [record.message for batch in written.batches for record in batch.logs]
    assert told == [str(number) for number in range(lines)]


async def test_a_stop_in_a_flood_writes_all_of_it(recorder: Recorder, written: Written) -> None:
    for number in range(3 * module.LOGS_AT_ONCE):
        recorder.logged(line("flood", number))
    recorder.ended(ending("flood"))
    await asyncio.wait_for(recorder.stop(), PATIENCE_S)

    assert sum(len(batch.logs) for batch in written.batches) == 3 * module.LOGS_AT_ONCE
    assert written.ends()[-1] == ["flood"]


async def test_a_stop_waits_for_nothing_either(written: Written, recorder: Recorder) -> None:
    recorder.ended(ending("a"))
    await asyncio.sleep(0)
    await asyncio.wait_for(recorder.stop(), PATIENCE_S)
    assert written.ends() == [["a"]]


async def test_what_a_silent_database_has_not_heard_at_the_stop_is_on_disk(
    recorder: Recorder, written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_PATIENCE_S", 0.05)
    asked = asyncio.Event()

    async def silent(batch: Batch) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(written, "write", silent)
    recorder.ended(ending("under way"), alone=True)
    await asyncio.wait_for(asked.wait(), PATIENCE_S)
    recorder.ended(ending("told later"))
    await asyncio.wait_for(recorder.stop(), PATIENCE_S)
    kept = list(Spool(tmp_path / "spool.jsonl").batches())
    assert [e.outcome.run_id for batch in kept for e in batch.endings] == ["under way", "told later"]
