"""Spread pure work over forked processes, which inherit all that this one knows."""

from __future__ import annotations

import gc
import os
import pickle
import selectors
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_QUEUE = 8_000
"""Numbers of eight bytes that an empty pipe takes at once."""


@dataclass(frozen=True)
class Failure:
    """A task that raised, ran out of time or lost its process."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    processes: int
    timeout_s: float


def fan_out(work: Callable[[T], R], tasks: Sequence[T], limits: Limits) -> Iterator[tuple[int, R | Failure]]:
    """Yield (number of the task, its result), in the order in which they finish.

    `limits.timeout_s` bounds one task. Leaving the iterator early ends the children, and so does the
    parent's death: their pipe breaks.
    """
    chunk = max(4, -(-len(tasks) // _QUEUE))
    starts = range(0, len(tasks), chunk)
    queue, feed = os.pipe()
    os.write(feed, b"".join(start.to_bytes(8, "big") for start in starts))
    os.close(feed)
    children: dict[int, int] = {}
    missing = set(range(len(tasks)))
    try:
        for _ in range(min(limits.processes, len(starts))):
            pid, results = _spawn(_Child(work, tasks, chunk, queue, limits.timeout_s))
            children[results] = pid
        for number, value in _collect(list(children)):
            missing.discard(number)
            yield number, value
        for number in sorted(missing):
            yield number, Failure("its rendering process died")
    finally:
        os.close(queue)
        for results, pid in children.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(results)


def guarded(work: Callable[[T], R], task: T, limit_s: float) -> R | Failure:
    """The task's result, here and now, or why there is none. It may take `limit_s` seconds."""
    try:
        with _bounded(limit_s):
            return work(task)
    except RecursionError:
        return Failure("it is nested too deeply")
    except MemoryError:
        return Failure("it needs too much memory")
    except TimeoutError as error:
        return Failure(str(error))
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}")


@contextmanager
def _bounded(limit_s: float) -> Iterator[None]:
    """Raise TimeoutError in the block once it has taken that long. Only a main thread hears signals, and jobs
    run in one; elsewhere there is no bound."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(signum: int, frame: object) -> NoReturn:
        raise TimeoutError(f"it takes longer than {limit_s:g} s")

    handler = signal.signal(signal.SIGALRM, late)
    timer = signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


@dataclass(frozen=True)
class _Child:
    work: Callable[[Any], Any]
    tasks: Sequence[Any]
    chunk: int
    queue: int
    limit_s: float

    def run(self, out: int) -> None:
        while start := os.read(self.queue, 8):
            first = int.from_bytes(start, "big")
            for number in range(first, min(first + self.chunk, len(self.tasks))):
                _send(out, (number, guarded(self.work, self.tasks[number], self.limit_s)))


def _spawn(child: _Child) -> tuple[int, int]:
    results, out = os.pipe()
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        _live(child, out)
    gc.unfreeze()
    os.close(out)
    return pid, results


def _live(child: _Child, out: int) -> NoReturn:
    """Keep nothing of the parent's open: it may be waiting for the end of a file that we hold."""
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        low, high = sorted((child.queue, out))
        os.closerange(3, low)
        os.closerange(low + 1, high)
        os.closerange(high + 1, os.sysconf("SC_OPEN_MAX"))
        child.run(out)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _send(out: int, value: Any) -> None:
    frame = pickle.dumps(value, protocol=5)
    view = memoryview(len(frame).to_bytes(4, "big") + frame)
    while view:
        view = view[os.write(out, view) :]


def _collect(readers: Sequence[int]) -> Iterator[tuple[int, Any]]:
    buffers = {reader: bytearray() for reader in readers}
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 1 << 18)
                if not data:
                    selector.unregister(key.fd)
                buffers[key.fd] += data
                yield from _frames(buffers[key.fd])


def _frames(buffer: bytearray) -> Iterator[tuple[int, Any]]:
    while len(buffer) >= 4:
        end = 4 + int.from_bytes(buffer[:4], "big")
        if len(buffer) < end:
            return
        frame = bytes(memoryview(buffer)[4:end])
        del buffer[:end]
        yield pickle.loads(frame)  # noqa: S301 (from our own child)
