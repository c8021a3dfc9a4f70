"""The raw socket under people who mean no good, or cannot do better."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

Daemon = Any
GOOD = b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def answer(connection: socket.socket) -> bytes:
    """All that comes until the other side closes; nothing where it just cuts the line."""
    told = b""
    try:
        while data := connection.recv(1 << 16):
            told += data
    except ConnectionResetError:
        pass
    return told


def code_of(told: bytes) -> str:
    document: dict[str, Any] = json.loads(told.rpartition(b"\r\n\r\n")[2])
    return str(document["code"])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nbig: " + b"x" * 40_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", b"431"),
        (b"POST /v1/reload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b"4"),
    ],
)
def test_what_is_no_http_is_refused_and_cut(daemon: Daemon, sent: bytes, status: bytes) -> None:
    with daemon.dial() as connection:
        connection.sendall(sent)
        told = answer(connection)
    if told:
        assert told.startswith(b"HTTP/1.1 " + status), told[:200]
        assert b"application/problem+json" in told


def test_a_long_head_after_a_good_request_is_refused_too(daemon: Daemon) -> None:
    with daemon.dial() as connection:
        connection.sendall(GOOD + b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 20_000 + b"\r\n")
        told = answer(connection)
    assert told.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 431 " in told


def test_a_request_that_does_not_arrive_is_cut_after_five_seconds(daemon: Daemon) -> None:
    """Half a head, half a body, a byte now and then, a half second request: all at once, all cut."""
    half_body = b"POST /v1/jobs/steps/disable HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    starts = [
        b"",
        b"GET /v1/st",
        GOOD[:-2],
        half_body + b"content-length: 100\r\n\r\n{",
        half_body + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
        GOOD + b"GET /v1",
    ]
    with ExitStack() as stack:
        open_ones = [stack.enter_context(daemon.dial()) for _ in starts]
        for connection, start in zip(open_ones, starts, strict=True):
            connection.sendall(start)
        dripping = stack.enter_context(daemon.dial())
        dripped = drip(dripping)
        told = [answer(connection) for connection in open_ones]
    assert [b"request-timeout" in one for one in told] == [True, True, True, False, False, True]
    assert dripped < len(GOOD)
    assert daemon.client.get("/v1/jobs/steps")["enabled"] is True


def drip(connection: socket.socket) -> int:
    """A byte each second, until the line is cut; how many went."""
    connection.settimeout(1.0)
    for sent, byte in enumerate(GOOD):
        try:
            connection.sendall(bytes([byte]))
            if not connection.recv(1):
                return sent
        except TimeoutError:
            continue
        except OSError:
            return sent
        return sent
    return len(GOOD)


def test_a_thousand_idle_connections_keep_nobody_out(daemon: Daemon) -> None:
    with ExitStack() as stack:
        for number in range(1_000):
            stack.enter_context(daemon.dial())
            if number % 50 == 0:
                assert daemon.client.get("/v1/status")["ready"]
        assert daemon.client.get("/v1/status")["ready"]
        assert daemon.cli("jobs", "list").returncode == 0


def test_more_streams_than_a_user_may_have_are_refused_in_words(daemon: Daemon) -> None:
    follow = b"GET /v1/logs/follow?limit=0 HTTP/1.1\r\nhost: x\r\n\r\n"
    with ExitStack() as stack:
        streams = [stack.enter_context(daemon.dial()) for _ in range(64)]
        for stream in streams:
            stream.sendall(follow)
            assert stream.recv(17).startswith(b"HTTP/1.1 200 OK")
        with daemon.dial() as one_more:
            told = answer(one_more)
    assert told.startswith(b"HTTP/1.1 503")
    assert code_of(told) == "too-many-connections"
    while True:
        with daemon.dial() as connection:
            connection.sendall(LAST)
            if answer(connection).startswith(b"HTTP/1.1 200"):
                return


def test_pipelined_requests_are_answered_in_order(daemon: Daemon) -> None:
    with daemon.dial() as connection:
        last = GOOD.replace(b"/v1/status", b"/v1/nowhere").replace(
            b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"
        )
        connection.sendall(GOOD * 20 + last)
        told = answer(connection)
    assert told.count(b"HTTP/1.1 200 OK") == 20
    assert told.rfind(b"HTTP/1.1 404") > told.rfind(b"HTTP/1.1 200")


def mutations(seed: int, number: int) -> Iterator[bytes]:
    """Requests with bytes flipped, cut out, doubled."""
    chance = random.Random(seed)
    originals = [
        GOOD,
        b"GET /v1/runs?limit=5&status=failed HTTP/1.1\r\nhost: x\r\naccept: */*\r\n\r\n",
        b"POST /v1/jobs/steps/disable HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b'content-length: 16\r\n\r\n{"reason": "xx"}',
        b"GET /v1/jobs/steps/why?at=2026-03-29 HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\r\n",
    ]
    for _ in range(number):
        sent = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(sent))
            kind = chance.randrange(4)
            if kind == 0:
                sent[place] = chance.randrange(256)
            elif kind == 1:
                del sent[place : place + chance.randint(1, 9)]
            elif kind == 2:
                sent[place:place] = sent[place : place + chance.randint(1, 30)]
            else:
                sent[place:place] = chance.randbytes(chance.randint(1, 5))
            sent = sent or bytearray(b"x")
        yield bytes(sent)


def test_mutated_requests_never_hurt(daemon: Daemon) -> None:
    for sent in mutations(20261122, 1_500):
        with daemon.dial() as connection:
            try:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                told = answer(connection)
            except (BrokenPipeError, ConnectionResetError):
                continue
        assert not told.startswith(b"HTTP/1.1 500"), sent
    status = daemon.client.get("/v1/status")
    assert status["ready"]
    assert (
        daemon.client.get("/v1/logs?level=error&pattern=a request failed&limit=1".replace(" ", "%20"))["logs"]
        == []
    )
