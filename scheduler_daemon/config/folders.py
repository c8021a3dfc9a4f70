"""Where relative paths start, where state lies, where the socket is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scheduler_daemon.config.report import Report
from scheduler_daemon.config.tree import Node

LONGEST_SOCKET = 107
"""Bytes of sun_path without its final NUL, unix(7)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folders:
    base_dir: Path
    state_dir: Path
    socket: Path
    python: Path | None


def folders(file: Path, root: Node, environ: Mapping[str, str], report: Report) -> Folders:
    """Absolute paths, explicit ones first, then systemd's, then beside the configuration."""
    base = base_dir(file)
    state = _given(root.find("state_dir"), base) or _under(environ, "STATE_DIRECTORY") or base / "var"
    runtime = _under(environ, "RUNTIME_DIRECTORY") or state / "run"
    given = root.find("control", "socket")
    socket = _given(given, base) or runtime / "control.sock"
    _check_length(socket, given, root, report)
    _check_reach(socket, state, root, report)
    python = root.find("jobplane", "python")
    interpreter = _given(python, base)
    if python and interpreter and not os.access(interpreter, os.X_OK):
        report.error(python.place, "jobplane.python: there is no program that could be started")
    return Folders(base_dir=base, state_dir=state, socket=socket, python=interpreter)


def base_dir(file: Path) -> Path:
    """The file's folder; for `config/` its parent, for `services/scheduler/` the folder of `services`."""
    folder = file.parent
    if folder.parts[-2:] == ("services", "scheduler"):
        return folder.parent.parent
    return folder.parent if folder.name == "config" else folder


def _given(node: Node | None, base: Path) -> Path | None:
    if node is None or not isinstance(node.value, str) or not node.value or "\0" in node.value:
        return None
    return Path(os.path.normpath(base / node.value))


def _under(environ: Mapping[str, str], variable: str) -> Path | None:
    """systemd lists several folders with colons; the first is ours."""
    first = environ.get(variable, "").partition(":")[0]
    return Path(os.path.normpath(first)) if first.startswith("/") else None


def _check_length(socket: Path, given: Node | None, root: Node, report: Report) -> None:
    length = len(os.fsencode(socket))
    if length <= LONGEST_SOCKET:
        return
    rule = f"{length} bytes, and the path of a socket has at most {LONGEST_SOCKET}"
    if given and given.value:
        report.error(given.place, f"control.socket is too long: {rule}")
    else:
        report.error(
            (root.find("state_dir") or root).place,
            f"the control socket would be {socket}: {rule}; set control.socket to a shorter path",
        )


def _check_reach(socket: Path, state: Path, root: Node, report: Report) -> None:
    """The state directory is its owner's alone: nobody else gets to a socket in it."""
    if not socket.is_relative_to(state):
        return
    for key in ("group", "readers"):
        node = root.find("control", key)
        if node is not None and (node.value or node.items):
            report.warning(
                node.place,
                f"control.{key}: others cannot reach {socket}, for only its owner enters {state}; "
                "set control.socket to a path outside it",
            )
