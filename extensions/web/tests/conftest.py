"""A small site on a real database: write files, publish, look at what readers get."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import scheduler_web
from scheduler_web.config import WebConfig
from scheduler_web.publish.pipeline import PublishParameters, publish
from scheduler_web.publish.steps import STEPS, Step

from scheduler_daemon.extension import JobResult
from scheduler_daemon.testing import MakeDatabase

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
HERE = Path(scheduler_web.__file__).parent


@dataclass
class RecordedStep:
    name: str
    failed: bool = False
    error: str | None = None

    def __enter__(self) -> RecordedStep:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is not None:
            self.failed, self.error = True, str(error)
        return isinstance(error, Exception)


@dataclass
class Recorder:
    lines: list[str] = field(default_factory=list)

    def _log(self, message: str, /, **fields: Any) -> None:
        logging.getLogger("publish").debug(message)
        self.lines.append(message)

    debug = info = warning = error = exception = _log


@dataclass(kw_only=True)
class Context:
    """What the worker gives a run, as far as publishing uses it."""

    config: WebConfig
    base_dir: Path
    url: str
    parameters: Any = None
    timezone: str = "UTC"
    cancelled: bool = False
    steps: list[RecordedStep] = field(default_factory=list)
    logger: Recorder = field(default_factory=Recorder)
    templates: list[tuple[str, Path]] = field(default_factory=list)
    assets: list[tuple[str, Path]] = field(default_factory=list)

    @contextmanager
    def sync_db(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.url) as connection:
            yield connection

    def step(self, name: str, *, continue_on_error: bool = False) -> RecordedStep:
        self.steps.append(RecordedStep(name))
        return self.steps[-1]

    def progress(self, done: int, total: int | None = None, note: str = "") -> None: ...

    def resources(self, kind: str) -> Sequence[tuple[str, Path]]:
        ours = {"web.templates": HERE / "theme/templates", "web.assets": HERE / "theme/assets"}[kind]
        return [("web", ours), *(self.templates if kind == "web.templates" else self.assets)]


@dataclass
class Run:
    result: JobResult
    context: Context

    @property
    def log(self) -> str:
        return "\n".join(self.context.logger.lines)


class WorkSite:
    """A folder with posts in content/ and a guide in guide/, published into out/."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.now = NOON
        self.templates: list[tuple[str, Path]] = []
        self.assets: list[tuple[str, Path]] = []
        self.config: dict[str, Any] = {
            "site": {"name": "A site", "description": "About things", "base_url": "https://example.org"},
            "output": "out",
            "processes": 2,
            "content_sources": {
                "blog": {
                    "path": "content",
                    "sitemap": {"url_pattern": "/blog/{slug}/", "parent_route": {"url": "/blog/"}},
                },
                "guide": {"path": "guide", "layout": "docs", "sitemap": {"url_pattern": "/guide/{slug}/"}},
            },
        }
        (folder / "content").mkdir(parents=True)
        (folder / "guide").mkdir()

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def write(self, path: str, text: str | bytes) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def post(self, name: str, body: str = "Some text.\n", **fields: Any) -> Path:
        values = {"title": name.capitalize(), "published_at": "2026-11-01", **fields}
        head = "".join(f"{key}: {value}\n" for key, value in values.items())
        return self.write(f"content/{name}.md", f"---\n{head}---\n{body}")

    def context(self, **parameters: Any) -> Context:
        return Context(
            config=WebConfig.model_validate(self.config),
            base_dir=self.folder,
            url=self.url,
            parameters=PublishParameters(**parameters),
            templates=self.templates,
            assets=self.assets,
        )

    def publish(self, *names: str, **parameters: Any) -> Run:
        """All steps, or those named."""
        context = self.context(**parameters)
        steps: Sequence[Step] = [step for step in STEPS if not names or step.name in names]
        return Run(publish(context, steps, clock=lambda: self.now), context)  # type: ignore[arg-type]

    def read(self, path: str) -> str:
        return (self.out / path).read_text("utf-8")

    def tree(self) -> dict[str, bytes]:
        """Every published file with its bytes."""
        root = self.out.resolve()
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def elsewhere(self, folder: Path) -> WorkSite:
        """The same content and database, published anew to another place."""
        other = WorkSite.__new__(WorkSite)
        other.__dict__.update(self.__dict__)
        other.config = {**self.config, "output": str(folder / "clean")}
        other.folder = self.folder
        return other


@pytest.fixture
def work_site(tmp_path: Path, make_database: MakeDatabase) -> WorkSite:
    return WorkSite(tmp_path, make_database(HERE / "migrations", scheduler=False))


@pytest.fixture
def make_site(tmp_path: Path, make_database: MakeDatabase) -> Callable[[str], WorkSite]:
    return lambda name: WorkSite(tmp_path / name, make_database(HERE / "migrations", scheduler=False))
