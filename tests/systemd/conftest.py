"""A machine of its own for tests: a real systemd in namespaces, over a throw-away overlay (see box.sh)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = "/usr/bin/python3"
WHEELS = "/var/cache/wheels"
SOURCE = "/usr/local/src/scheduler-daemon"
"""Where the sources are inside: a copy, since what lies in /tmp or on another disk is not seen from there."""
PARTS = (
    "Makefile",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
    "LICENSE",
    "scheduler_daemon",
    "extensions",
    "docs",
    "systemd",
)
PATIENCE_S = 120.0
COMMAND_S = 600.0
ENOUGH_S = 480.0
"""After which the rest is skipped, where nobody asked for these tests alone: CI has more to do."""
ENTER = ("nsenter", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net", "--root", "--wd")
CLEAN = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")


def missing() -> str | None:
    """Why no box can be had here; None: one can."""
    if os.geteuid() != 0:
        return "a systemd of the tests' own needs root"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    for program in ("nsenter", "unshare", "setpriv", "make", "useradd", "pgrep"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    fit = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
    if shutil.which(PYTHON) is None or subprocess.run([PYTHON, "-c", fit], capture_output=True).returncode:
        return f"{PYTHON} is not Python 3.11 or newer with its venv module"
    probe = (
        "unshare",
        "--mount",
        "--pid",
        "--cgroup",
        "--net",
        "--fork",
        "mount",
        "-t",
        "tmpfs",
        "tmpfs",
        "/mnt",
    )
    if subprocess.run(probe, capture_output=True).returncode != 0:
        return "no namespaces can be had"
    if "cgroup2" not in Path("/proc/filesystems").read_text() or _hierarchy() is None:
        return "there is no cgroup2 hierarchy"
    return None


class Box:
    """`boot`, `run` commands, `halt`, `remove`."""

    source = SOURCE

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="systemd-box-", dir="/dev/shm"))
        self.made_at = time.monotonic()
        self._shell: subprocess.Popen[bytes] | None = None
        self._init = 0

    def path(self, inside: str) -> Path:
        """Where a file that is yet to be seen inside goes before the boot."""
        return self.folder / "upper" / inside.lstrip("/")

    def boot(self) -> None:
        log = (self.folder / "boot.log").open("ab")
        self._shell = subprocess.Popen(
            ["sh", HERE / "box.sh", self.folder], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._shell.poll() is None:
            self._init = self._first_process()
            if self._init and self.try_run("systemctl", "is-system-running").stdout.strip() in (
                "running",
                "degraded",
            ):
                return
            time.sleep(0.2)
        raise AssertionError("systemd did not come up: " + (self.folder / "boot.log").read_text())

    def halt(self) -> None:
        """An orderly shutdown."""
        assert self._shell is not None
        self.try_run("systemctl", "start", "--no-block", "poweroff.target")
        try:
            self._shell.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._shell.kill()
            self._shell.wait()

    def remove(self) -> None:
        if self._shell is not None and self._shell.poll() is None:
            self._shell.kill()
            self._shell.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        hierarchy = _hierarchy()
        if hierarchy is not None:
            _remove_cgroups(hierarchy / self.folder.name)

    def try_run(
        self, *command: str, user: str | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        as_user = ("runuser", "-u", user, "--") if user else ()
        words = [*ENTER, f"--target={self._init}", *CLEAN, *as_user, *command]
        return subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S, **options)  # type: ignore[call-overload, no-any-return]

    def run(self, *command: str, user: str | None = None, **options: object) -> str:
        """What the command prints; it must succeed."""
        done = self.try_run(*command, user=user, **options)
        assert done.returncode == 0, (
            f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}\n{self._last_words()}"
        )
        return done.stdout.strip()

    def make(self, target: str, source: str = SOURCE) -> subprocess.CompletedProcess[str]:
        """`make TARGET`, offline."""
        offline = ("env", "PIP_NO_INDEX=1", f"PIP_FIND_LINKS={WHEELS}", "PIP_CONFIG_FILE=/dev/null")
        return self.try_run(
            *offline, "make", "--no-print-directory", "-C", source, target, f"PYTHON={PYTHON}"
        )

    def _last_words(self) -> str:
        return self.try_run("journalctl", "-q", "--no-pager", "-n", "30", "-u", "scheduler-daemon").stdout

    def write(self, path: str, text: str) -> None:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "sh", path, input=text)

    def journal(self, *matches: str) -> str:
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "-q", "-o", "cat", *matches)

    def until(self, *command: str, says: str = "", within_s: float = PATIENCE_S) -> str:
        """Ask again until the command succeeds and its answer contains `says`."""
        deadline = time.monotonic() + within_s
        while True:
            done = self.try_run(*command)
            if done.returncode == 0 and says in done.stdout:
                return done.stdout.strip()
            assert time.monotonic() < deadline, f"{' '.join(command)}: {done.stdout}{done.stderr}"
            time.sleep(0.2)

    def _first_process(self) -> int:
        assert self._shell is not None
        try:
            children = Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children").read_text()
            command = Path(f"/proc/{children.split()[0]}/cmdline").read_bytes()
        except (OSError, IndexError):
            return 0
        return int(children.split()[0]) if command.startswith(b"/lib/systemd/systemd\0") else 0


def _hierarchy() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return Path(line.split()[1])
    return None


def _remove_cgroups(top: Path) -> None:
    """Deepest first; the kernel takes a moment to forget the dead."""
    deadline = time.monotonic() + 10
    while top.exists() and time.monotonic() < deadline:
        for folder in sorted((f for f in top.rglob("*") if f.is_dir()), reverse=True):
            _try_rmdir(folder)
        _try_rmdir(top)
        time.sleep(0.05)


def _try_rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    """Booted, with the packages of the lock at hand: inside there is no network.

    TEST_SYSTEMD=1: it must be had; "auto": where it can be had; otherwise it takes too long.
    """
    wanted = os.environ.get("TEST_SYSTEMD")
    if wanted not in ("1", "auto"):
        pytest.skip("boots a systemd of its own: make test-systemd")
    if why := missing():
        pytest.skip(why)
    box = Box()
    try:
        try:
            gather_wheels(box.path(WHEELS))
            copy_sources(box.path(SOURCE))
            box.boot()
        except (AssertionError, subprocess.CalledProcessError) as error:
            if wanted == "auto":
                pytest.skip(f"no systemd of its own can be had: {' '.join(str(error).split())[:500]}")
            raise
        yield box
    finally:
        box.remove()


@pytest.fixture(autouse=True)
def in_time(box: Box) -> None:
    """A busy machine installs four versions in twenty minutes, a quiet one in two."""
    spent_s = time.monotonic() - box.made_at
    if os.environ.get("TEST_SYSTEMD") == "auto" and spent_s > ENOUGH_S:
        pytest.skip(f"these took {spent_s / 60:.0f} minutes already: make test-systemd runs them all")


def copy_sources(folder: Path) -> None:
    folder.mkdir(parents=True)
    subprocess.run(["cp", "-R", *(ROOT / part for part in PARTS), folder], check=True)


def gather_wheels(folder: Path) -> None:
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as venv:
        subprocess.run([PYTHON, "-m", "venv", venv], check=True)
        lock = ("--no-deps", "--require-hashes", "-r", ROOT / "requirements.lock")
        pip = (f"{venv}/bin/pip", "--quiet", "download", "--no-build-isolation", "--dest", folder)
        subprocess.run([*pip, *lock], check=True)
