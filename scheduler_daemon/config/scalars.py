"""Plain YAML 1.1 scalars → values, and the traps in them."""

from __future__ import annotations

import math
import re
from functools import lru_cache

import yaml

from scheduler_daemon.config.report import quoted
from scheduler_daemon.config.tree import Scalar

_TAG = "tag:yaml.org,2002:"
_TRUE = {"yes", "true", "on"}
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_LARGEST = 2**63 - 1
KNOWN_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map"))
MERGE = _TAG + "merge"
STRING = _TAG + "str"


class ScalarError(ValueError):
    """A scalar that is something else than it looks like, or cannot be kept."""


@lru_cache(maxsize=10_000)
def implied_tag(text: str) -> str:
    """The tag that YAML 1.1 gives to a plain scalar."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], [])
    return next((str(tag) for tag, pattern in resolvers if pattern.match(text)), STRING)


def value(text: str, tag: str) -> Scalar:
    """The value of a scalar. Dates stay text: nothing here wants them otherwise.

    Raises ScalarError, with a line for a person.
    """
    match tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return _boolean(text)
        case "int":
            return _integer(text)
        case "float":
            return _decimal(text)
        case _:
            return text


def _boolean(text: str) -> bool:
    if implied_tag(text) != _TAG + "bool":
        raise ScalarError(f"{quoted(text)} is not true or false")
    return text.lower() in _TRUE


def _integer(text: str) -> int:
    if _OCTAL.fullmatch(text):
        raise ScalarError(f"{text} starts with 0, which YAML reads as octal: drop the 0, or quote it")
    if ":" in text:
        raise ScalarError(f"YAML reads {text} as a number to base 60: quote it ({quoted(text)})")
    try:
        number = int(text.replace("_", ""), 0)
    except ValueError:
        raise ScalarError(f"{quoted(text)} is not a whole number that can be kept") from None
    if abs(number) > _LARGEST:
        raise ScalarError(f"{quoted(text, 30)} is beyond 64 bits: quote it if it is a name")
    return number


def _decimal(text: str) -> float:
    if ":" in text:
        raise ScalarError(f"YAML reads {text} as a number to base 60: quote it ({quoted(text)})")
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ScalarError(f"{quoted(text, 30)} is not a finite number")
    return number
