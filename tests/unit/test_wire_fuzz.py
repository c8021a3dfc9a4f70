"""What a worker gone mad, or turned hostile, may send: the daemon refuses it, and nothing else happens."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.jobplane.wire import Decoder, encode
from scheduler_daemon.model import JobSpec, LogRecord, Outcome, RunKind
from scheduler_daemon.runner.orders import RunOrder
from scheduler_daemon.runner.slot import Slot
from scheduler_daemon.runner.wellformed import check

RUN = "0199e5f2-0000-7000-8000-000000000000"
GOOD: dict[str, dict[str, Any]] = {
    "started": {"id": RUN, "at": 1.5},
    "step": {"id": RUN, "name": "post", "status": "failed", "duration_s": 0.5, "error": "é"},
    "progress": {"id": RUN, "done": 1, "total": None, "note": ""},
    "log": {"id": RUN, "at": 1, "level": "info", "module": "m", "message": "x", "fields": {"a": [1, "b"]}},
    "outcome": {
        "id": RUN,
        "status": "succeeded",
        "started_at": 1.0,
        "finished_at": 2.0,
        "items_processed": 7,
        "items_failed": None,
        "message": "m",
        "error": None,
        "traceback": None,
        "steps": [{"name": "post", "status": "succeeded", "duration_s": 0.1, "error": None}],
        "logs_dropped": 0,
    },
    "returned": {"ids": [RUN]},
    "leaving": {"reason": "memory"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(RUN),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), max_size=10))
@example(b"\x00\x00\x00\x02[]" * 3, [1])
@example(b"\xff\xff\xff\xff", [])
@example(b"\x00\x00\x00\x0e" + b"[[[[[[[[[[[[[[", [])
def test_bytes_are_frames_or_refused(data: bytes, cuts: list[int]) -> None:
    decoder = Decoder()
    with contextlib.suppress(JobPlaneError):
        for cut in [*cuts, len(data)]:
            for frame in decoder.feed(data[:cut]):
                assert all(isinstance(message, dict) and "t" in message for message in frame)
            data = data[cut:]


def test_depth_is_refused_and_not_suffered() -> None:
    payload = b"[" * 200_000
    with pytest.raises(JobPlaneError):
        Decoder().feed(len(payload).to_bytes(4, "big") + payload)


@pytest.mark.parametrize("kind", GOOD)
def test_what_workers_send_passes(kind: str) -> None:
    check([{"t": kind, **GOOD[kind]}, {"t": "ready"}, {"t": "of a later version"}])


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("started", "at", float("nan")),
        ("started", "at", float("inf")),
        ("started", "at", True),
        ("started", "id", None),
        ("outcome", "status", "skipped"),
        ("outcome", "items_processed", 2**63),
        ("outcome", "items_failed", -1),
        ("outcome", "message", "a\0b"),
        ("outcome", "error", "\ud800"),
        ("outcome", "steps", [{"name": "x"}]),
        ("outcome", "finished_at", None),
        ("log", "fields", {"a": {"b": float("nan")}}),
        ("log", "fields", {"a\0": 1}),
        ("log", "fields", []),
        ("returned", "ids", [RUN, 5]),
        ("returned", "ids", None),
    ],
)
def test_what_the_database_could_not_hold_is_refused(kind: str, field: str, value: Any) -> None:
    with pytest.raises(JobPlaneError, match=f"'{kind}' is not well-formed: {field}"):
        check([{"t": kind, **GOOD[kind], field: value}])


class Deaf:
    """Owner and events of a slot, which note what they get."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *words: self.told.append((name, *words))


def slot() -> tuple[Slot, Deaf]:
    deaf = Deaf()
    spec = JobSpec(name="a", extension="x", job="a", schedule="@daily")
    one = Slot(deaf, deaf, None)  # type: ignore[arg-type]  # Deaf hears everything
    one.link = deaf  # type: ignore[assignment]
    one.handed = {RUN: RunOrder(id=RUN, token="t", spec=spec, kind=RunKind.MANUAL)}
    return one, deaf


@st.composite
def hostile(draw: st.DrawFn) -> dict[str, Any]:
    """A message of a known kind, of which some fields are anything at all, or are not there."""
    kind = draw(st.sampled_from(sorted(GOOD)))
    fields = dict(GOOD[kind])
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=3)):
        if draw(st.booleans()):
            fields[name] = draw(JSON)
        else:
            fields.pop(name, None)
    return {"t": draw(st.sampled_from([kind, kind, kind, "ready"])), **fields}


@given(st.lists(hostile(), max_size=8))
@settings(max_examples=400, deadline=None)
@example([{"t": ["unhashable"], "id": RUN}])
@example([{"t": None}])
@example([{"t": "log", "at": 1, "level": "info", "module": "m", "message": "of no run"}])
def test_the_daemon_takes_it_or_refuses_it_and_never_breaks(messages: list[dict[str, Any]]) -> None:
    one, deaf = slot()
    for frame in Decoder().feed(encode(json.loads(json.dumps(messages)))):
        try:
            check(frame)
        except JobPlaneError:
            continue
        one.receive(frame)
    for name, *words in deaf.told:
        if name == "ended":
            assert isinstance(words[1].outcome, Outcome)
        if name == "logged":
            assert isinstance(words[1], LogRecord)
