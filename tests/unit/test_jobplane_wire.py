"""Frames in pieces, frames that are no frames, and descriptors that come with them."""

from __future__ import annotations

import os
import socket
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
    receive,
)
from scheduler_daemon.model import JobSpec

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
