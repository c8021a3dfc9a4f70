"""Templates: the site's own over the other extensions' over ours; and what each depends on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import jinja2
from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateError, TemplateNotFound, meta
from jinja2.sandbox import SandboxedEnvironment

from scheduler_web.publish.problems import PublishError

Sources = tuple[tuple[str, str, str], ...]
"""(template's name, its file, its text), sorted by name."""

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def read_templates(folders: Sequence[Path]) -> Sources:
    """The templates of all folders; of two with one name the earlier folder's counts.

    Raises PublishError naming what cannot be read.
    """
    found: dict[str, tuple[str, str]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise PublishError(f"{folder}: there is no such folder of templates")
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if name not in found and file.is_file() and not file.name.startswith((".", "~")):
                found[name] = (str(file), _read(file))
    return tuple((name, *found[name]) for name in sorted(found))


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise PublishError(f"{file}: this template cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PublishError(f"{file}: this template is not UTF-8") from None


class NoTheme:
    """Stands for templates that cannot be read: each page that asks for one fails, and the rest goes on."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        self.digest = f"no theme: {problem}"

    def __contains__(self, name: str) -> bool:
        return False

    def digest_of(self, name: str) -> str:
        return self.digest

    def render(self, name: str, context: dict[str, object]) -> str:
        raise PublishError(self.problem)


class Theme:
    """Compiled templates. `digest` stands for all of them, `digest_of` for one and what it includes."""

    def __init__(self, sources: Sources, language: str) -> None:
        self._texts = {name: (file, text) for name, file, text in sources}
        self.digest = blake2b(
            repr((jinja2.__version__, language, sources)).encode(), digest_size=16
        ).hexdigest()
        self._closures: dict[str, str] = {}
        self._environment = self._make(language)

    def __contains__(self, name: str) -> bool:
        return name in self._texts

    def render(self, name: str, context: dict[str, object]) -> str:
        """Raises PublishError naming template and line."""
        try:
            return self._environment.get_template(name).render(context)
        except Exception as error:
            raise PublishError(self._explain(name, error)) from error

    def digest_of(self, name: str) -> str:
        """Changes with the template's text and with that of any that it extends, includes or imports."""
        if name not in self._closures:
            names = self._reached(name)
            texts = [(n, self._texts.get(n, ("", ""))[1]) for n in sorted(names)]
            self._closures[name] = blake2b(
                repr((jinja2.__version__, texts)).encode(), digest_size=16
            ).hexdigest()
        return self._closures[name]

    def _reached(self, name: str) -> set[str]:
        """A name that is computed while rendering may be any: then all are reached."""
        reached: set[str] = set()
        pending = [name]
        while pending:
            current = pending.pop()
            if current in reached or current not in self._texts:
                continue
            reached.add(current)
            try:
                tree = self._environment.parse(self._texts[current][1])
            except TemplateError:
                continue
            for reference in meta.find_referenced_templates(tree):
                if reference is None:
                    return set(self._texts)
                pending.append(reference)
        return reached

    def _make(self, language: str) -> Environment:
        environment = SandboxedEnvironment(
            loader=_Loader(self._texts),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters["date"] = _written if language.split("-")[0] == "en" else _plain_date
        environment.filters["iso"] = lambda moment: moment.isoformat(timespec="seconds")
        return environment

    def _explain(self, name: str, error: Exception) -> str:
        """`file:line: message`, the line being the deepest one that lies in a template."""
        file, line = self._texts.get(name, (name, ""))[0], getattr(error, "lineno", None) or 0
        if isinstance(error, TemplateNotFound):
            return f"{file}: there is no template {error.name}"
        if getattr(error, "filename", None):
            file = str(error.filename)  # type: ignore[attr-defined]  # a TemplateSyntaxError
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename in {f for f, _ in self._texts.values()}:
                file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
            trace = trace.tb_next
        return f"{file}:{line}: {error}"


class _Loader(BaseLoader):
    def __init__(self, texts: dict[str, tuple[str, str]]) -> None:
        self._texts = texts

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, None]:
        if template not in self._texts:
            raise TemplateNotFound(template)
        file, text = self._texts[template]
        return text, file, None


def _written(moment: datetime) -> str:
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _plain_date(moment: datetime) -> str:
    return moment.date().isoformat()


@lru_cache(maxsize=2)
def theme(sources: Sources, language: str) -> Theme:
    """A worker that publishes again need not compile again."""
    return Theme(sources, language)
