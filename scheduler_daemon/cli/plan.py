"""What a reload would change, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from scheduler_daemon.cli import times
from scheduler_daemon.cli.terminal import Terminal, clean

Answer = Mapping[str, Any]
WOULD_CHANGE = 4
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def describe(answer: Answer, terminal: Terminal) -> Iterator[str]:
    if not answer["changes"]:
        yield "nothing would change"
        yield from _warnings(answer, terminal)
        return
    yield f"revision {answer['revision_before'][:12]} → {answer['revision_after'][:12]}"
    for job in answer["jobs"]:
        yield ""
        yield from _job(job, answer["days"], terminal)
    for heading, fields in (("Settings", answer["settings"]), ("Extensions", answer["extensions"])):
        if fields:
            yield ""
            yield terminal.paint(heading, "bold")
            yield from (f"  {_field(field)}" for field in fields)
    if answer["tzdata_before"] != answer["tzdata_after"]:
        yield ""
        yield f"time zone rules: {answer['tzdata_before']} → {answer['tzdata_after']}"
    yield ""
    if not answer["catch_up"]:
        yield "It would start nothing by itself."
    for one in answer["catch_up"]:
        yield terminal.paint(
            f"It would start {one['job']} for {times.local(one['instant'])}, which is due", "yellow"
        )
    yield from _warnings(answer, terminal)


def _job(job: Answer, days: int, terminal: Terminal) -> Iterator[str]:
    sign, style = _SIGNS[job["change"]]
    yield terminal.paint(f"{sign} {job['job']} ({job['change']})", style, "bold")
    for field in job["fields"]:
        yield f"    {_field(field)}"
    if job["unavailable"]:
        yield terminal.paint(f"    unavailable: {clean(job['unavailable'])}", "red")
    fires = job["fires"]
    yield f"    fires in the next {days} days: {fires['before']:,} → {fires['after']:,}"
    if not fires["exact"]:
        yield "    too many to compare one by one"
    for name, verb in (("added", "new"), ("removed", "gone")):
        if fires[name]:
            listed = ", ".join(times.local(one) for one in fires[f"first_{name}"])
            yield f"    {fires[name]:,} {verb}: {listed}{_more(fires[name], fires[f'first_{name}'])}"
    if fires["moved"]:
        listed = ", ".join(_move(one) for one in fires["first_moved"])
        yield f"    {fires['moved']:,} moved: {listed}{_more(fires['moved'], fires['first_moved'])}"


def _move(one: Answer) -> str:
    return f"{times.local(one['before'])} → {times.local(one['after'])}"


def _more(number: int, shown: Any) -> str:
    return f" and {number - len(shown):,} more" if number > len(shown) else ""


def _field(field: Answer) -> str:
    before, after = (_value(field[side]) for side in ("before", "after"))
    return clean(f"{field['key']}: {before} → {after}")


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _warnings(answer: Answer, terminal: Terminal) -> Iterator[str]:
    for warning in answer["warnings"]:
        yield terminal.paint(clean(warning), "yellow")
