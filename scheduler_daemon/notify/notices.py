"""One thing to tell, and the message that several of them make. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from scheduler_daemon.reporting import Event

LISTED = 3
LINES = 20
SENT = 50
LONGEST = 500
"""Characters of one notice's text."""
_VARYING = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|0x[0-9a-f]+|\d+")
_URGENCY = (
    Event.DATABASE,
    Event.DISK,
    Event.FAILED,
    Event.HANGING,
    Event.MISSED,
    Event.LATE,
    Event.DEGRADED,
    Event.EMPTY,
    Event.RECOVERED,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """`subject` is a job's name, or "" for the daemon as a whole. `at` is Unix time in seconds."""

    event: Event
    subject: str
    text: str
    at: float
    run: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """`lines` are for people, `notices` (50 of `total` at most) for programs. `level`: bad, doubtful, good"""

    node: str
    at: float
    title: str
    lines: tuple[str, ...]
    level: str
    notices: tuple[Notice, ...]
    total: int

    def document(self) -> dict[str, Any]:
        """What a webhook or a command gets, as JSON."""
        return {
            "version": 1,
            "node": self.node,
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(),
            "title": self.title,
            "text": "\n".join(self.lines),
            "level": self.level,
            "total": self.total,
            "notices": [
                {
                    "event": notice.event.value,
                    "job": notice.subject or None,
                    "text": notice.text,
                    "at": datetime.fromtimestamp(notice.at, UTC).isoformat(),
                    "run": notice.run,
                }
                for notice in self.notices
            ],
        }


def compose(notices: Sequence[Notice], *, node: str, at: float, left_out: int = 0) -> Message:
    """One message of all: what is alike becomes one line, the gravest comes first.

    `left_out` more could not be kept.
    """
    groups = sorted(_alike(notices), key=lambda group: _URGENCY.index(group[0].event))
    lines = [_line(group) for group in groups]
    if len(lines) > LINES:
        lines[LINES - 1 :] = [f"and {len(lines) - LINES + 1} more"]
    if left_out:
        lines.append(f"{left_out} notices before these were dropped")
    gravest = groups[0][0].event
    level = {Event.RECOVERED: "good", Event.EMPTY: "doubtful", Event.LATE: "doubtful"}.get(gravest, "bad")
    title = lines[0] if len(lines) == 1 else _count(notices)
    return Message(
        node=node,
        at=at,
        title=title[:250],
        lines=tuple(lines),
        level=level,
        notices=tuple(notices[:SENT]),
        total=len(notices) + left_out,
    )


def _alike(notices: Iterable[Notice]) -> list[list[Notice]]:
    groups: dict[tuple[Event, str], list[Notice]] = {}
    for notice in notices:
        groups.setdefault((notice.event, _VARYING.sub("#", notice.text)), []).append(notice)
    return list(groups.values())


def _line(group: Sequence[Notice]) -> str:
    first = group[0]
    subjects = list(dict.fromkeys(notice.subject for notice in group))
    if len(subjects) == 1:
        again = f" ({len(group)} times)" if len(group) > 1 else ""
        return f"{first.subject}: {first.text}{again}" if first.subject else f"{first.text}{again}"
    named = ", ".join(subjects[:LISTED])
    more = f" and {len(subjects) - LISTED} more" if len(subjects) > LISTED else ""
    return f"{len(subjects)} jobs: {first.text} ({named}{more})"


def _count(notices: Iterable[Notice]) -> str:
    """Such as "3 failed, 1 recovered"."""
    counts: dict[Event, int] = {}
    for notice in notices:
        counts[notice.event] = counts.get(notice.event, 0) + 1
    return ", ".join(f"{counts[event]} {event.value}" for event in _URGENCY if event in counts)


def to_json(message: Message) -> dict[str, Any]:
    return asdict(message)


def from_json(stored: Mapping[str, Any]) -> Message:
    """Raises KeyError, TypeError or ValueError where it is no message of ours."""
    notices = tuple(notice_from_json(one) for one in stored["notices"])
    return Message(**{**stored, "lines": tuple(stored["lines"]), "notices": notices})


def notice_from_json(stored: Mapping[str, Any]) -> Notice:
    return Notice(**{**stored, "event": Event(stored["event"])})
