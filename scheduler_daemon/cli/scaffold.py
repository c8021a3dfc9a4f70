"""`new-extension`: a whole package from the templates beside this file."""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).parent / "templates" / "extension"
SUFFIX = ".tmpl"
LONGEST = 40
TAKEN = ("daemon", "core", "web")
_NAME = re.compile(r"[a-z]([a-z0-9_-]*[a-z0-9])?")


class ScaffoldError(ValueError):
    """One line: what is wrong, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """What a new extension's things are called: the distribution as PEP 508 has it, the module as Python."""

    name: str
    folder: str
    distribution: str
    module: str
    table: str
    job: str

    @classmethod
    def of(cls, name: str) -> Names:
        """Raises ScaffoldError for what cannot be a name of all these."""
        _check(name)
        word = name.replace("-", "_")
        return cls(
            name=name,
            folder=name,
            distribution="scheduler-" + re.sub("[-_]+", "-", name),
            module=f"scheduler_{word}",
            table=f"{word}_greetings",
            job=f"{word}_hello",
        )


def write_extension(name: str, into: Path) -> Names:
    """Write the package into a new folder of `into`, whole or not at all. Raises ScaffoldError."""
    names = Names.of(name)
    target = into / names.folder
    if target.exists() or target.is_symlink():
        raise ScaffoldError(f"{target} is there already: choose another name, or another folder with --into")
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{names.folder}-", dir=into) as scratch:
            _fill(Path(scratch, "new"), names)
            Path(scratch, "new").rename(target)
    except OSError as error:
        raise ScaffoldError(f"{target} cannot be written: {error.strerror}") from error
    return names


def next_steps(names: Names, into: Path) -> str:
    """What to type next, for whoever just made one."""
    folder, programs = into / names.folder, Path(sys.executable).parent
    return f"""\
{folder} is an extension with one job, {names.job}.

1. Install it into the daemon's environment:

     {programs / "pip"} install {folder if folder.is_absolute() else f"./{folder}"}

2. Schedule its job, under scheduler.jobs in the configuration:

     - name: {names.job}
       extension: {names.name}
       job: {names.job}
       schedule: "0 0 * * * *"
       enabled: true

3. Let the running daemon pick both up, and run the job once:

     {programs / "systemprompt"} infra scheduler reload
     {programs / "systemprompt"} infra jobs run {names.job}"""


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        hint = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:LONGEST].strip("_")
        instead = f"; did you mean {hint}?" if _NAME.fullmatch(hint) else ""
        raise ScaffoldError(
            f"{name!r} cannot name an extension: lower-case letters, digits, _ and -, "
            f"from a letter to a letter or digit, at most {LONGEST}{instead}"
        )
    if name in TAKEN:
        raise ScaffoldError(f"{name!r} is taken: scheduler-{name} is a package of the daemon's own")


def _fill(folder: Path, names: Names) -> None:
    for template in sorted(TEMPLATES.rglob(f"*{SUFFIX}")):
        place = template.relative_to(TEMPLATES).as_posix().removesuffix(SUFFIX)
        file = folder / place.replace("package/", f"{names.module}/", 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = Template(template.read_text(encoding="utf-8")).substitute(asdict(names))
        file.write_text(text, encoding="utf-8")
