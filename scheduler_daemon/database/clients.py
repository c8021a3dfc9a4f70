"""PostgreSQL's client programs, run on a database. Passwords travel in the environment."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from scheduler_daemon.database import binaries
from scheduler_daemon.database.pools import connect
from scheduler_daemon.errors import DatabaseUnavailableError, DatabaseUnusableError

CHUNK = 256 * 1024
HEAD = 4096
"""Bytes of a script in which its opening SET statements stand."""


async def fitting(url: str, program: str) -> binaries.Binaries:
    """The installation whose `program` suits the server at `url`."""
    async with await connect(url, application_name="scheduler-daemon") as connection:
        number = connection.info.server_version
        local = connection.info.host.startswith("/")
    version = f"{number // 10000}.{number % 10000}"
    return await asyncio.to_thread(binaries.for_server, version, program, over_network=not local)


def newest_reader() -> binaries.Binaries:
    """The newest installation here that has pg_restore: it reads every older archive."""
    found = [*binaries.installed(), *binaries.system("pg_restore")]
    if not found:
        raise DatabaseUnusableError("pg_restore is not here: install postgresql-client")
    return max(found, key=lambda programs: programs.major)


async def run(*command: str, url: str | None = None) -> str:
    """What `command` prints, as text; see `output`."""
    return (await output(*command, url=url)).decode(errors="replace")


async def output(*command: str, url: str | None = None) -> bytes:
    """What `command` prints; with `url`, it is run on that database. Cancelled, it is killed.

    Raises DatabaseUnavailableError with its first complaint if it fails.
    """
    async with _started(*command, url=url) as process:
        said, complaint = await process.communicate()
    _check(process, complaint)
    return said


async def feed(
    opening: bytes, source: Sequence[str], target: Sequence[str], *, url: str, without: bytes = b""
) -> None:
    """Run `target` on the database at `url` with `opening` and then what `source` prints.

    `without` is one line of each one's head that is left out.
    If `source` fails, `target` is killed before its input ends, so that it does not commit a part.
    Raises DatabaseUnavailableError with the first complaint.
    """
    async with _started(*source) as giver, _started(*target, url=url) as taker:
        complaints = asyncio.gather(_rest(giver.stderr), _rest(taker.stderr), _rest(taker.stdout))
        with suppress(ConnectionError):  # the taker gave up: it says why
            await _say(taker, opening.replace(without, b"", 1))
            await _pump(giver, taker, without)
        if await taker.wait() != 0 and giver.returncode is None:
            giver.kill()
        await giver.wait()
        given, taken, _ = await complaints
    if taker.returncode is not None and taker.returncode > 0:
        _check(taker, taken)
    _check(giver, given)
    _check(taker, taken)


@asynccontextmanager
async def _started(*command: str, url: str | None = None) -> AsyncIterator[Process]:
    environment = {**os.environ, "LC_ALL": "C"}
    if url is not None:
        parameters = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
        password = parameters.pop("password", None)
        environment |= {"PGPASSWORD": str(password)} if password else {}
        command = (command[0], f"--dbname={make_conninfo('', **parameters)}", *command[1:])
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _pump(giver: Process, taker: Process, without: bytes) -> None:
    assert giver.stdout is not None
    assert taker.stdin is not None
    head = await _head(giver.stdout)
    await _say(taker, head.replace(without, b"", 1))
    while chunk := await giver.stdout.read(CHUNK):
        await _say(taker, chunk)
    if await giver.wait() != 0:
        taker.kill()
    taker.stdin.close()


async def _say(taker: Process, text: bytes) -> None:
    assert taker.stdin is not None
    taker.stdin.write(text)
    await taker.stdin.drain()


async def _rest(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream is not None else b""


async def _head(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readexactly(HEAD)
    except asyncio.IncompleteReadError as exc:
        return exc.partial


def _check(process: Process, complaint: bytes) -> None:
    if process.returncode == 0:
        return
    lines = [line.strip() for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    first = next(
        (line for line in lines if "error" in line.lower()), (lines or ["it ended without a word"])[0]
    )
    raise DatabaseUnavailableError(first)
