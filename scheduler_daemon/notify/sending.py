"""One HTTP request, in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from scheduler_daemon import __version__

T = TypeVar("T")
CONNECT_S = 5.0
ANSWER_S = 10.0
PATIENCE_S = 30.0
"""For one attempt as a whole: a server that trickles bytes is given up."""
HEARD = 2048


class DeliveryError(Exception):
    """It was not delivered; the text says why, without the address. `hopeless`: another try will not help."""

    def __init__(self, why: str, *, retry_after_s: float | None = None, hopeless: bool = False) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.hopeless = hopeless


async def post(url: str, *, json: Any = None, text: str | None = None) -> None:
    """Raises DeliveryError unless the answer is a success (2xx). Redirects are not followed."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await in_thread(lambda: _post(url, json, text))
    except TimeoutError:
        raise DeliveryError(f"no whole answer within {PATIENCE_S:.0f} s") from None


async def in_thread(work: Callable[[], T]) -> T:
    """Unlike asyncio.to_thread: a process that stops does not wait for it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # None only beside an error, or if T is

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as exc:  # handed to whoever waits
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="notify", daemon=True).start()
    return await answer


def _post(url: str, json: Any, text: str | None) -> None:
    import requests

    headers = {"User-Agent": f"scheduler-daemon/{__version__}"}
    body = text.encode() if text is not None else None
    try:
        with requests.post(
            url,
            json=json,
            data=body,
            headers=headers,
            timeout=(CONNECT_S, ANSWER_S),
            allow_redirects=False,
            stream=True,
        ) as response:
            said = response.raw.read(HEARD, decode_content=True) if not response.ok else b""
            _check(response.status_code, response.headers, said)
    except requests.Timeout:
        raise DeliveryError(f"no answer within {ANSWER_S:.0f} s") from None
    except requests.exceptions.SSLError as error:
        raise DeliveryError(f"TLS: {_innermost(error)}") from None
    except requests.ConnectionError as error:
        raise DeliveryError(f"cannot be reached: {_innermost(error)}") from None
    except (requests.RequestException, ValueError) as error:
        raise DeliveryError(f"cannot be sent: {type(error).__name__}") from None


def _check(status: int, headers: Any, said: bytes) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise DeliveryError(f"answered {status}, a redirect: give the address that it leads to")
    words = " ".join(said.decode("utf-8", "replace").split())[:200]
    retry_after_s = None
    with contextlib.suppress(TypeError, ValueError):
        retry_after_s = float(headers.get("Retry-After"))
    raise DeliveryError(
        f"answered {status}{': ' + words if words else ''}",
        retry_after_s=retry_after_s,
        hopeless=status in (400, 411, 413, 415, 422),
    )


def _innermost(error: BaseException) -> str:
    """The cause at the bottom, which names no address: "Connection refused"."""
    seen: BaseException = error
    for _ in range(10):
        inner = getattr(seen, "reason", None)
        below = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
        if below is None:
            break
        seen = below
    if isinstance(seen, OSError) and seen.strerror:
        return str(seen.strerror)
    return type(seen).__name__
