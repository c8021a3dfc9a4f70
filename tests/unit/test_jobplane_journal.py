"""Bytes from a pipe become lines; a channel gathers what it sends."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler_daemon.jobplane.channel import AT_ONCE, Channel
from scheduler_daemon.jobplane.journal import CHARACTERS_PER_RUN, Journal, Output
from scheduler_daemon.jobplane.wire import Decoder, Message


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.said: list[Message] = []
        self.journal = Journal(self.said.append, (Output(self.reader, "stdout", "info"),))

    def lines(self) -> list[str]:
        return [message["message"] for message in self.said]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.reader)
    os.close(made.writer)


def test_lines_are_cut_at_line_ends_however_they_arrive(pipe: Pipe) -> None:
    pipe.journal.begin("r")
    for piece in (b"on", b"e\ntwo\r\n\n", b"  \n10%\r50%\r100%\nlast"):
        os.write(pipe.writer, piece)
        pipe.journal.drain()
    assert pipe.lines() == ["one", "two", "100%"]

    assert pipe.journal.end() == 0
    assert pipe.lines()[-1] == "last"


def test_what_a_run_printed_is_its_own(pipe: Pipe) -> None:
    os.write(pipe.writer, b"before\n")
    pipe.journal.begin("r1")
    os.write(pipe.writer, b"one\n")
    pipe.journal.end()
    pipe.journal.begin("r2")
    os.write(pipe.writer, b"two\n")
    pipe.journal.end()

    assert [(m["id"], m["message"]) for m in pipe.said] == [(None, "before"), ("r1", "one"), ("r2", "two")]


def test_the_characters_of_a_run_are_bounded_too(pipe: Pipe) -> None:
    pipe.journal.begin("r")
    for _ in range(3_000):
        pipe.journal.write("info", "job", "x" * 8_000, {})

    assert sum(map(len, pipe.lines())) <= CHARACTERS_PER_RUN + 8_000
    assert pipe.journal.end() == 3_000 - len(pipe.said)


class Nobody:
    def receive(self, message: Message) -> None:
        raise AssertionError("nobody speaks here")

    def drain(self) -> None: ...


def read_all(sock: socket.socket, count: int) -> list[list[Message]]:
    decoder, frames = Decoder(), []
    deadline = time.monotonic() + 10
    while sum(map(len, frames)) < count:
        assert select.select([sock], [], [], deadline - time.monotonic())[0], "nothing came"
        frames += decoder.feed(sock.recv(65536))
    return frames


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(theirs, ())
    yield channel, ours
    channel.close()
    ours.close()


def test_a_burst_is_gathered_after_its_first_messages(ends: tuple[Channel, socket.socket]) -> None:
    channel, ours = ends
    channel.start(Nobody())
    for number in range(300):
        channel.post({"t": "log", "n": number})
    frames = read_all(ours, 300)

    assert [m["n"] for frame in frames for m in frame] == list(range(300))
    assert all(len(frame) == 1 for frame in frames[:AT_ONCE])
    assert len(frames) < 100


def test_progress_that_nobody_has_read_is_replaced(ends: tuple[Channel, socket.socket]) -> None:
    channel, ours = ends
    channel.start(Nobody())
    for number in range(10_000):
        channel.post({"t": "progress", "done": number})
    channel.send({"t": "outcome"})
    messages: list[Any] = []
    while not messages or messages[-1]["t"] != "outcome":
        messages += [m for frame in read_all(ours, 1) for m in frame]

    assert messages[-2]["done"] == 9_999
    assert len(messages) < 5_000


def test_what_does_not_fit_into_the_socket_is_sent_when_there_is_room(
    ends: tuple[Channel, socket.socket],
) -> None:
    channel, ours = ends
    channel.start(Nobody())
    for number in range(200):
        channel.send({"t": "log", "n": number, "text": "x" * 10_000})

    assert [m["n"] for frame in read_all(ours, 200) for m in frame] == list(range(200))
