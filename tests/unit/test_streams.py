"""Live events: in order, for the right reader, and a slow one is told what it lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from scheduler_daemon.runner.streams import BUFFER, Reader, Streams


async def rest_of(reader: Reader) -> list[Mapping[str, Any]]:
    return [event async for event in reader.events()]


async def test_a_reader_of_one_run_hears_of_that_run_only() -> None:
    streams = Streams()
    one, everything = streams.open("a"), streams.open()
    streams.publish("a", {"n": 1})
    streams.publish("b", {"n": 2})
    streams.end()
    assert await rest_of(one) == [{"n": 1}]
    assert await rest_of(everything) == [{"n": 1}, {"n": 2}]


async def test_a_reader_that_waits_is_woken_and_ends_with_the_streams() -> None:
    streams = Streams()
    reader = streams.open("a")
    heard = asyncio.create_task(rest_of(reader))
    await asyncio.sleep(0)
    streams.publish("a", {"n": 1})
    await asyncio.sleep(0)
    streams.publish("a", {"n": 2})
    streams.end()
    assert await asyncio.wait_for(heard, 10) == [{"n": 1}, {"n": 2}]


async def test_a_slow_reader_loses_events_and_is_told_how_many_but_always_hears_the_end() -> None:
    streams = Streams()
    reader = streams.open("a")
    for number in range(BUFFER + 7):
        streams.publish("a", {"event": "log", "n": number})
    streams.publish("a", {"event": "ended"})
    reader.close()
    events = await rest_of(reader)
    assert [e["n"] for e in events[:BUFFER]] == list(range(BUFFER))
    assert events[BUFFER:] == [{"event": "dropped", "count": 7}, {"event": "ended"}]


async def test_nobody_listens_costs_nothing_and_closing_twice_is_fine() -> None:
    streams = Streams()
    assert not streams
    reader = streams.open()
    assert streams
    reader.close()
    reader.close()
    assert not streams
    streams.publish("a", {})
