"""A PostgreSQL for one run of the tests: thrown away at its end, however that comes.

A shell keeps the server: it waits for the end of its input, which the kernel closes even when the tests
are killed, then stops the server and removes the folder. Databases are copies of migrated templates.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from scheduler_daemon.database import binaries
from scheduler_daemon.database.cluster import ENVIRONMENT, SHARED_MEMORY, Cluster
from scheduler_daemon.database.migrations import SCHEDULER, MigrationSet, apply
from scheduler_daemon.errors import DatabaseUnavailableError

START_LIMIT_S = 60.0
PLENTY = 2 * 1024**3
CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
_KEEPER = """
folder=$1; shift
trap '' INT TERM HUP
if read -r _; then
    "$@" </dev/null & server=$!
    read -r _
    kill -QUIT $server 2>/dev/null
    wait $server
fi
for _ in 1 2 3 4 5 6 7 8 9; do
    rm -rf "$folder" 2>/dev/null && exit
    sleep 1
done
"""


class TemporaryServer:
    """Start it, make databases, stop it (twice is fine)."""

    def __init__(self, programs: binaries.Binaries | None = None) -> None:
        folder = Path(tempfile.mkdtemp(prefix="scheduler-pg-", dir=quick_place()))
        (folder / "run").mkdir(mode=0o700)
        self.cluster = Cluster(folder=folder, binaries=programs or binaries.newest(), sockets=folder / "run")
        self._keeper: subprocess.Popen[bytes] | None = None
        self._admin: psycopg.Connection[Any] | None = None
        self._templates: dict[tuple[MigrationSet, ...], str] = {}
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """The server's own database `postgres`; it stays empty."""
        return self.cluster.url("postgres")

    def start(self) -> None:
        keeper = self._keeper = self._hire()
        self.cluster.create("--no-sync")
        self.cluster.configure(CARELESS)
        assert keeper.stdin is not None
        keeper.stdin.write(b"start\n")
        keeper.stdin.flush()
        limit = time.monotonic() + START_LIMIT_S
        while not self.cluster.ready():
            if time.monotonic() > limit or "FATAL" in self.cluster.last_words():
                words = self.cluster.last_words()
                self.stop()
                raise DatabaseUnavailableError(f"the tests' PostgreSQL does not start: {words}")
            time.sleep(0.005)
        self._admin = psycopg.connect(self.url, autocommit=True, application_name="test kit")

    def stop(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None

    def make_database(self, *sets: MigrationSet) -> str:
        """The URL of a new database with these migrations; without any, it is empty.

        The first of its kind makes the template that the others are copies of.
        """
        template = self._templates.get(sets)
        if template is None:
            template = self._create("template", "template0")
            if sets:
                _in_a_thread(lambda: asyncio.run(apply(self.cluster.url(template), sets)))
            self._templates[sets] = template
        return self.cluster.url(self._create("test", template))

    def drop_database(self, url: str) -> None:
        """Also while somebody is connected."""
        name = url.partition("@/")[2].partition("?")[0]
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _hire(self) -> subprocess.Popen[bytes]:
        """A keeper, who removes the folder when we are gone; told to start, it runs the server meanwhile."""
        command = ["/bin/sh", "-c", _KEEPER, "keeper", str(self.cluster.folder), *self.cluster.command()]
        with self.cluster.open_log() as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                start_new_session=True,
            )

    def _create(self, kind: str, template: str) -> str:
        name = f"{kind}_{next(self._numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def _execute(self, statement: sql.Composed) -> None:
        if self._admin is None:
            raise DatabaseUnavailableError("the tests' PostgreSQL is not running")
        self._admin.execute(statement)


def quick_place() -> Path | None:
    """Memory, where there is plenty (a copy of a database takes 15 ms there, and 300 on a busy disk)."""
    plenty = os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free > PLENTY
    return SHARED_MEMORY if plenty else None


def scheduler_sets(*folders: Path, scheduler: bool = True) -> tuple[MigrationSet, ...]:
    """Migrations of the daemon, then of each folder; its owner is its package's name without "scheduler_"."""
    own = (SCHEDULER,) if scheduler else ()
    return (
        *own,
        *(MigrationSet(owner=f.resolve().parent.name.removeprefix("scheduler_"), folder=f) for f in folders),
    )


def _in_a_thread(work: Callable[[], object]) -> None:
    """Run `work` where no event loop runs; its exception is raised here."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:  # handed to the caller
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
