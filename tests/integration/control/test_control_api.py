"""The control API as programs see it: who may do what, errors, streams."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import stat
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from scheduler_daemon.control.client import Client, DeniedError, ProblemError

Daemon = Any
NOBODY = 65534
OPERATOR, STAFF = 37, 50
"""Groups that every Debian has."""
SYSCALLS = {"x86_64": (116, 119, 117), "aarch64": (159, 149, 147)}
"""setgroups, setresgid, setresuid: for one thread only, which glibc's own functions are not."""


def as_user(uid: int, groups: Sequence[int], action: Callable[[], Any]) -> Any:
    """What `action` returns, or raises, in a thread that is somebody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    result: dict[str, Any] = {}

    def act() -> None:
        setgroups, setresgid, setresuid = SYSCALLS[platform.machine()]
        listed = (ctypes.c_uint32 * len(groups))(*groups)
        for call in (
            (setgroups, len(groups), listed),
            (setresgid, uid, uid, uid),
            (setresuid, uid, uid, uid),
        ):
            if libc.syscall(*call) != 0:
                result["error"] = OSError(ctypes.get_errno(), "the thread cannot be somebody else")
                return
        try:
            result["value"] = action()
        except Exception as error:
            result["error"] = error

    thread = threading.Thread(target=act)
    thread.start()
    thread.join(60)
    if "error" in result:
        raise result["error"]
    return result["value"]


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or platform.machine() not in SYSCALLS, reason="only root can be somebody else"
)


def refused(action: Callable[[], Any]) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        action()
    return caught.value


@needs_root
def test_readers_look_the_group_controls_and_others_do_neither(make_daemon: Any) -> None:
    daemon = make_daemon(
        {"name": "steps", "extension": "probe", "job": "steps", "schedule": "0 0 0 1 1 *", "enabled": True},
        control={"group": "operator", "readers": ["staff"]},
    )
    daemon.folder.chmod(0o711)
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o666
    client = daemon.client

    assert as_user(NOBODY, [STAFF], lambda: client.get("/v1/status"))["ready"]
    problem = refused(lambda: as_user(NOBODY, [STAFF], lambda: client.post("/v1/jobs/steps/disable")))
    assert (problem.code, problem.document["status"]) == ("not-allowed", 403)
    assert as_user(NOBODY, [OPERATOR], lambda: client.post("/v1/jobs/steps/disable"))["enabled"] is False
    problem = refused(lambda: as_user(NOBODY, [], lambda: client.get("/v1/status")))
    assert problem.document["status"] == 403

    (action,) = [one for one in client.get("/v1/actions")["actions"] if one["action"] == "disable"]
    assert (action["uid"], action["user_name"], action["pid"]) == (NOBODY, "nobody", os.getpid())


@needs_root
def test_without_readers_the_socket_is_closed_to_others(daemon: Daemon) -> None:
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660
    daemon.folder.chmod(0o711)
    with pytest.raises(DeniedError, match=r"control\.group"):
        as_user(NOBODY, [], lambda: Client.find(str(daemon.socket)))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "unknown-path"),
        ("DELETE", "/v1/jobs", None, 405, "method-not-allowed"),
        ("GET", "/v1/jobs/nope", None, 404, "unknown-job"),
        ("GET", "/v1/runs/0123456789", None, 404, "unknown-run"),
        ("GET", "/v1/runs/zz", None, 404, "unknown-run"),
        ("GET", "/v1/runs?limit=0", None, 422, "invalid-request"),
        ("GET", "/v1/runs?limt=1", None, 422, "invalid-request"),
        ("GET", "/v1/runs?since=2026-01-01T00:00:00", None, 422, "invalid-request"),
        ("GET", "/v1/runs?since=9999-01-01T00:00:00Z", None, 422, "invalid-request"),
        ("GET", "/v1/logs?pattern=%00", None, 400, "bad-request"),
        ("GET", "/v1/jobs/steps%00", None, 400, "bad-request"),
        ("GET", "/v1/jobs/steps/why?at=soon", None, 400, "bad-request"),
        ("POST", "/v1/jobs/steps/runs", b"{", 422, "invalid-request"),
        ("POST", "/v1/jobs/steps/runs", b"[" * 100_000, 400, "bad-request"),
        ("POST", "/v1/jobs/steps/runs", b'{"parameters": {"a": "\\ud800"}}', 422, "invalid-request"),
        ("POST", "/v1/jobs/steps/runs", b'{"parameters": {"a": "\\u0000"}}', 422, "invalid-request"),
        ("POST", "/v1/jobs/steps/runs", b'{"parameters": {"a": NaN}}', 422, "invalid-request"),
        ("POST", "/v1/jobs/steps/runs", b'{"que": true}', 422, "invalid-request"),
        ("POST", "/v1/jobs/typed/runs", b'{"parameters": {"times": 9}}', 422, "invalid-parameters"),
        ("POST", "/v1/jobs/lost_code/runs", b"{}", 409, "job-unavailable"),
        ("POST", "/v1/jobs/steps/disable", b'{"lasting_s": -1}', 422, "invalid-request"),
        ("POST", "/v1/jobs/steps/runs", b"x" * 1_100_000, 413, "too-large"),
    ],
)
def test_every_refusal_is_a_problem_document(
    daemon: Daemon, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    command = ["curl", "-s", "-i", "--unix-socket", str(daemon.socket), "-X", method, f"http://x{path}"]
    if body is not None:
        command += ["-H", "content-type: application/json", "--data-binary", "@-"]
    done = subprocess.run(command, input=body or b"", capture_output=True, timeout=30, check=True)
    head, _, document = done.stdout.rpartition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    problem = json.loads(document)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:problem-type:scheduler-daemon:{code}"
    assert "\n" not in problem["detail"]
    assert len(problem["detail"]) < 2_000


def test_a_late_watcher_is_told_what_has_happened_so_far(daemon: Daemon) -> None:
    daemon.close_gate("waits")
    first = daemon.client.events("POST", "/v1/jobs/waits/runs", body={})
    run = next(first)["id"]
    while next(first)["event"] != "log":
        pass
    late = daemon.client.events("GET", f"/v1/runs/{run[:23]}/events")
    assert [next(late)["event"] for _ in range(2)] == ["joined", "started"]
    daemon.open_gate("waits")
    assert [list(one)[-1]["status"] for one in (first, late)] == ["succeeded", "succeeded"]


def test_a_run_that_has_ended_is_told_again(daemon: Daemon) -> None:
    live = daemon.client_events("steps")
    again = list(daemon.client.events("GET", f"/v1/runs/{live[0]['id']}/events"))
    ended = ("status", "items_processed", "message", "steps", "error")
    assert [again[-1][name] for name in ended] == [live[-1][name] for name in ended]
    assert [one["message"] for one in again if one["event"] == "log" and one["module"] == "steps"] == [
        "half way"
    ]


def test_a_queued_run_that_is_cancelled_ends_for_its_watcher(daemon: Daemon) -> None:
    daemon.close_gate("waits")
    first = daemon.client.post("/v1/jobs/waits/runs")["id"]
    queued = daemon.client.events("POST", "/v1/jobs/waits/runs", body={"queue": True})
    accepted = next(queued)
    assert (accepted["status"], accepted["blocked_by"]) == ("queued", first)
    daemon.client.post(f"/v1/runs/{accepted['id']}/cancel")
    assert next(queued)["status"] == "cancelled"
    daemon.open_gate("waits")
    list(daemon.client.events("GET", f"/v1/runs/{first}/events"))


def test_a_reader_that_does_not_read_loses_lines_and_is_told_how_many(daemon: Daemon) -> None:
    """6,000 lines of 200 bytes: more than the socket and the daemon keep for one reader."""
    request = (
        b"POST /v1/jobs/noisy/runs HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n"
        b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )
    with daemon.dial() as slow:
        slow.sendall(request)
        history = ("GET", "/v1/runs?job=noisy&status=succeeded")
        while not daemon.client.get(history[1])["runs"]:
            pass
        told = b""
        while b"event: ended" not in told:
            told += slow.recv(1 << 20)
    events = [json.loads(line[6:]) for line in told.split(b"\n") if line.startswith(b"data: ")]
    lines = sum(one["event"] == "log" for one in events)
    dropped = sum(one["count"] for one in events if one["event"] == "dropped")
    assert dropped > 0
    assert lines + dropped >= 6_000


def test_health_and_metrics_are_there_for_machines(daemon: Daemon) -> None:
    assert daemon.client.get("/healthz") == {"healthy": True, "reasons": []}
    done = subprocess.run(
        ["curl", "-s", "--unix-socket", str(daemon.socket), "http://x/metrics"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "scheduler_daemon_healthy 1.0" in done.stdout
    assert "scheduler_daemon_jobs 8.0" in done.stdout


def test_a_second_daemon_and_a_file_in_the_way_are_refused(make_daemon: Any) -> None:
    daemon = make_daemon()
    other = subprocess.run(
        [daemon.process.args[0], "run", "--config", daemon.config], capture_output=True, text=True, timeout=60
    )
    assert other.returncode == 75
    assert f"pid {daemon.process.pid}" in other.stderr
    assert daemon.stop() == 0
    assert not daemon.socket.exists()
    daemon.socket.write_text("mine")
    third = subprocess.run(
        [daemon.process.args[0], "run", "--config", daemon.config], capture_output=True, text=True, timeout=60
    )
    assert third.returncode == 75
    assert "a file that is no socket is there" in third.stderr
    assert daemon.socket.read_text() == "mine"


def test_a_socket_that_a_killed_daemon_left_is_replaced(make_daemon: Any) -> None:
    daemon = make_daemon()
    daemon.stop(9)
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.client.get("/v1/status")["ready"]


def test_the_daemon_stops_at_once_with_streams_open(make_daemon: Any) -> None:
    daemon = make_daemon(
        {"name": "waits", "extension": "probe", "job": "waits", "schedule": "0 0 0 1 1 *", "enabled": True},
        shutdown_grace="1s",
    )
    run = daemon.client.post("/v1/jobs/waits/runs")["id"]
    streams = [daemon.client.events("GET", f"/v1/runs/{run}/events") for _ in range(3)]
    streams.append(daemon.client.events("GET", "/v1/logs/follow"))
    for stream in streams[:3]:
        next(stream)
    next(streams[3])
    assert daemon.stop() == 0
    for stream in streams:
        assert "ended" not in [one["event"] for one in stream]


def test_an_unknown_group_stops_the_start_with_exit_78(make_daemon: Any) -> None:
    daemon = make_daemon()
    daemon.stop()
    daemon.configure(control={"group": "no-such-group"})
    done = subprocess.run(
        [daemon.process.args[0], "run", "--config", daemon.config], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 78
    assert 'this machine has no group "no-such-group"' in done.stderr
