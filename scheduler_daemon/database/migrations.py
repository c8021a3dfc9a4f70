"""Numbered .sql files (0001_name.sql), each applied once, in a transaction of its own, under one lock.

What was applied stands in scheduler.migrations, per owner ("scheduler", or an extension's name), with the
file's checksum. Migrations only add, so a database that is newer than the code is a normal one.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from scheduler_daemon.database.pools import Connection, border, connect, describe
from scheduler_daemon.database.sqlfile import Statement, statements
from scheduler_daemon.errors import MigrationError

LOCK = 0x5343_4845_4455_4C45
"""Key of the advisory lock that one migrating daemon holds per database ("SCHEDULE")."""

_NAME = re.compile(r"(\d{4,9})_(\w+)\.sql")
_CONTROL = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "PREPARE"}
_BOOTSTRAP: LiteralString = """
    CREATE SCHEMA IF NOT EXISTS scheduler;
    CREATE TABLE IF NOT EXISTS scheduler.migrations (
        owner text NOT NULL,
        version integer NOT NULL,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (owner, version)
    )
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationSet:
    """One owner's folder of migrations. With `role`, they run as that role, which owns what they make."""

    owner: str
    folder: Path
    role: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    owner: str
    version: int
    name: str
    file: Path
    text: str
    role: str | None = None

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    owner: str
    version: int
    name: str
    duration_s: float


SCHEDULER = MigrationSet(owner="scheduler", folder=Path(__file__).parent / "scheduler")

Recorded = Mapping[tuple[str, int], tuple[str, str]]
"""(owner, version) → (name, checksum)"""


async def apply(
    url: str, sets: Sequence[MigrationSet], *, log: Callable[[str], None] | None = None
) -> list[Applied]:
    """Apply what is missing, in the order of `sets`, then of numbers; daemons that start at once take turns.

    Raises MigrationError: a failed statement (with file:line), an applied file that was edited or is missing,
    a folder that is not as it should be. What went before a failed file stays applied.
    """
    files = [read_folder(a_set) for a_set in sets]
    async with await connect(url, application_name="scheduler-daemon migrate") as connection:
        with border(describe(url)):
            await _lock(connection, log)
            recorded = await _recorded(connection)
        if recorded is None:
            await _bootstrap(connection)
        todo = [
            m
            for a_set, known in zip(sets, files, strict=True)
            for m in _missing(a_set, known, recorded or {})
        ]
        with border(describe(url)):
            return [await _apply_one(connection, migration) for migration in todo]


async def pending(url: str, sets: Sequence[MigrationSet]) -> list[Migration]:
    """What `apply` would apply. Raises MigrationError as it would, short of running anything."""
    files = [read_folder(a_set) for a_set in sets]
    async with await connect(url, application_name="scheduler-daemon migrate") as connection:
        with border(describe(url)):
            recorded = await _recorded(connection) or {}
    return [m for a_set, known in zip(sets, files, strict=True) for m in _missing(a_set, known, recorded)]


def read_folder(a_set: MigrationSet) -> list[Migration]:
    """The migrations of a folder, by number. Raises MigrationError naming the file that does not fit."""
    if not a_set.folder.is_dir():
        raise MigrationError(
            f"{a_set.folder}: the migrations of {a_set.owner} should be here: no such folder"
        )
    found: dict[int, Migration] = {}
    for file in sorted(a_set.folder.glob("*.sql")):
        migration = _read(a_set, file)
        if migration.version in found:
            other = found[migration.version].file.name
            raise MigrationError(f"{file}: {other} has the same number; give this one the next")
        found[migration.version] = migration
    return [found[version] for version in sorted(found)]


def _read(a_set: MigrationSet, file: Path) -> Migration:
    parts = _NAME.fullmatch(file.name)
    if parts is None:
        raise MigrationError(f"{file}: a migration is named as in 0001_what_it_does.sql")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise MigrationError(f"{file}: cannot be read: {exc}") from exc
    return Migration(
        owner=a_set.owner, version=int(parts[1]), name=parts[2], file=file, text=text, role=a_set.role
    )


async def _lock(connection: Connection, log: Callable[[str], None] | None) -> None:
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
    row = await cursor.fetchone()
    if row is not None and not row[0]:
        if log is not None:
            log("another daemon is migrating this database; waiting for it")
        await connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])


async def _bootstrap(connection: Connection) -> None:
    try:
        async with connection.transaction():
            await connection.execute(_BOOTSTRAP)
    except psycopg.Error as exc:
        raise MigrationError(f"schema scheduler cannot be made: {_message(exc)}") from exc


async def _recorded(connection: Connection) -> Recorded | None:
    cursor = await connection.execute("SELECT to_regclass('scheduler.migrations') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return None
    cursor = await connection.execute("SELECT owner, version, name, checksum FROM scheduler.migrations")
    return {(owner, version): (name, checksum) async for owner, version, name, checksum in cursor}


def _missing(a_set: MigrationSet, known: Sequence[Migration], recorded: Recorded) -> list[Migration]:
    files = {migration.version: migration for migration in known}
    newest = max(files, default=0)
    for (owner, version), (name, checksum) in sorted(recorded.items()):
        if owner != a_set.owner or version > newest:
            continue
        file = files.get(version)
        if file is None:
            raise MigrationError(
                f"{a_set.folder / f'{version:04}_{name}.sql'}: applied to this database, but the file is gone"
            )
        if file.checksum != checksum:
            raise MigrationError(
                f"{file.file}: edited after it was applied to this database; "
                "undo the edit and write a new migration"
            )
    return [migration for migration in known if (a_set.owner, migration.version) not in recorded]


async def _apply_one(connection: Connection, migration: Migration) -> Applied:
    began = time.monotonic()
    schema = "scheduler" if migration.owner == SCHEDULER.owner else "public"
    async with connection.transaction():
        await connection.execute(
            "SELECT set_config('search_path', %s, true), set_config('lock_timeout', '30s', true)", [schema]
        )
        if migration.role is not None:
            await connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(migration.role)))
        for statement in statements(migration.text):
            await _execute(connection, migration, statement)
        await connection.execute("SELECT set_config('role', 'none', true)")
        await connection.execute(
            "INSERT INTO scheduler.migrations (owner, version, name, checksum) VALUES (%s, %s, %s, %s)",
            [migration.owner, migration.version, migration.name, migration.checksum],
        )
    return Applied(
        owner=migration.owner,
        version=migration.version,
        name=migration.name,
        duration_s=time.monotonic() - began,
    )


async def _execute(connection: Connection, migration: Migration, statement: Statement) -> None:
    place = f"{migration.file}:{statement.line}"
    if statement.verb in _CONTROL:
        raise MigrationError(f"{place}: {statement.verb}: a migration is one transaction already; remove it")
    try:
        await connection.execute(statement.text.encode())
    except psycopg.Error as exc:
        raise MigrationError(f"{_place(migration, statement, exc)}: {_message(exc)}") from exc


def _place(migration: Migration, statement: Statement, exc: psycopg.Error) -> str:
    """file:line of the statement; file:line:column where PostgreSQL says where in it."""
    position = int(exc.diag.statement_position or 0)
    if position == 0:
        return f"{migration.file}:{statement.line}"
    before = migration.text[: statement.offset + position - 1]
    return f"{migration.file}:{before.count(chr(10)) + 1}:{len(before.rpartition(chr(10))[2]) + 1}"


def _message(exc: psycopg.Error) -> str:
    parts = (exc.diag.message_primary or str(exc), exc.diag.message_detail, exc.diag.message_hint)
    return "; ".join(part.strip().replace("\n", " ") for part in parts if part)
