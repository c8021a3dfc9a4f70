"""Which asyncio tasks belong to the run in hand, so that those it leaves behind can be ended.

The worker's loop lives on, with the pool's own tasks in it; a task is the run's if it was created, at
whatever remove, by the run's first one (a context variable is inherited).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_MANY = 1_000
_of_run: contextvars.ContextVar[bool] = contextvars.ContextVar("of_run", default=False)


class RunTasks:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: list[asyncio.Task[Any]] = []
        self._look_at = _MANY
        loop.set_task_factory(self._create)

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """The first task of a run."""
        context = contextvars.copy_context()
        context.run(_of_run.set, True)
        return self._loop.create_task(work, name=name, context=context)

    def left(self) -> list[asyncio.Task[Any]]:
        """Those that have not ended; they are the only ones that are still remembered."""
        if self._tasks:
            self._tasks = [task for task in self._tasks if not task.done()]
        return list(self._tasks)

    def _create(self, loop: Any, work: Any, **rest: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **rest)
        context = rest.get("context")
        if _of_run.get() if context is None else context.get(_of_run, False):
            self._tasks.append(task)
            if len(self._tasks) > self._look_at:  # a run may start any number, one after the other
                self._look_at = _MANY + 2 * len(self.left())
        return task


def outside_the_run(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Work whose own tasks outlive the run that asked for it."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())
