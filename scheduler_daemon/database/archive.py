"""Backup to one file, and back from it: pg_dump's custom format, in which `pg_restore --list` looks, too.

A restore never touches what is there: it fills an empty database, in one transaction, or it fills a new
one and puts it in the old one's place, which stays under another name.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import LiteralString, cast

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from scheduler_daemon.database import clients
from scheduler_daemon.database.pools import border, connect, describe
from scheduler_daemon.database.roles import JOB_ROLE, ensure_job_role
from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError

_NAME = "scheduler-daemon backup"
_SOMEBODY_S = (
    "relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relnamespace NOT IN "
    "(SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%' OR nspname = 'information_schema')"
)
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<what>.*) (?P<owner>\S+)")
_MARK = re.compile(rb"^ALTER (?:FOREIGN )?TABLE .+ SET \(pg_attver=\d+\);\n", re.MULTILINE)
_MARK_AMONG_OTHERS = re.compile(
    rb"^(ALTER (?:FOREIGN )?TABLE .+ SET \(.*?)(?:, pg_attver=\d+|pg_attver=\d+, )(.*\);)$", re.MULTILINE
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A backup file, looked into: how many tables have their rows in it, and whose objects it holds."""

    file: Path
    size: int
    tables: int
    owners: frozenset[str]


async def backup(url: str, file: Path, *, overwrite: bool = False) -> Archive:
    """Write the whole database to `file` (0600), which appears only once it has been read back in full.

    Raises DatabaseUnusableError (no fitting pg_dump; `file` exists), DatabaseUnavailableError (no room).
    """
    if await asyncio.to_thread(file.exists) and not overwrite:
        raise DatabaseUnusableError(f"{file} exists already; name another file")
    programs = await clients.fitting(url, "pg_dump")
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.touch(mode=0o600)
        await clients.run(programs.program("pg_dump"), "--format=custom", f"--file={partial}", url=url)
        await clients.run(clients.newest_reader().program("pg_restore"), "--file=/dev/null", str(partial))
        found = await inspect(partial)
        await asyncio.to_thread(_publish, partial, file)
    except OSError as exc:
        raise DatabaseUnavailableError(f"{file}: cannot be written: {exc.strerror}") from exc
    finally:
        with suppress(OSError):
            partial.unlink()
    return dataclasses.replace(found, file=file)


async def inspect(file: Path) -> Archive:
    """What is in a backup. Raises DatabaseUnusableError if it is no backup of ours."""
    try:
        size = (await asyncio.to_thread(file.stat)).st_size
        listing = await clients.run(clients.newest_reader().program("pg_restore"), "--list", str(file))
    except OSError as exc:
        raise DatabaseUnusableError(f"{file}: cannot be read: {exc.strerror}") from exc
    except DatabaseUnavailableError as exc:
        raise DatabaseUnusableError(f"{file} is no backup, or a damaged one: {exc}") from exc
    entries = [entry for line in listing.splitlines() if (entry := _ENTRY.fullmatch(line))]
    rows = [entry["what"] for entry in entries if entry["what"].startswith("TABLE DATA ")]
    if "TABLE DATA scheduler migrations" not in rows:
        raise DatabaseUnusableError(f"{file} is no backup of this daemon: it has no schema `scheduler`")
    return Archive(
        file=file, size=size, tables=len(rows), owners=frozenset(entry["owner"] for entry in entries)
    )


async def restore(url: str, file: Path) -> Archive:
    """Fill the empty database at `url` from `file`, wholly or not at all.

    Where `url` is a superuser's and the owners' roles exist, objects keep their owners; otherwise all is its
    user's. Rights granted to other roles than the jobs' are not restored.
    Raises DatabaseUnusableError (not empty; no backup; damaged), DatabaseUnavailableError.
    """
    found = await inspect(file)
    await _refuse_unless_empty(url)
    superuser = await _ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if superuser and JOB_ROLE in found.owners:
        await ensure_job_role(url)
    roles = cast("list[str]", await _ask(url, "SELECT array_agg(rolname::text) FROM pg_roles"))
    owners = () if superuser and found.owners.issubset(roles) else ("--no-owner",)
    try:
        await _fill(url, file, *owners)
    except DatabaseUnavailableError as exc:
        raise DatabaseUnusableError(f"{file} cannot be restored, and nothing was: {exc}") from exc
    if superuser and JOB_ROLE in {*roles, *found.owners}:
        await ensure_job_role(url)
    async with await connect(url, application_name=_NAME) as connection:
        with border(describe(url)):
            await connection.execute("ANALYZE")
    return found


async def _fill(url: str, file: Path, *options: str) -> None:
    """By way of a script, since pg_restore asks for a setting that servers before 17 do not know."""
    programs = clients.newest_reader()
    script = (programs.program("pg_restore"), "--no-privileges", *options, "--file=-", str(file))
    psql = (
        programs.program("psql"),
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--single-transaction",
    )
    old = await _ask(url, "SELECT current_setting('server_version_num')::int < 170000")
    without = b"SET transaction_timeout = 0;\n" if old else b""
    definitions = _unmarked(await clients.output(*script, "--section=pre-data"))
    rows = (*script, "--section=data", "--section=post-data")
    await clients.feed(definitions, rows, (*psql, "--file=-"), url=url, without=without)


def _unmarked(definitions: bytes) -> bytes:
    """Without pg_attver, PostgreSQL's own note beside each column since its releases of November 2026: an
    older pg_dump takes it for an option and writes it down, and an older server refuses it.
    """
    return _MARK_AMONG_OTHERS.sub(rb"\1\2", _MARK.sub(b"", definitions))


async def replace(url: str, file: Path, *, now: datetime) -> str:
    """Restore `file` into a new database and give it the name of the one at `url`; nobody may be connected.

    Returns the name under which the old one stays. `url`'s user must be allowed to create databases.
    """
    name = str(conninfo_to_dict(url)["dbname"])
    fresh, old = f"{name}_restoring", f"{name}_before_{now:%Y%m%d_%H%M%S}"
    maintenance = make_conninfo(url, dbname="postgres")
    await _tell(maintenance, "DROP DATABASE IF EXISTS {} WITH (FORCE)", fresh)
    await _tell(maintenance, "CREATE DATABASE {} TEMPLATE template0", fresh)
    try:
        await restore(make_conninfo(url, dbname=fresh), file)
        await _swap(maintenance, name, fresh, old)
    except BaseException:
        await _tell(maintenance, "DROP DATABASE IF EXISTS {} WITH (FORCE)", fresh)
        raise
    return old


async def _swap(maintenance: str, name: str, fresh: str, old: str) -> None:
    async with await connect(maintenance, application_name=_NAME) as connection:
        with border(describe(maintenance)):
            async with connection.transaction():
                for before, after in ((name, old), (fresh, name)):
                    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                    await connection.execute(rename.format(sql.Identifier(before), sql.Identifier(after)))


async def _tell(url: str, statement: LiteralString, name: str) -> None:
    async with await connect(url, application_name=_NAME) as connection:
        with border(describe(url)):
            await connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


async def _refuse_unless_empty(url: str) -> None:
    """An empty database has no table, view or sequence of anybody's."""
    if await _ask(url, f"SELECT EXISTS (SELECT FROM pg_class WHERE {_SOMEBODY_S})"):  # noqa: S608 # constant
        raise DatabaseUnusableError(f"{describe(url)} is not empty; name an empty one, or replace it")


async def _ask(url: str, query: str) -> object:
    async with await connect(url, application_name=_NAME) as connection:
        with border(describe(url)):
            row = await (await connection.execute(query.encode())).fetchone()
    return row and row[0]


def _publish(partial: Path, file: Path) -> None:
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.rename(file)
