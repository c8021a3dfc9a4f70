"""As whom PostgreSQL runs: it refuses to run as root, and initdb as a user that has no name.

Root runs it in a user namespace in which root's own id looks like another's, so that root's 0700 folders
serve. Where the kernel refuses that (most containers), it runs as another uid that may still enter root's
folders (CAP_DAC_OVERRIDE).
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from functools import cache

from scheduler_daemon.errors import DatabaseUnusableError

ACCOUNTS = ("scheduler-daemon", "postgres", "daemon")


@dataclass(frozen=True, kw_only=True, slots=True)
class Confinement:
    """What to put before a command (`prefix`), and who then owns the files that it makes (`owner`, a uid)."""

    prefix: tuple[str, ...]
    owner: int

    def command(self, *command: str, dies_with_parent: bool = False) -> list[str]:
        """`command` as the server's user; it may get SIGINT when the thread that started it ends."""
        return [*self.prefix, *(_mortal() if dies_with_parent else ()), *command]


@cache
def confinement(owner: int | None = None) -> Confinement:
    """How PostgreSQL can run for the present user, on files of `owner` (None: on files yet to be made).

    Raises DatabaseUnusableError where it cannot.
    """
    possible = _possible()
    fitting = [way for way in possible if owner in (None, way.owner)]
    if fitting:
        return fitting[0]
    who = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    if possible:
        raise DatabaseUnusableError(f"it belongs to uid {owner}, and {who} cannot run PostgreSQL as that uid")
    raise DatabaseUnusableError(
        f"embedded PostgreSQL cannot run as {who} here: neither a user namespace (unshare) nor another uid "
        "(setpriv) can be had; run the daemon as an ordinary user, or set database.url"
    )


@cache
def _mortal() -> tuple[str, ...]:
    """What ends a command with its parent (prctl(2), PR_SET_PDEATHSIG); nothing where it cannot be had."""
    command = ("setpriv", "--pdeathsig", "INT")
    return command if _runs(Confinement(prefix=command, owner=os.geteuid())) else ()


@cache
def _possible() -> tuple[Confinement, ...]:
    uid = os.geteuid()
    if uid != 0 and _named(uid):
        return (Confinement(prefix=(), owner=uid),)
    account = _account()
    ways = [Confinement(prefix=("unshare", "--user", f"--map-user={account.pw_uid}"), owner=uid)]
    if uid == 0:
        identity = ("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
        powers = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
        ways.append(Confinement(prefix=(*identity, *powers), owner=account.pw_uid))
    return tuple(way for way in ways if _runs(way))


def _named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _account() -> pwd.struct_passwd:
    accounts = {account.pw_name: account for account in pwd.getpwall() if account.pw_uid != 0}
    if not accounts:
        raise DatabaseUnusableError("embedded PostgreSQL needs an account other than root in /etc/passwd")
    known = next((name for name in ACCOUNTS if name in accounts), next(iter(accounts)))
    return accounts[known]


def _runs(way: Confinement) -> bool:
    try:
        return subprocess.run(way.command("true"), capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
