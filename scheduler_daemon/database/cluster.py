"""A folder with a PostgreSQL cluster in it: made, configured, started. Everything here blocks.

FOLDER/data              the cluster; appears in one rename, complete
FOLDER/upgraded          what upgrade-database made, until it takes the place of `data`
FOLDER/data.unfinished   an initdb that has not ended
FOLDER/postgresql.conf   written at each start; `local.conf` beside it, if any, is read after it
FOLDER/postgres.log      what the server says
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from scheduler_daemon.database.binaries import Binaries
from scheduler_daemon.database.confinement import Confinement, confinement
from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError

SUPERUSER = "postgres"
PORT = 5432
SPACE = 100 * 1024 * 1024
"""Bytes of disk that a new cluster wants."""
SHARED_MEMORY = Path("/dev", "shm")
SHARED_ROOM = 32 * 1024 * 1024
"""Bytes that must be free there, or PostgreSQL keeps in files what its processes share."""
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "huge_pages": "off",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "max_worker_processes": "2",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "1",
    "client_connection_check_interval": "1s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
    "logging_collector": "off",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    folder: Path
    binaries: Binaries
    sockets: Path
    """The folder of the server's socket, 0700."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def confinement(self) -> Confinement:
        try:
            return confinement(self.data.stat().st_uid if self.data.exists() else None)
        except DatabaseUnusableError as exc:
            raise DatabaseUnusableError(f"{self.data}: {exc}" if self.data.exists() else str(exc)) from exc

    def url(self, database: str, user: str = SUPERUSER) -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self.sockets), safe='')}&port={PORT}"

    def exists(self) -> bool:
        """Whether there is a cluster, whole. An empty folder in its place is removed."""
        with contextlib.suppress(OSError):
            self.data.rmdir()
        return self.data.exists()

    def finish_upgrade(self) -> bool:
        """Put the cluster of a complete upgrade in this one's place; whether there was one to put."""
        ready = self.folder / "upgraded" / "postgres" / "data"
        if not ready.exists():
            return False
        if self.data.exists():
            self.data.rename(self.folder / f"data.{self.major()}")
        ready.rename(self.data)
        shutil.rmtree(self.folder / "upgraded")
        return True

    def major(self) -> int:
        """The major version that made the cluster. Raises DatabaseUnusableError if there is none to read."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except (OSError, ValueError) as exc:
            raise DatabaseUnusableError(
                f"{self.data} is not a PostgreSQL data directory (no PG_VERSION in it); move it away"
            ) from exc

    def check(self) -> None:
        """Raises DatabaseUnusableError unless these programs can serve this cluster, as this user."""
        major, ours = self.major(), self.binaries.major
        if major < ours:
            raise DatabaseUnusableError(
                f"{self.data} was made by PostgreSQL {major}, and this is {ours}: "
                "run scheduler-daemon upgrade-database"
            )
        if major > ours:
            raise DatabaseUnusableError(
                f"{self.data} was made by PostgreSQL {major}, which is newer than this one, {ours}; "
                "install the version of the daemon that made it"
            )
        _ = self.confinement

    def create(self, *extra: str) -> None:
        """Make the cluster, in UTF-8 with PostgreSQL's own C.UTF-8 rules, which no system update changes.

        `extra` are options of initdb; they win over ours. Raises DatabaseUnavailableError.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self.folder / "data.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        free = shutil.disk_usage(self.folder).free
        if free < SPACE:
            raise DatabaseUnavailableError(
                f"{self.folder}: a new database needs {SPACE >> 20} MB of disk, and {free >> 20} MB are free"
            )
        options = ["--auth-local=trust", "--auth-host=reject", f"--username={SUPERUSER}", "--encoding=UTF8"]
        builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        options += builtin if self.binaries.major >= 17 else ("--locale=C.UTF-8",)
        if self.binaries.major >= 16 and scarce_memory():
            options += ["--set=dynamic_shared_memory_type=mmap"]
        options += ["--wal-segsize=4", "--no-instructions", *extra]
        command = self.confinement.command(
            self.binaries.program("initdb"), f"--pgdata={unfinished}", *options, dies_with_parent=True
        )
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
        if done.returncode != 0:
            raise DatabaseUnavailableError(f"initdb in {self.folder} failed: {_last_line(done.stderr)}")
        unfinished.rename(self.data)

    def configure(self, extra: Mapping[str, str] | None = None) -> None:
        """Write postgresql.conf; `extra` settings win over ours."""
        shared = "mmap" if scarce_memory() else "posix"
        settings = {
            **SETTINGS,
            "unix_socket_directories": str(self.sockets),
            "dynamic_shared_memory_type": shared,
            **({"io_method": "sync"} if self.binaries.major >= 18 else {}),
            **(extra or {}),
        }
        lines = [f"{name} = {_quoted(value)}\n" for name, value in settings.items()]
        if (self.folder / "local.conf").exists():
            lines.append("include 'local.conf'\n")
        text = "# Written at each start. Your own settings: local.conf beside this file.\n" + "".join(lines)
        (self.folder / "postgresql.conf").write_text(text)

    def command(self) -> list[str]:
        """What starts the server in the foreground."""
        server = (self.binaries.program("postgres"), "-D", str(self.data), "-p", str(PORT))
        configuration = f"config_file={self.folder / 'postgresql.conf'}"
        return self.confinement.command(*server, "-c", configuration, dies_with_parent=True)

    def ready(self) -> bool:
        """Whether the server takes connections (the last line of its postmaster.pid says so)."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def open_log(self) -> BinaryIO:
        """postgres.log for appending, so that it can be cut while the server writes."""
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "ab")

    def log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def rotate_log(self, limit: int) -> None:
        """Beyond `limit` bytes, move what postgres.log says to postgres.log.1."""
        if self.log_size() <= limit:
            return
        shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
        os.truncate(self.log, 0)

    def last_words(self, since: int = 0) -> str:
        """The server's last complaint after byte `since` of its log, for an error message."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(since, self.log_size() - 20_000))
                return _last_line(log.read().decode(errors="replace"))
        except OSError:
            return "it said nothing"


def scarce_memory() -> str | None:
    """Why the machine's shared memory does not serve; None: it does."""
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError as exc:
        return f"{SHARED_MEMORY} is not there: {exc.strerror}"
    if not os.access(SHARED_MEMORY, os.W_OK):
        return f"{SHARED_MEMORY} cannot be written"
    if free < SHARED_ROOM:
        return f"{SHARED_MEMORY} has {free >> 20} MB free, and {SHARED_ROOM >> 20} MB are wanted"
    return None


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    grave = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    return (grave or lines or ["it said nothing"])[-1]
