"""What systemd hears, and when it stops hearing."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scheduler_daemon import systemd
from scheduler_daemon.model import JobSpec
from scheduler_daemon.operations.pulse import Pulse
from scheduler_daemon.runner.book import Book, PlannedJob, timetable

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield ear


def heard(ear: socket.socket) -> list[str]:
    return ear.recv(4096).decode().split("\n")


def test_a_ping_goes_out_while_nothing_is_stalled(manager: socket.socket) -> None:
    troubles: list[str | None] = [None, "the engine has made no turn for 31 s", None]
    watchdog = systemd.Watchdog(lambda: troubles.pop(0), lambda: "next a at\n12:00:00 UTC")

    watchdog.look()
    assert heard(manager) == ["WATCHDOG=1", "STATUS=next a at 12:00:00 UTC"]
    watchdog.look()
    assert heard(manager) == ["STATUS=the engine has made no turn for 31 s"]
    watchdog.look()
    assert heard(manager) == ["WATCHDOG=1", "STATUS=next a at 12:00:00 UTC"]


async def test_it_pings_by_itself_several_times_within_the_limit(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    watchdog = systemd.Watchdog(lambda: None, lambda: "well")
    await watchdog.start()
    for _ in range(3):
        assert "WATCHDOG=1" in await asyncio.to_thread(heard, manager)
    await watchdog.stop()
    await watchdog.stop()


def test_no_limit_is_read_from_another_processs_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    assert systemd.watchdog_limit() == 60
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert systemd.watchdog_limit() == 60
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert systemd.watchdog_limit() is None
    monkeypatch.setenv("WATCHDOG_PID", "")
    monkeypatch.setenv("WATCHDOG_USEC", "nonsense")
    assert systemd.watchdog_limit() is None


class Parts:
    """As much of a house as a pulse looks at."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits_for_database = False
        self.poked = 0
        self.hold: dict[str, str] = {}
        self.jobs = [
            JobSpec(name="late", extension="x", job="late", schedule="0 30 14 * * *"),
            JobSpec(name="soon", extension="x", job="soon", schedule="0 5 * * * *"),
            JobSpec(name="too", extension="x", job="too", schedule="0 5 * * * *"),
            JobSpec(name="off", extension="x", job="off", schedule="* * * * * *", enabled=False),
        ]
        book = Book(jobs={s.name: PlannedJob(spec=s, table=timetable(s), watermark=NOON) for s in self.jobs})
        self.dispatcher = SimpleNamespace(
            turned_at=0.0,
            turning=(None,),
            waiting=[1, 2],
            readiness=SimpleNamespace(hold=self.hold),
            poke=self._poke,
        )
        self.engine = SimpleNamespace(turned_at=0.0)
        self.house: Any = SimpleNamespace(
            runner=SimpleNamespace(dispatcher=self.dispatcher, pool=SimpleNamespace(running=[1])),
            engine=self.engine,
            gateway=SimpleNamespace(serves=lambda task: self.waits_for_database),
            clock=SimpleNamespace(now=lambda: NOON),
            book=book,
            ready=True,
        )

    def _poke(self) -> None:
        self.poked += 1


def look_for(parts: Parts, pulse: Pulse, seconds: int, *, turning: str) -> str | None:
    """A look each 5 s; the parts named turn in between."""
    said = None
    for _ in range(seconds // 5):
        parts.now += 5
        if "engine" in turning:
            parts.engine.turned_at = parts.now
        if "dispatcher" in turning:
            parts.dispatcher.turned_at = parts.now
        said = pulse.stalled()
    return said


@pytest.mark.parametrize(
    ("turning", "verdict"),
    [
        ("engine, dispatcher", None),
        ("engine", "the dispatcher has made no turn for 35 s"),
        ("dispatcher", "the engine has made no turn for 35 s"),
    ],
)
def test_whoever_makes_no_turn_is_named(turning: str, verdict: str | None) -> None:
    parts = Parts()
    pulse = Pulse(parts.house, limit_s=30, clock=lambda: parts.now)

    assert look_for(parts, pulse, 40, turning=turning) == verdict
    assert parts.poked == 8


def test_waiting_for_the_database_is_no_stall() -> None:
    parts = Parts()
    parts.waits_for_database = True
    pulse = Pulse(parts.house, limit_s=30, clock=lambda: parts.now)

    assert look_for(parts, pulse, 600, turning="engine") is None


def test_a_process_that_was_stopped_does_not_blame_its_parts() -> None:
    parts = Parts()
    pulse = Pulse(parts.house, limit_s=30, clock=lambda: parts.now)
    look_for(parts, pulse, 40, turning="engine, dispatcher")
    parts.now += 3600

    assert pulse.stalled() is None
    assert look_for(parts, pulse, 40, turning="engine, dispatcher") is None


def test_the_status_says_what_comes_next() -> None:
    parts = Parts()
    pulse = Pulse(parts.house, limit_s=30)
    assert pulse.status() == "next soon and 1 more at 12:05:00 UTC; 1 running, 2 waiting"

    parts.hold["database_down"] = "database away since 11:59:00 UTC"
    assert pulse.status().startswith("database away since 11:59:00 UTC; next soon")

    parts.house.clock.now = lambda: NOON + timedelta(hours=11, minutes=58)
    assert "next soon and 1 more at 2026-05-02 00:05:00 UTC" in pulse.status()
