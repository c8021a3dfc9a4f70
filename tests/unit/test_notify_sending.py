"""Messages and pings on their way: to a real HTTP server, a real program, through restarts."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scheduler_daemon.model import Outcome, RunStatus
from scheduler_daemon.notify import courier, heartbeat, notifier, sending
from scheduler_daemon.notify.heartbeat import Heartbeat, with_signal
from scheduler_daemon.notify.notifier import Notifier
from scheduler_daemon.notify.sending import DeliveryError, in_thread, post
from scheduler_daemon.notify.store import Store
from scheduler_daemon.redaction import Redactor
from scheduler_daemon.reporting import Event, HeartbeatSettings, NotificationSettings, QuietHours

PATIENCE_S = 10.0
AT_ONCE = timedelta(0)
NIGHT = datetime(2026, 5, 1, 23, tzinfo=UTC).timestamp()


class Hook:
    """A server that notes what it gets; `answers` are used up one by one, then it says 204."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.answers: deque[tuple[int, dict[str, str], bytes]] = deque()
        self.arrived = threading.Semaphore(0)
        self.hold = threading.Event()
        self.hold.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hook.got.append((self.path, body))
                hook.arrived.release()
                hook.hold.wait(PATIENCE_S)
                status, headers, said = hook.answers.popleft() if hook.answers else (204, {}, b"")
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(said))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook/secret-token"

    async def requests(self, count: int) -> list[tuple[str, bytes]]:
        for _ in range(count):
            assert await asyncio.to_thread(self.arrived.acquire, timeout=PATIENCE_S), self.got
        return self.got

    async def messages(self, count: int) -> list[Any]:
        return [json.loads(body) for _, body in await self.requests(count)]

    def stop(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.stop()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier.Courier.__init__, "__kwdefaults__", {"first_s": 0.02})
    monkeypatch.setattr(heartbeat, "BETWEEN_S", 0.02)
    monkeypatch.setattr(notifier, "LAST_WORDS_S", 0.3)


Make = Callable[..., Notifier]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Notifier] = []

    def make(settings: NotificationSettings, **more: Any) -> Notifier:
        one = Notifier(
            settings,
            node="n1",
            store=Store(tmp_path / "notify.json"),
            redactor=Redactor(["s3cr3t-value"]),
            **more,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        await one.stop()


def failed(error: str = "boom") -> Outcome:
    return Outcome(run_id="r1", status=RunStatus.FAILED, finished_at=0.0, error=error)


async def test_a_notice_arrives_as_json(make: Make, hook: Hook) -> None:
    notifier = make(NotificationSettings(webhook=hook.url, group_for=AT_ONCE))
    await notifier.start()
    notifier.sentinel.run_ended("publish", failed("no s3cr3t-value here"), NIGHT)
    (message,) = await hook.messages(1)
    assert message["title"] == "publish: failed: no *** here"
    assert message["node"] == "n1"
    assert message["notices"] == [
        {
            "event": "failed",
            "job": "publish",
            "text": "failed: no *** here",
            "at": "2026-05-01T23:00:00+00:00",
            "run": "r1",
        }
    ]


async def test_what_comes_together_is_one_message(make: Make, hook: Hook) -> None:
    notifier = make(NotificationSettings(webhook=hook.url, group_for=timedelta(seconds=0.3)))
    await notifier.start()
    for number in range(50):
        notifier.sentinel.run_ended(f"job{number}", failed("connection refused"), NIGHT)
    (message,) = await hook.messages(1)
    assert message["total"] == 50
    assert message["text"] == "50 jobs: failed: connection refused (job0, job1, job2 and 47 more)"


async def test_a_command_gets_it_on_its_standard_input(make: Make, tmp_path: Path) -> None:
    told = tmp_path / "told"
    words = ("/bin/sh", "-c", f"cat >{told}.new && mv {told}.new {told}")
    notifier = make(NotificationSettings(command=words, group_for=AT_ONCE))
    await notifier.start()
    notifier.sentinel.run_ended("publish", failed(), NIGHT)
    await until(told.exists)
    assert json.loads(told.read_text())["title"] == "publish: failed: boom"


async def test_one_channel_that_is_down_holds_up_no_other(make: Make, hook: Hook, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9/hook"
    told = tmp_path / "told"
    notifier = make(
        NotificationSettings(
            discord=nobody, webhook=hook.url, command=("/bin/sh", "-c", f"cat >{told}"), group_for=AT_ONCE
        )
    )
    await notifier.start()
    notifier.sentinel.run_ended("publish", failed(), NIGHT)
    await hook.requests(1)
    await until(told.exists)
    assert notifier.waiting >= 1


async def test_it_is_tried_again_until_it_arrives(make: Make, hook: Hook) -> None:
    hook.answers.extend([(503, {}, b"later"), (429, {"Retry-After": "0.05"}, b"slow down")])
    notifier = make(NotificationSettings(webhook=hook.url, group_for=AT_ONCE))
    await notifier.start()
    notifier.sentinel.run_ended("publish", failed(), NIGHT)
    messages = await hook.messages(3)
    assert messages[0] == messages[1] == messages[2]
    await until(lambda: notifier.waiting == 0)


async def test_what_is_refused_for_good_does_not_hold_up_the_next(make: Make, hook: Hook) -> None:
    hook.answers.append((400, {}, b"no"))
    notifier = make(NotificationSettings(webhook=hook.url, group_for=AT_ONCE))
    await notifier.start()
    notifier.sentinel.run_ended("a", failed(), NIGHT)
    await hook.requests(1)
    notifier.sentinel.run_ended("b", failed(), NIGHT)
    titles = [message["title"] for message in await hook.messages(1)]
    assert titles == ["a: failed: boom", "b: failed: boom"]


async def test_what_could_not_be_sent_outlives_a_restart(make: Make, hook: Hook) -> None:
    settings = NotificationSettings(webhook="http://127.0.0.1:9/hook", group_for=AT_ONCE)
    first = make(settings)
    await first.start()
    first.sentinel.run_ended("a", failed(), NIGHT)
    await until(lambda: first.waiting == 1)
    first.sentinel.run_ended("b", failed(), NIGHT)
    await first.stop()

    second = make(replace(settings, webhook=hook.url))
    await second.start()
    titles = [message["title"] for message in await hook.messages(2)]
    assert titles == ["a: failed: boom", "b: failed: boom"]
    second.sentinel.run_ended("a", failed(), NIGHT)
    assert not second._pending  # told by the first, and remembered


async def test_the_last_words_are_sent_at_the_stop(make: Make, hook: Hook) -> None:
    notifier = make(NotificationSettings(webhook=hook.url, group_for=timedelta(hours=1)))
    await notifier.start()
    notifier.sentinel.run_ended("a", failed(), NIGHT)
    await notifier.stop()
    assert len(hook.got) == 1


async def test_a_server_that_never_answers_does_not_hold_up_the_stop(make: Make, hook: Hook) -> None:
    hook.hold.clear()
    notifier = make(NotificationSettings(webhook=hook.url, group_for=AT_ONCE))
    await notifier.start()
    notifier.sentinel.run_ended("a", failed(), NIGHT)
    await hook.requests(1)
    async with asyncio.timeout(3):
        await notifier.stop()


async def test_quiet_hours_hold_all_but_what_is_urgent(make: Make, hook: Hook) -> None:
    now = [NIGHT]
    quiet = QuietHours(start=time(22), end=time(7), zone="UTC")
    settings = NotificationSettings(
        webhook=hook.url, group_for=AT_ONCE, quiet=quiet, urgent=frozenset({Event.DATABASE})
    )
    notifier = make(settings, clock=lambda: now[0])
    await notifier.start()
    notifier.sentinel.run_ended("a", failed(), NIGHT)
    notifier.sentinel.conditions({(Event.DATABASE, ""): "the database is away"}, NIGHT)
    (urgent,) = await hook.messages(1)
    assert urgent["title"] == "the database is away"
    now[0] = datetime(2026, 5, 2, 7, 0, 1, tzinfo=UTC).timestamp()
    notifier.sentinel.run_ended("b", failed(), now[0])
    _, morning = await hook.messages(1)
    assert morning["title"] == "2 jobs: failed: boom (a, b)"


async def test_a_reload_goes_on_with_what_is_in_the_bag(make: Make, hook: Hook) -> None:
    settings = NotificationSettings(webhook="http://127.0.0.1:9/hook", group_for=AT_ONCE)
    notifier = make(settings)
    await notifier.start()
    notifier.sentinel.run_ended("a", failed(), NIGHT)
    await until(lambda: notifier.waiting == 1)
    await notifier.apply(replace(settings, webhook=hook.url))
    assert [m["title"] for m in await hook.messages(1)] == ["a: failed: boom"]
    await notifier.apply(NotificationSettings())
    assert not notifier.enabled


async def test_of_too_many_the_oldest_go(make: Make, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "KEPT", 3)
    one = make(NotificationSettings(webhook=hook.url, group_for=timedelta(hours=1)))
    await one.start()
    for number in range(5):
        one.sentinel.run_ended(f"job{number}", failed(f"error {chr(97 + number)}"), NIGHT)
    await one.stop()
    (message,) = await hook.messages(1)
    assert message["total"] == 5
    assert message["text"].endswith("2 notices before these were dropped")


async def test_a_test_says_for_each_channel_how_it_went(make: Make, hook: Hook) -> None:
    notifier = make(
        NotificationSettings(
            webhook=hook.url, discord="http://127.0.0.1:9/secret", command=("/no/such/program",)
        )
    )
    await notifier.start()
    assert await notifier.test() == {
        "webhook": None,
        "discord": "cannot be reached: Connection refused",
        "command": "/no/such/program cannot be started: No such file or directory",
    }


@pytest.mark.parametrize("content", ["", "{", "[]", '{"memory": 1}', '{"memory": {"troubles": [1]}}'])
async def test_a_damaged_file_is_worth_no_failed_start(
    make: Make, hook: Hook, tmp_path: Path, content: str
) -> None:
    (tmp_path / "notify.json").write_text(content)
    notifier = make(NotificationSettings(webhook=hook.url, group_for=AT_ONCE))
    await notifier.start()
    notifier.sentinel.run_ended("a", failed(), NIGHT)
    await hook.requests(1)


@pytest.mark.parametrize(
    ("answer", "why", "hopeless"),
    [
        ((404, {}, b"no such hook"), "answered 404: no such hook", False),
        (
            (301, {"Location": "/x"}, b""),
            "answered 301, a redirect: give the address that it leads to",
            False,
        ),
        ((400, {}, b"x" * 5000), "answered 400: " + "x" * 200, True),
    ],
)
async def test_a_refusal_is_told_without_the_address(
    hook: Hook, answer: tuple[int, dict[str, str], bytes], why: str, hopeless: bool
) -> None:
    hook.answers.append(answer)
    with pytest.raises(DeliveryError) as caught:
        await post(hook.url, json={})
    assert (str(caught.value), caught.value.hopeless) == (why, hopeless)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/secret", "http://secret.invalid/secret", "http://[::1]:9/secret"]
)
async def test_an_unreachable_server_is_told_without_the_address(url: str) -> None:
    with pytest.raises(DeliveryError, match="cannot be reached") as caught:
        await post(url, json={})
    assert "secret" not in str(caught.value)


async def test_a_server_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch, hook: Hook) -> None:
    monkeypatch.setattr(sending, "PATIENCE_S", 0.2)
    hook.hold.clear()
    with pytest.raises(DeliveryError, match="no whole answer"):
        await post(hook.url)


async def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    monkeypatch.setattr("scheduler_daemon.notify.channels.COMMAND_S", 0.2)
    notifier = make(NotificationSettings(command=("/bin/sh", "-c", "sleep 60 & wait")))
    await notifier.start()
    assert await notifier.test() == {"command": "/bin/sh did not end within 0 s"}


async def test_threads_hand_over_results_and_errors() -> None:
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


# --- heartbeats ---


async def test_the_daemon_pings_while_it_is_well_and_says_when_not(hook: Hook) -> None:
    troubles: list[str] = []
    beating = Heartbeat(
        HeartbeatSettings(url=hook.url, every=timedelta(seconds=0.05)), lambda: list(troubles)
    )
    await beating.start()
    await hook.requests(2)
    troubles.append("database away")
    await until(lambda: (f"{PATH}/fail", b"database away") in hook.got)
    await beating.stop()
    assert hook.got[0] == (PATH, b"")


async def test_who_has_no_say_does_not_ping(hook: Hook) -> None:
    looked = asyncio.Event()

    def silent() -> None:
        looked.set()

    beating = Heartbeat(HeartbeatSettings(url=hook.url, every=timedelta(seconds=0.01)), silent)
    await beating.start()
    await looked.wait()
    await beating.stop()
    assert hook.got == []


PATH = "/hook/secret-token"


async def test_a_jobs_runs_ping_in_order(hook: Hook) -> None:
    beating = Heartbeat(HeartbeatSettings(job_urls={"a": hook.url}), list)
    await beating.start()
    beating.run_started("a")
    beating.run_started("b")
    beating.run_ended("a", well=False, said="boom")
    await hook.requests(2)
    beating.run_started("a")
    beating.run_ended("a", well=True, said="39 written")
    await hook.requests(2)
    await beating.stop()
    assert hook.got == [
        (f"{PATH}/start", b""),
        (f"{PATH}/fail", b"boom"),
        (f"{PATH}/start", b""),
        (PATH, b"39 written"),
    ]


async def test_a_ping_is_tried_three_times(hook: Hook) -> None:
    hook.answers.extend([(500, {}, b""), (500, {}, b"")])
    beating = Heartbeat(HeartbeatSettings(job_urls={"a": hook.url}), list)
    beating.run_ended("a", well=True, said="")
    await hook.requests(3)
    await beating.stop()


async def test_a_reload_pings_elsewhere(hook: Hook) -> None:
    beating = Heartbeat(HeartbeatSettings(url="http://127.0.0.1:9/x"), list)
    await beating.start()
    await beating.apply(HeartbeatSettings(url=hook.url))
    await hook.requests(1)
    await beating.stop()


def test_signals_stand_before_the_query() -> None:
    assert with_signal("https://hc.example/ping/1?x=y", "fail") == "https://hc.example/ping/1/fail?x=y"
    assert with_signal("https://hc.example/ping/1/", "start") == "https://hc.example/ping/1/start"
    assert with_signal("https://hc.example/ping/1", "") == "https://hc.example/ping/1"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)
