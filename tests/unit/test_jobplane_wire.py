"""Frames in pieces, frames that are no frames, and descriptors that come with them."""

from __future__ import annotations

import os
import socket
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.jobplane.wire import (
    FRAME_LIMIT,
    SPLIT_AT,
    Decoder,
    Discovery,
    Message,
    encode,
    encode_split,
    frame,
    receive,
)
from scheduler_daemon.model import JobSpec, RunKind
from scheduler_daemon.runner.orders import RunOrder, told_of

FRAMES = st.lists(
    st.lists(st.fixed_dictionaries({"t": st.text(), "n": st.integers()}), max_size=4), max_size=5
)


@given(frames=FRAMES, cuts=st.lists(st.integers(1, 40), min_size=1))
def test_frames_survive_any_cut(frames: list[list[Message]], cuts: list[int]) -> None:
    data = b"".join(encode(frame) for frame in frames)
    decoder, got, at, turn = Decoder(), [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        got += decoder.feed(data[at : at + size])
        at, turn = at + size, turn + 1

    assert got == frames


def test_a_long_list_is_split_and_nothing_is_lost() -> None:
    messages = [{"t": "log", "n": n, "text": "x" * 10_000} for n in range(50)]
    frames = list(encode_split(messages))

    assert len(frames) > 5
    assert max(map(len, frames)) < SPLIT_AT + 11_000
    assert [m for frame in Decoder().feed(b"".join(frames)) for m in frame] == messages
    assert list(encode_split([])) == []


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ((FRAME_LIMIT + 1).to_bytes(4, "big"), "is longer than"),
        (b"\x00\x00\x00\x02{]", "not JSON"),
        (b"\x00\x00\x00\x02{}", "not an array of messages"),
        (b"\x00\x00\x00\x04[{}]", "not an array of messages"),
        (b"\x00\x00\x00\x01\xff", "not JSON"),
        (b"\x00\x03\x0d\x40" + b"[" * 200_000, "not JSON"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes, error: str) -> None:
    with pytest.raises(JobPlaneError, match=error):
        Decoder().feed(data)


def test_descriptors_arrive_with_their_bytes_and_are_not_inherited() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    with ours, theirs:
        socket.send_fds(ours, [b"hello"], [writer])
        os.close(writer)
        data, (copy,) = receive(theirs)
        os.write(copy, b"through")

        assert data == b"hello"
        assert os.read(reader, 100) == b"through"
        assert not os.get_inheritable(copy)
    os.close(copy)
    os.close(reader)


def test_a_discovery_is_told_in_plain_json() -> None:
    job = JobSpec(name="a", extension="e", job="j", schedule="0 0 * * * *", parameters={"x": 1})
    discovery = Discovery(base_dir=Path("/b"), state_dir=Path("/s"), sections={"e": {}}, jobs=(job,))
    ((message,),) = Decoder().feed(encode([discovery.message()]))

    assert message["jobs"] == [{"name": "a", "extension": "e", "job": "j", "parameters": {"x": 1}}]
    assert (message["base_dir"], message["state_dir"], message["database_url"]) == ("/b", "/s", None)


@pytest.mark.parametrize("made_before", [True, False])
def test_what_a_worker_is_told_of_a_run(made_before: bool) -> None:
    parameters = {"text": 'a "quoted" \n line', "list": [1, None, {"ä": 0.5}], "day": date(2026, 1, 2)}
    spec = JobSpec(name="n", extension="e", job="j", schedule="@daily", timeout=timedelta(seconds=2))
    order = RunOrder(
        id="0192-7",
        token="t",
        spec=spec,
        kind=RunKind.CATCH_UP,
        attempt=2,
        scheduled_for=datetime(2026, 5, 1, 12, tzinfo=UTC),
        parameters=parameters,
        told=told_of(spec, parameters) if made_before else None,
    )
    by_hand = RunOrder(id="1", token="t", spec=spec, kind=RunKind.MANUAL)
    (messages,) = Decoder().feed(frame([order.encoded(), by_hand.encoded()]))
    shared = {"t": "run", "name": "n", "extension": "e", "job": "j", "memory_limit": None, "timeout_s": 2.0}
    assert messages == [
        {
            **shared,
            "id": "0192-7",
            "kind": "catch_up",
            "attempt": 2,
            "scheduled_for": 1777636800.0,
            "parameters": {**parameters, "day": "2026-01-02"},
        },
        {**shared, "id": "1", "kind": "manual", "attempt": 1, "scheduled_for": None, "parameters": {}},
    ]


def test_a_message_that_the_quick_encoder_refuses_is_sent_all_the_same() -> None:
    messages = [{"t": "log", "message": "a lone \ud800", "n": 2**70}]
    assert list(chain.from_iterable(Decoder().feed(b"".join(encode_split(messages))))) == messages
