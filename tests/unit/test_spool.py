"""The spool: what it is told comes back in order, whatever crashes, full disks and torn lines do to it."""

from __future__ import annotations

import json
import resource
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_daemon.ledger.outcomes import Batch, Ending, Start
from scheduler_daemon.ledger.values import Retry
from scheduler_daemon.model import LogRecord, Outcome, RunStatus, StepRecord
from scheduler_daemon.runner import spool as spool_module
from scheduler_daemon.runner.spool import Spool


def ending(run_id: str, **rest: object) -> Ending:
    outcome = Outcome(run_id=run_id, status=RunStatus.SUCCEEDED, finished_at=2.0, started_at=1.0)
    return Ending(outcome=outcome, token="t", **rest)


def said(message: str) -> LogRecord:
    return LogRecord(timestamp=1.5, level="INFO", module="m", message=message, fields={"a": [1, None]})


def batch(number: int) -> Batch:
    return Batch(endings=[ending(f"run-{number}")], logs=[said(f"line {number}")])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spool.jsonl"


def test_a_batch_comes_back_as_it_was(file: Path) -> None:
    retry = Retry(
        id="r", of="run", job="j", scope="", concurrency="j", attempt=2, first_run="run", not_before=9.5
    )
    whole = Batch(
        starts=[Start(run_id="run", token="t", at=1.0, worker_pid=7, worker_start=8)],
        endings=[ending("run", retry=retry, logs_dropped=3, worker_pid=7, worker_start=8)],
        logs=[said("grün \x00 \ud800 \N{PILE OF POO}")],
    )
    steps = (StepRecord(name="s", status="failed", duration_s=0.5, error="no"),)
    outcome = Outcome(run_id="x", status=RunStatus.TIMED_OUT, finished_at=3.0, reason="timeout", steps=steps)
    whole.endings.append(Ending(outcome=outcome, token="t"))
    Spool(file).append(whole)
    assert list(Spool(file).batches()) == [whole]


def test_batches_come_back_in_order_and_are_gone_after_clear(file: Path) -> None:
    spool = Spool(file)
    assert not spool
    for number in range(5):
        spool.append(batch(number))
    assert spool.size == file.stat().st_size > 0
    assert list(Spool(file).batches()) == [batch(n) for n in range(5)]
    spool.clear()
    assert (spool.size, list(spool.batches()), file.exists()) == (0, [], False)


def test_a_replay_that_was_cut_goes_on_where_it_was_left_with_what_came_since(file: Path) -> None:
    spool = Spool(file)
    for number in range(3):
        spool.append(batch(number))
    replay = spool.batches()
    assert [next(replay), next(replay)] == [batch(0), batch(1)]
    replay.close()
    spool.append(batch(3))
    assert list(spool.batches()) == [batch(1), batch(2), batch(3)]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=2000), piece=st.sampled_from([7, 64, 65536]))
def test_a_line_that_a_crash_cut_short_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, cut: int, piece: int
) -> None:
    file = tmp_path_factory.mktemp("spool") / "spool.jsonl"
    spool = Spool(file)
    for number in range(3):
        spool.append(batch(number))
    content = file.read_bytes()
    kept = content[: max(0, len(content) - cut)]
    file.write_bytes(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "PIECE", piece)
        again = Spool(file)
    again.append(batch(9))
    whole = kept.count(b"\n")
    assert list(again.batches()) == [*(batch(n) for n in range(whole)), batch(9)]
    assert again.size == file.stat().st_size


def test_a_line_that_rotted_is_left_out_and_counted(file: Path) -> None:
    spool = Spool(file)
    for number in range(3):
        spool.append(batch(number))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + '{"starts": [{"nonsense": 1}]}\n' + "garbage\n" + lines[2])
    assert list(spool.batches()) == [batch(0), batch(2)]
    assert spool.clear() == (0, 2)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"[" * 100_000, b'{"starts": 1, "endings": 2, "logs": 3}'])
)
@settings(max_examples=50, deadline=None)
def test_whatever_rots_in_it_what_is_whole_comes_back(rotten: bytes, long: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "spool.jsonl")
        Spool(file).append(batch(0))
        with file.open("ab") as stream:
            stream.write(rotten + b"\n" + long + b"\n")
        again = Spool(file)
        again.append(batch(1))
        assert list(again.batches()) == [batch(0), batch(1)]


def test_past_its_bound_logs_are_dropped_and_counted_but_no_outcome_is(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LOGS_UNTIL", 1000)
    spool = Spool(file)
    for number in range(40):
        spool.append(batch(number))
    found = list(spool.batches())
    assert [b.endings[0].outcome.run_id for b in found] == [f"run-{n}" for n in range(40)]
    with_logs = sum(1 for b in found if b.logs)
    assert 0 < with_logs < 10
    spool.append(Batch(logs=[said("alone")]))
    assert spool.clear() == (41 - with_logs, 0)


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """What a full disk does: a write that is cut short, then an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_no_half_of_a_batch_behind(file: Path) -> None:
    spool = Spool(file)
    spool.append(batch(0))
    with files_no_longer_than(spool.size + 20), pytest.raises(OSError, match="too large"):
        spool.append(batch(1))
    spool.append(batch(2))
    assert list(spool.batches()) == [batch(0), batch(2)]
    assert all(json.loads(line) for line in file.read_text().splitlines())
