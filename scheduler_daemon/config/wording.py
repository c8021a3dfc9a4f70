"""What the YAML parser says, in words that lead to the repair."""

from __future__ import annotations

from typing import Any

import yaml


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[Any, str]:
    """(mark, message): where the mistake is, counted from 0, and one line about it."""
    mark = error.problem_mark or error.context_mark or yaml.Mark("", 0, 0, 0, "", 0)
    what = error.problem or error.context or "unreadable"
    opened = error.context_mark
    start = opened.index if opened else mark.index
    at = text[mark.index : mark.index + 1]
    if "\t" in (at, text[start : start + 1]) or "tab character" in what:
        return mark, "a tab cannot indent YAML: use spaces"
    if at == "" and opened and "quoted scalar" in str(error.context):
        return opened, "this quotation mark is never closed"
    if at == "" and opened and "flow" in str(error.context):
        return opened, f"this {text[start : start + 1]} is never closed"
    if at in "{[]}" and opened and "flow" in str(error.context):
        return mark, f"{at} in the middle of a text: put the text in quotes"
    if "alias" in str(error.context) or what.startswith("found character that cannot start"):
        first = text[start : start + 1]
        return opened or mark, f"a text that starts with {first} must be in quotes"
    if what.startswith("mapping values are not allowed"):
        return mark, 'not valid YAML: a second ":" here; put a text that contains ": " in quotes'
    return mark, f"not valid YAML: {what}{_context(error)}"


def _context(error: yaml.MarkedYAMLError) -> str:
    if not error.context:
        return ""
    line = f" from line {error.context_mark.line + 1}" if error.context_mark else ""
    return f" ({error.context}{line}; look at indentation and quotes)"
