"""journald's own protocol, read back from a socket in its place."""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from scheduler_daemon import journal, logs
from scheduler_daemon.journal import Journal
from scheduler_daemon.model import LogRecord


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "journal"))
        ear.settimeout(5)
        yield ear


@pytest.fixture
def journald(ear: socket.socket) -> Iterator[Journal]:
    journald = Journal(ear.getsockname())
    yield journald
    journald.close()


def heard(ear: socket.socket) -> dict[str, str]:
    data, descriptors, _, _ = socket.recv_fds(ear, 1 << 20, 1)
    for descriptor in descriptors:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            data = file.read()
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[9 + length :]
        fields[name.decode()] = value.decode()
        data = rest
    return fields


def record(message: str = "done", **fields: object) -> LogRecord:
    return LogRecord(
        timestamp=1.0, level="WARN", module="m", message=message, run_id="r1", job="nightly", fields=fields
    )


def test_an_entry_has_its_fields(ear: socket.socket, journald: Journal) -> None:
    journald.send(record(rows=7, **{"odd name": "x"}))
    assert heard(ear) == {
        "MESSAGE": "nightly: done  rows=7 odd name=x",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "scheduler-daemon",
        "SCHEDULER_MODULE": "m",
        "SCHEDULER_JOB": "nightly",
        "SCHEDULER_RUN": "r1",
        "SCHEDULER_FIELD_ROWS": "7",
        "SCHEDULER_FIELD_ODD_NAME": "x",
    }


def test_no_value_can_forge_a_field(ear: socket.socket, journald: Journal) -> None:
    forged = "fine\nPRIORITY=0\nSCHEDULER_JOB=other"
    journald.send(record(forged, detail=forged, **{"A=1\nPRIORITY": "0"}))
    fields = heard(ear)
    assert fields["PRIORITY"] == "4"
    assert fields["SCHEDULER_JOB"] == "nightly"
    assert fields["SCHEDULER_FIELD_DETAIL"] == forged
    assert fields["SCHEDULER_FIELD_A_1_PRIORITY"] == "0"


def test_what_is_too_large_for_a_datagram_goes_as_a_file(ear: socket.socket, journald: Journal) -> None:
    journald.send(record(traceback="x" * 3_000_000))
    assert len(heard(ear)["SCHEDULER_FIELD_TRACEBACK"]) == 3_000_000


def test_nobody_waits_for_a_journald_that_is_gone_or_slow(ear: socket.socket, journald: Journal) -> None:
    for _ in range(5000):
        journald.send(record())
    assert journald.lost > 0
    gone = Journal("/nowhere/at/all")
    gone.send(record())
    gone.close()
    assert gone.lost == 1


def test_the_journal_is_known_by_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert journal.ours()
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
    assert not journal.ours()
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not journal.ours()


def test_under_systemd_each_line_goes_to_the_journal_once(
    ear: socket.socket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(journal, "ours", lambda: True)
    monkeypatch.setattr(journal, "SOCKET", ear.getsockname())
    tap = logs.configure(level="INFO", as_json=False)
    told: list[LogRecord] = []
    tap.sink = told.append
    try:
        log = structlog.get_logger("scheduler_daemon.test")
        log.info("reload refused", why="five fields", job="nightly")
        log.warning("run failed", recorded=True)
        log.debug("silence")
        logging.getLogger("urllib3").error("a library complains")
    finally:
        assert tap.journald is not None
        tap.journald.close()
        monkeypatch.undo()
        logs.configure(level="WARNING", as_json=False)
    fields = heard(ear)
    assert fields["MESSAGE"] == "nightly: reload refused  why=five fields"
    assert fields["SCHEDULER_MODULE"] == "scheduler_daemon.test"
    assert len(told) == 1
    fields = heard(ear)
    assert (fields["MESSAGE"], fields["PRIORITY"]) == ("urllib3: a library complains", "3")
    ear.setblocking(False)
    with pytest.raises(BlockingIOError):
        ear.recv(10)
    assert capsys.readouterr().err == ""
    assert sys.stderr is not None
