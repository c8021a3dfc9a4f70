"""Which user agents are robots: the list of the package crawler-user-agents, and one rule of thumb."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

_CONTACT = ("+http", "crawler", "spider")


def list_version() -> str:
    """The version of the list, which is part of what a roll-up was made with."""
    return version("crawler-user-agents")


@cache
def is_crawler(agent: str) -> bool:
    """Whether the agent is on the list, or names a contact address as only robots do."""
    from crawleruseragents import is_crawler as listed  # half a megabyte of JSON: only once it is needed

    lowered = agent.lower()
    return any(mark in lowered for mark in _CONTACT) or bool(listed(agent))
