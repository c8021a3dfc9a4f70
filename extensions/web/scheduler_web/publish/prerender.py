"""Step 3, content prerender: the fragments of changed documents."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from scheduler_web.publish.build import Build
from scheduler_web.publish.cache import fragment_key
from scheduler_web.publish.documents import Document
from scheduler_web.publish.fanout import Failure, Limits, fan_out
from scheduler_web.publish.markdown import Fragment, render
from scheduler_web.publish.problems import ContentError, Problem
from scheduler_web.publish.queries import fetch

BATCH = 2_000
FORK_FROM = 40
BIG = 30_000
"""Characters; a document of more is rendered where its time can be bounded."""


def prerender(build: Build) -> int:
    """Render what has no fragment, or one of another version. Returns how many.

    Raises ContentError after all others are rendered; a document that fails keeps its last fragment,
    and is not tried again until it, or the renderer, changes.
    """
    wanted = {d.id: _key(build, d) for d in build.site.documents.values()}
    failed = build.cache.failures()
    have = build.fragments
    todo = [i for i, key in wanted.items() if have.get(i) != key and failed.get(i, ("", ""))[0] != key]
    for start in range(0, len(todo), BATCH):
        build.around.check()
        _batch(build, todo[start : start + BATCH], wanted)
    gone = [i for i in (*have, *failed) if i not in build.index.docs]
    if gone:
        build.cache.drop(gone)
    if todo or gone:
        build.__dict__.pop("fragments", None)
    failures = {i: text for i, (key, text) in build.cache.failures().items() if wanted.get(i) == key}
    if failures:
        raise ContentError(sorted(_problem(build, i, text) for i, text in failures.items()))
    return len(todo)


def _key(build: Build, document: Document) -> str:
    return fragment_key(document.version, document.title, trusted=_trusted(build, document))


def _trusted(build: Build, document: Document) -> bool:
    return build.config.content_sources[document.source].trusted_html


def _problem(build: Build, identifier: str, text: str) -> Problem:
    document = build.index.docs[identifier]
    return Problem(build.sources.shown((document.source, document.path)), 0, f"cannot be rendered: {text}")


def _batch(build: Build, identifiers: list[str], wanted: dict[str, str]) -> None:
    with build.around.database() as connection:
        rows = fetch(connection, "bodies", ids=identifiers)
    tasks = [(i, body, build.index.docs[i].title, _trusted(build, build.index.docs[i])) for i, body in rows]
    done: list[tuple[str, str, Fragment]] = []
    failed: list[tuple[str, str, str]] = []
    for identifier, result in _render(build, tasks):
        if isinstance(result, Failure):
            failed.append((identifier, wanted[identifier], result.message))
        else:
            done.append((identifier, wanted[identifier], result))
    build.cache.put(done)
    build.cache.fail(failed)


Task = tuple[str, str, str, bool]


def _render(build: Build, tasks: Sequence[Task]) -> Iterator[tuple[str, Fragment | Failure]]:
    here = [] if len(tasks) >= FORK_FROM else [task for task in tasks if len(task[1]) < BIG]
    apart = [task for task in tasks if task not in here] if here else list(tasks)
    for task in here:
        yield task[0], _one(task)
    processes = build.config.processes or len(os.sched_getaffinity(0))
    limits = Limits(processes=processes, timeout_s=build.config.render_timeout_s)
    for number, result in fan_out(_one, apart, limits) if apart else ():
        yield apart[number][0], result


def _one(task: Task) -> Fragment | Failure:
    _, body, title, trusted = task
    try:
        return render(body, title=title, trusted=trusted)
    except RecursionError:
        return Failure("it is nested too deeply")
