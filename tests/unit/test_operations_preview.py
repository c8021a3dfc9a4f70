"""What differs between two configurations, key by key."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler_daemon.operations.preview import _settings


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"timezone": "UTC"}, {"timezone": "UTC"}, []),
        (
            {"extensions": {"web": {"site": {"name": "a", "language": "en"}}}},
            {"extensions": {"web": {"site": {"name": "b", "language": "en"}}}},
            [("extensions.web.site.name", "a", "b")],
        ),
        ({}, {"workers": {"max": 3}}, [("workers.max", None, 3)]),
        ({"metrics": True}, {"metrics": {"port": 1}}, [("metrics", True, {"port": 1})]),
        (
            {"scheduler": {"enabled": True, "jobs": [1]}},
            {"scheduler": {"enabled": False, "jobs": [2]}, "includes": ["x"]},
            [("scheduler.enabled", True, False)],
        ),
    ],
)
def test_the_keys_that_differ_are_named_one_by_one(before: Any, after: Any, told: Any) -> None:
    assert [(one.key, one.before, one.after) for one in _settings(before, after)] == told
