"""Step 3, content prerender: the fragments of changed documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scheduler_web.publish.build import Build, renderer
from scheduler_web.publish.documents import text_hash
from scheduler_web.publish.fanout import Failure, fan_out, guarded
from scheduler_web.publish.markdown import Fragment, render
from scheduler_web.publish.problems import ContentError, Problem, PublishError
from scheduler_web.publish.queries import fetch

BATCH = 2_000
FORK_FROM = 40
BIG = 30_000
"""Characters; a document of more is rendered where its time can be bounded."""


def prerender(build: Build) -> None:
    """Render the documents that are out and whose fragment is missing or of another version.

    Raises ContentError after all others are rendered; a document that fails keeps its last fragment,
    and is not tried again until it, or the renderer, changes.
    """
    index = build.index
    size = build.cache.size()
    if index.renderer != renderer(build.config) or not size:
        index.unrendered = set(index.docs)
        index.renderer, index.changed = renderer(build.config), True
    failed = build.cache.failures()
    out = [i for i in index.unrendered if i in index.docs and index.docs[i].visible(build.around.now)]
    todo = sorted(i for i in _outdated(build, out) if failed.get(i, ("", ""))[0] != _key(build, i))
    for start in range(0, len(todo), BATCH):
        build.around.check()
        _batch(build, todo[start : start + BATCH])
    if size > len(index.docs):
        build.cache.drop(build.cache.keys().keys() - index.docs.keys())
    failures = {
        i: text for i, (key, text) in build.cache.failures().items() if i in out and key == _key(build, i)
    }
    if failures:
        raise ContentError(sorted(_problem(build, i, text) for i, text in failures.items()))


def _outdated(build: Build, identifiers: list[str]) -> list[str]:
    """Those whose fragment is not what it should be; the others are struck off the list."""
    keys = (
        build.cache.keys() if len(identifiers) > FORK_FROM else {i: build.cache.key(i) for i in identifiers}
    )
    current = {identifier for identifier in identifiers if keys.get(identifier) == _key(build, identifier)}
    if current:
        build.index.unrendered -= current
        build.index.changed = True
    return [identifier for identifier in identifiers if identifier not in current]


def _key(build: Build, identifier: str) -> str:
    document = build.index.docs[identifier]
    return f"{document.version} {document.text_hash} {document.title} {build.index.renderer}"


def _problem(build: Build, identifier: str, text: str) -> Problem:
    document = build.index.docs[identifier]
    return Problem(build.sources.shown((document.source, document.path)), 0, f"cannot be rendered: {text}")


def _batch(build: Build, identifiers: list[str]) -> None:
    tasks = [_task(build, identifier, body) for identifier, body in bodies(build, identifiers).items()]
    done: list[tuple[str, str, Fragment]] = []
    failed: list[tuple[str, str, str]] = []
    for identifier, result in _render(build, tasks):
        if isinstance(result, Failure):
            failed.append((identifier, _key(build, identifier), result.message))
        else:
            done.append((identifier, _key(build, identifier), result))
    build.cache.put(done)
    build.cache.fail(failed)
    build.index.unrendered -= {identifier for identifier, _, _ in done}
    build.index.changed = True


def bodies(build: Build, identifiers: list[str]) -> dict[str, str]:
    """The documents' Markdown. Raises PublishError for one that is not as ingestion left it."""
    with build.around.database() as connection:
        found = dict(fetch(connection, "bodies", ids=identifiers))
    for identifier in identifiers:
        document = build.index.docs[identifier]
        if identifier not in found or text_hash(found[identifier]) != document.text_hash:
            shown = build.sources.shown((document.source, document.path))
            raise PublishError(f"{shown}: its row was changed in the database; run content_ingestion first")
    return found


def _task(build: Build, identifier: str, body: str) -> Task:
    document = build.index.docs[identifier]
    return (identifier, body, document.title, build.config.content_sources[document.source].trusted_html)


Task = tuple[str, str, str, bool]


def _render(build: Build, tasks: Sequence[Task]) -> Iterator[tuple[str, Fragment | Failure]]:
    here = [] if len(tasks) >= FORK_FROM else [task for task in tasks if len(task[1]) < BIG]
    apart = [task for task in tasks if task not in here] if here else list(tasks)
    for task in here:
        yield task[0], guarded(_one, task, build.limits.timeout_s)
    for number, result in fan_out(_one, apart, build.limits) if apart else ():
        build.around.check()
        yield apart[number][0], result


def _one(task: Task) -> Fragment:
    _, body, title, trusted = task
    return render(body, title=title, trusted=trusted)
