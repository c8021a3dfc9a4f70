"""The guide's pages about extensions, done as they say, on a machine with a running daemon.

Every command runs and every listing is used: `sh` is run; `text` is what the commands before it print (`…`
stands for anything); `yaml` is added to the configuration; a block with a title is that file, or a part of
it where it is there already; `sql` is run; other blocks must at least be what they say they are.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import yaml

Machine = Any
DOCS = Path(__file__).parents[3] / "docs"
PAGES = (
    "writing-a-job",
    "test-an-extension",
    "extension-configuration",
    "extension-database",
    "package-an-extension",  # last: it moves all jobs to another environment
)
REPLACED = {"alerts/scheduler_alerts/__init__.py", "visits/scheduler_visits/__init__.py"}
FAILING = {".venv/bin/scheduler-daemon check --config config/mistakes.yaml\n": 1}
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    title: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    for found in BLOCK.finditer((DOCS / f"{page}.md").read_text()):
        yield Block(found[1], found[2] or "", found[3])


@pytest.fixture(scope="module")
def machine(make_module_machine: Any) -> Machine:
    """`python3 -m venv` on it makes environments that need no network."""
    one = make_module_machine()
    tools = one.home / ".tools"
    tools.mkdir()
    conftest = Path(__file__).with_name("conftest.py")
    (tools / "python3").write_text(
        f"#!{sys.executable}\n"
        "import sys\nfrom pathlib import Path\nfrom importlib.util import module_from_spec as make\n"
        "from importlib.util import spec_from_file_location as spec_of\n"
        f"spec = spec_of('conftest', {str(conftest)!r})\nmodule = make(spec)\n"
        "sys.modules['conftest'] = module\nspec.loader.exec_module(module)\n"
        "assert sys.argv[1:3] == ['-m', 'venv']\nmodule.make_environment(Path(sys.argv[3]).absolute())\n"
    )
    (tools / "python3").chmod(0o755)
    one.environ, one.tools = {"ALERTS_TOKEN": "hush"}, str(tools)
    one.start()
    return one


@pytest.mark.parametrize("page", PAGES)
def test_the_page_does_what_it_says(machine: Machine, page: str) -> None:
    Reader(machine).read(page)


class Reader:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._printed = ""

    def read(self, page: str) -> None:
        for block in blocks(page):
            if block.title:
                self._file(block)
            else:
                getattr(self, f"_{block.language}")(block.text)

    def _file(self, block: Block) -> None:
        file = self._machine.home / block.title
        if file.exists() and block.title not in REPLACED:
            assert block.text in file.read_text(), f"{block.title} is not as the page shows it"
        else:
            file.write_text(block.text)

    def _sh(self, text: str) -> None:
        self._printed = self._machine.sh(text, status=FAILING.get(text, 0))

    def _text(self, text: str) -> None:
        for line in text.splitlines():
            wanted = ".*".join(re.escape(part.strip()) for part in line.split("…"))
            assert re.search(wanted, self._printed), f"{line}\nis not in\n{self._printed}"

    def _yaml(self, text: str) -> None:
        told = yaml.safe_load(text)
        jobs = told.pop("scheduler", {}).get("jobs", [])
        names = {job["name"] for job in jobs}
        self._machine.jobs[:] = [job for job in self._machine.jobs if job["name"] not in names]
        self._machine.schedule(*jobs, **told)

    def _sql(self, text: str) -> None:
        with psycopg.connect(self._machine.url) as connection:
            connection.execute(text.encode())

    def _python(self, text: str) -> None:
        compile(text, "listing", "exec")

    def _toml(self, text: str) -> None:
        tomllib.loads(text)


def test_the_pages_name_each_other() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / f"{page}.md").read_text()):
            assert (DOCS / link).exists(), f"{page}.md: {link}"
