"""How a task is ended for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 0.5


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them, and return when they have ended; what they raise is dropped.

    Asked again and again: in Python 3.11 wait_for, through which psycopg waits, loses a cancellation that
    comes as its future is done (python/cpython#86296).
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
