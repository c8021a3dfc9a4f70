"""What Linux is asked about processes, and told: parents, children, threads, limits."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_OOM_SCORE = 500
_SWEEPS = 20

MARK = "SCHEDULER_DAEMON_PLANE"
"""The environment variable that every process of a job plane inherits: its state directory and zygote."""

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, signum: int = signal.SIGKILL) -> None:
    """End when the parent does: the thread that forked us, so fork from a thread that lives on."""
    _prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os._exit(0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (child subreaper)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def raise_oom_score() -> None:
    """Let the kernel, when memory runs out, choose a worker before the daemon or its database."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))


def start_time(pid: int) -> int:
    """Clock ticks after boot at which the process began; with the pid it names a process for good."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "?"


def children() -> set[int]:
    """Pids of this process's children, zombies too; of all its threads."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(map(int, (task / "children").read_bytes().split()))
    return found


def has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def kill_children(within_s: float = 2.0) -> list[str]:
    """Kill and reap every child until there is none; return "name (pid)" of those that were running.

    Their own children come to us as they die (see `adopt_orphans`), so this ends all descendants.
    """
    killed: dict[int, str] = {}
    deadline = time.monotonic() + within_s
    while has_children() and time.monotonic() < deadline:
        for pid in children():
            if not _reap(pid):
                killed.setdefault(pid, f"{name_of(pid)} ({pid})")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    return list(killed.values())


def mark(state_dir: Path, generation: int) -> str:
    """What all processes of one zygote of this daemon carry in their environment, as MARK."""
    pid = os.getpid()
    return f"{state_dir}#{pid}.{start_time(pid)}.{generation}"


def sweep(wanted: str) -> list[str]:
    """Kill every process that carries this mark; return "name (pid)" of each.

    For what was detached from a zygote or a worker that died of SIGKILL, and could not bury it.
    """
    killed: dict[int, str] = {}
    for _ in range(_SWEEPS):
        found = [pid for pid, carried in _marked() if carried == wanted]
        if not found:
            break
        for pid in found:
            killed.setdefault(pid, f"{name_of(pid)} ({pid})")
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    return list(killed.values())


def forsaken(state_dir: Path) -> set[str]:
    """Marks of this state directory whose daemon is no more, though some of its processes are."""
    return {
        carried
        for _, carried in _marked()
        if carried.startswith(f"{state_dir}#") and not _daemon_lives(carried.rpartition("#")[2])
    }


def _marked() -> Iterator[tuple[int, str]]:
    prefix = f"{MARK}=".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                for item in (entry / "environ").read_bytes().split(b"\0"):
                    if item.startswith(prefix):
                        yield int(entry.name), os.fsdecode(item[len(prefix) :])


def _daemon_lives(identity: str) -> bool:
    try:
        pid, ticks, _ = map(int, identity.split("."))
    except ValueError:
        return True  # not a mark of ours
    try:
        return start_time(pid) == ticks
    except OSError:
        return False


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def thread_count() -> int:
    """Threads of this process, those unknown to Python too."""
    return os.stat("/proc/self/task").st_nlink - 2  # noqa: PTH116  # ten times cheaper than listing it


def data_size() -> int:
    """Bytes that RLIMIT_DATA counts (VmData)."""
    for line in Path("/proc/self/status").read_bytes().splitlines():
        if line.startswith(b"VmData:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmData")


def limit_data(extra: int) -> None:
    """Allow this process `extra` bytes more than it has."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = data_size() + extra
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def unlimit_data() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
