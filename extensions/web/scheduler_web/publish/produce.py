"""Make the products of a step: those whose inputs changed, in forked processes when they are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from scheduler_web.publish.build import Build
from scheduler_web.publish.fanout import Failure, fan_out, guarded
from scheduler_web.publish.inputs import Inputs
from scheduler_web.publish.manifest import Entry, Key
from scheduler_web.publish.problems import Problem, PublishError
from scheduler_web.publish.products import Product
from scheduler_web.publish.view import View

FORK_FROM = 48
"""Products; for fewer a fork costs more than it saves."""


class Made(NamedTuple):
    file: str
    digest: bytes
    keys: tuple[Key, ...]
    problems: tuple[Problem, ...]


def produce(build: Build, step: str, products: Sequence[Product], inputs: Inputs) -> None:
    """Bring the step's files up to date. Raises PublishError after all that can be made is made.

    A product that fails keeps its file from before, and is tried again by the next build.
    """
    build.keep_only(step, {product.path: None for product in products})
    todo = _stale(build, products, inputs)
    if not todo:
        return
    failures = []
    for number, made in _make(build, todo, inputs):
        if isinstance(made, Failure):
            failures.append((todo[number].path, made.message))
        else:
            _take(build, step, todo[number], made, inputs)
    if failures:
        path, message = sorted(failures)[0]
        more = f" (and {len(failures) - 1} more pages)" if len(failures) > 1 else ""
        raise PublishError(f"{path}: {message}{more}")


def _stale(build: Build, products: Sequence[Product], inputs: Inputs) -> list[Product]:
    """Those that are not there, or were made from something else."""
    entries, shapes = build.wanted.entries, build.wanted.shapes
    found = []
    for product in products:
        entry = entries.get(product.path)
        if (
            entry is None
            or entry.subject != product.subject
            or entry.shape < 0
            or inputs.digest_of(entry.shape, shapes, product.subject) != entry.inputs
        ):
            found.append(product)
    return found


def _make(build: Build, todo: Sequence[Product], inputs: Inputs) -> Iterator[tuple[int, Made | Failure]]:
    names = [str(build.stage_file()) for _ in todo]

    def one(number: int) -> Made | Failure:
        return _guarded(todo[number], inputs, names[number])

    numbers = range(len(todo))
    if len(todo) >= FORK_FROM:
        made = fan_out(one, numbers, build.limits)
    else:
        made = ((n, guarded(one, n, build.limits.timeout_s)) for n in numbers)
    for pair in made:
        build.around.check()
        yield pair


def _guarded(product: Product, inputs: Inputs, file: str) -> Made | Failure:
    subject = inputs.site.documents[product.subject] if product.subject else None
    view = View(inputs, subject)
    try:
        data = product.render(view)
    except PublishError as error:
        return Failure(str(error))
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}")
    Path(file).write_bytes(data)
    digest = blake2b(data, digest_size=16).digest()
    return Made(file, digest, tuple(view.keys), tuple(view.problems))


def _take(build: Build, step: str, product: Product, made: Made, inputs: Inputs) -> None:
    shape = build.shapes.get(made.keys)
    if shape is None:
        shape = build.shapes[made.keys] = len(build.wanted.shapes)
        build.wanted.shapes.append(made.keys)
    entry = Entry(
        size=0,
        mtime_ns=0,
        inode=0,
        step=step,
        digest=made.digest,
        shape=shape,
        inputs=inputs.digest_of(shape, build.wanted.shapes, product.subject),
        subject=product.subject,
    )
    build.put(product.path, Path(made.file), entry)
    build.note(product.path, list(made.problems))
