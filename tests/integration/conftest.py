"""Servers that several integration tests share, beside those of the test kit."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler_daemon.database import binaries
from scheduler_daemon.database.temporary import TemporaryServer, quick_place

DEBIAN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session", params=["the wheel's", "Debian's 15"])
def any_server(request: pytest.FixtureRequest) -> Iterator[TemporaryServer]:
    """Each PostgreSQL that we promise to work with, in turn."""
    if request.param == "the wheel's":
        server = TemporaryServer()
    elif (DEBIAN / "postgres").exists():
        server = TemporaryServer(binaries.read_binaries(DEBIAN))
    else:
        pytest.skip("Debian's postgresql-15 is not installed")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state directory where a real server's fsync costs little."""
    with tempfile.TemporaryDirectory(prefix="scheduler-state-", dir=quick_place()) as folder:
        yield Path(folder)
