"""A whole expression's text → its fields, or a CronError: what is wrong, where, and what to write."""

from __future__ import annotations

import re

from scheduler_daemon.cron.advice import explain, explain_nickname, quote
from scheduler_daemon.cron.fields import KINDS, YEAR, Field, Fields, UnreadableError, read_field
from scheduler_daemon.errors import CronError

REBOOT = "@reboot"
NICKNAMES = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_ORDER = '"second minute hour day-of-month month day-of-week", or seven with a year at the end'
_SECOND_0 = Field(1, starred=False, restricted=True)
_EVERY_YEAR = Field(YEAR.every, starred=True, restricted=False)


def read(text: str) -> Fields | None:
    """Read five, six or seven fields or a nickname; None stands for `@reboot`. Raises CronError."""
    words = _words(text)
    if words and words[0][0] == "@":
        return _read_nickname(text, words)
    if not 5 <= len(words) <= 7:
        raise _refusal(text, f"{quote(text)} has {_count(len(words))}; a schedule has six, {_ORDER}")
    kinds = KINDS[len(words) == 5 :]
    try:
        fields = [read_field(kind, word) for kind, word in zip(kinds, words, strict=False)]
    except UnreadableError as unreadable:
        raise _unreadable(text, kinds.index(unreadable.kind), unreadable) from None
    if len(fields) == 5:
        fields.insert(0, _SECOND_0)
    if len(fields) == 6:
        fields.append(_EVERY_YEAR)
    return Fields(*fields)


def refuse_as_schedule(text: str) -> None:
    """Raise CronError if `text`, which parses, is yet no schedule of a job: five fields, or `@reboot`."""
    words = _words(text)
    if words == [REBOOT]:
        raise _refusal(
            text,
            f'"{REBOOT}" is not a schedule; what runs when the daemon starts is a job with run_on_startup',
        )
    if len(words) == 5:
        meant = " ".join(["0", *words])
        raise _refusal(
            text, f'{quote(text)} has five fields; schedules start with seconds: did you mean "{meant}"?'
        )


def _words(text: str) -> list[str]:
    return [word for word in text.replace("\t", " ").split(" ") if word]


def _read_nickname(text: str, words: list[str]) -> Fields | None:
    name = words[0]
    if len(words) > 1 or name not in (*NICKNAMES, REBOOT):
        raise _refusal(text, f"{quote(text)} is not a nickname; {explain_nickname(words, NICKNAMES)}")
    return None if name == REBOOT else read(NICKNAMES[name])


def _unreadable(text: str, index: int, unreadable: UnreadableError) -> CronError:
    piece, offset, reason = explain(unreadable)
    starts = [word.start() for word in re.finditer(r"[^ \t]+", text)]
    column = starts[index] + unreadable.offset + offset + 1
    message = f"{unreadable.kind.name} {quote(piece)} (column {column}): {reason}"
    return CronError(message, field=unreadable.kind.name, text=piece, column=column)


def _refusal(text: str, message: str) -> CronError:
    column = len(text) - len(text.lstrip(" \t")) + 1
    return CronError(message, field="expression", text=text.strip(" \t"), column=column)


def _count(words: int) -> str:
    number = ("no", "one", "two", "three", "four")[words] if words < 5 else str(words)
    return f"{number} field{'s' * (words != 1)}"
