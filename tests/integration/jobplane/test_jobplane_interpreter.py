"""The interpreter that extensions live in: each reload may name another."""

from __future__ import annotations

import sys
import venv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scheduler_daemon.errors import JobPlaneError
from scheduler_daemon.runner import plane as plane_module

SOURCE = """
@extension.job(name="where", schedule="0 0 0 1 1 *")
def where(ctx):
    return JobResult.success().with_message(sys.prefix)
"""


def environment(folder: Path) -> Path:
    """An environment of its own that finds what this one has."""
    venv.create(folder, with_pip=False, symlinks=True)
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    site = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (site / "ours.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\n")
    return folder / "bin" / "python"


async def test_a_reload_goes_over_to_the_interpreter_that_is_asked_for(
    make_plane: Any, packages: Any, tmp_path: Path
) -> None:
    packages.add("demo", SOURCE)
    plane = make_plane()
    await plane.start(plane.request)
    assert (await (await plane.worker()).result("where"))["message"] == sys.prefix

    await plane.reload(replace(plane.request, python=environment(tmp_path / "other")))
    assert (await (await plane.worker()).result("where"))["message"] == str(tmp_path / "other")

    with pytest.raises(JobPlaneError, match="nowhere/python cannot be started"):
        await plane.reload(replace(plane.request, python=tmp_path / "nowhere" / "python"))
    assert (await (await plane.worker()).result("where"))["message"] == str(tmp_path / "other")


async def test_an_import_may_take_as_long_as_the_request_says(make_plane: Any, packages: Any) -> None:
    packages.add("slow", "time.sleep(60)")
    plane = make_plane(import_timeout_s=60.0)

    catalogue = await plane.start(replace(plane.request, import_timeout_s=0.2))

    (slow,) = catalogue.extensions
    assert slow.error is not None
    assert slow.error.startswith("pkg-slow[slow]: its import did not end within 0.2 s, at ")


async def test_a_job_plane_of_another_version_is_refused(
    make_plane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane_module, "PROTOCOL", 0)
    plane = make_plane()

    with pytest.raises(JobPlaneError, match="has another version of scheduler-daemon"):
        await plane.start(plane.request)
