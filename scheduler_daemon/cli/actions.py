"""Who did what, in words: the control API gives before and after as plain data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from scheduler_daemon.cli import times, wording
from scheduler_daemon.cli.table import Cell, spilling
from scheduler_daemon.cli.terminal import Terminal

Answer = Mapping[str, Any]
HEADS = ("WHEN", "WHO", "ACTION", "OF", "WHAT")
_AS_IN_THE_FILE = "as the file says"
_HASH = re.compile(r"[0-9a-f]{64}")
_RUN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)")


def lines(answer: Answer, terminal: Terminal) -> Iterator[str]:
    now = datetime.now().astimezone()
    rows: list[tuple[Cell, ...]] = [
        (
            times.local(one["at"], now=now),
            f"{one['user_name']} ({one['uid']}, pid {one['pid']})",
            (one["action"], "bold"),
            _value(one["target"], now) if one["target"] else "",
            (f"refused: {one['error'].splitlines()[0]}", "red") if one["error"] else what(one, now),
        )
        for one in answer["actions"]
    ]
    yield from spilling(terminal, HEADS, rows, give=1)


def what(action: Answer, now: datetime) -> str:
    """ "enabled, as the file says → disabled until 18:00:00: moving house"."""
    if action["action"] in ("enable", "disable", "reset"):
        before, after = (_override(action[side], now) for side in ("before", "after"))
    elif action["action"] == "start" and action["before"]:
        gone, after = action["before"], _brief(action["after"], now)
        before = f"{'stopped' if gone.get('stopped') else 'gone'} since {_value(gone.get('from'), now)}"
    else:
        before, after = (_brief(action[side], now) for side in ("before", "after"))
    return f"{before} → {after}" if before and after else after or before


def _override(side: Any, now: datetime) -> str:
    if not isinstance(side, Mapping):
        return _AS_IN_THE_FILE
    text = "enabled" if side.get("enabled") else "disabled"
    if side.get("until"):
        text += f" until {_value(side['until'], now)}"
    return text + (f": {side['reason']}" if side.get("reason") else "")


def _brief(side: Any, now: datetime) -> str:
    if isinstance(side, Mapping):
        told = {name: value for name, value in side.items() if value not in (None, {}, "")}
        return ", ".join(f"{name} {_value(value, now)}" for name, value in told.items())
    return "" if side is None else _value(side, now)


def _value(value: Any, now: datetime) -> str:
    """As short as people want it; the whole is in --json."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if _HASH.fullmatch(value):
        return value[:12]
    if _RUN.fullmatch(value):
        return wording.short(value)
    return times.local(value, now=now) if _TIME.fullmatch(value) else value
