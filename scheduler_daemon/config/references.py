"""`${env:NAME}` and `${credential:NAME}`: secrets stay out of the files, and out of the revision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from scheduler_daemon.config.report import Report, did_you_mean, quoted
from scheduler_daemon.config.tree import Node, mapping, sequence

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<kind>[a-z]+):(?P<name>[A-Za-z0-9_.@-]+)\}|\$\{")
_PLANNING = frozenset({"timezone", "scheduler", "workers", "history", "logs"})
_LARGEST = 1024 * 1024


class _MissingError(Exception):
    """A secret that cannot be had; the text says why."""


def expand(root: Node, environ: Mapping[str, str], report: Report, secrets: set[str] | None = None) -> Node:
    """The tree with every reference replaced by its secret; `Node.text` keeps what was written.

    References are refused where the value makes the plan: a stored revision must tell it by itself.
    `secrets` gets what was put in.
    """
    return _References(environ, report, set() if secrets is None else secrets).expand(root, ())


def stand_ins(text: str, stand_in: str) -> str:
    """The text with each reference replaced by `stand_in`."""
    return _REFERENCE.sub(lambda m: stand_in if m["kind"] else m[0], text)


def _allowed(path: tuple[str | int, ...]) -> bool:
    return (
        path[:1] == () or path[0] not in _PLANNING or (path[0] == "scheduler" and "parameters" in path[2:4])
    )


class _References:
    def __init__(self, environ: Mapping[str, str], report: Report, secrets: set[str]) -> None:
        self._environ = environ
        self._report = report
        self._secrets = secrets

    def expand(self, node: Node, path: tuple[str | int, ...]) -> Node:
        if isinstance(node.value, dict):
            expanded = {name: self.expand(entry.node, (*path, name)) for name, entry in node.value.items()}
            if all(expanded[name] is entry.node for name, entry in node.value.items()):
                return node
            return mapping(
                node.place, {name: replace(e, node=expanded[name]) for name, e in node.value.items()}
            )
        if isinstance(node.value, tuple):
            items = [self.expand(n, (*path, i)) for i, n in enumerate(node.value)]
            unchanged = all(new is old for new, old in zip(items, node.value, strict=True))
            return node if unchanged else sequence(node.place, items)
        if isinstance(node.value, str) and "${" in node.value:
            return self._expand_text(node, node.value, path)
        return node

    def _expand_text(self, node: Node, text: str, path: tuple[str | int, ...]) -> Node:
        if not _allowed(path):
            self._report.error(
                node.place, "a reference cannot stand here: the plan must be readable from the configuration"
            )
            return node
        try:
            return replace(node, value=_REFERENCE.sub(self._secret, text), text=text, inset=None)
        except _MissingError as error:
            self._report.error(node.place, str(error))
            return node

    def _secret(self, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        read = {"env": self._variable, "credential": self._credential}.get(match["kind"])
        if read is not None:
            secret = read(match["name"])
            self._secrets.add(secret)
            return secret
        raise _MissingError(
            f"{quoted(match[0])} is no reference: write ${{env:NAME}} or ${{credential:NAME}}, "
            "or $${ for a plain ${"
        )

    def _variable(self, name: str) -> str:
        if name not in self._environ:
            raise _MissingError(f"the environment has no {name}{did_you_mean(name, self._environ)}")
        return _kept(self._environ[name], f"the environment's {name}")

    def _credential(self, name: str) -> str:
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise _MissingError(
                f"no credential {name}: $CREDENTIALS_DIRECTORY is not set (systemd's LoadCredential= does)"
            )
        if name in (".", ".."):
            raise _MissingError(f"{name} is not the name of a credential")
        try:
            with (Path(folder) / name).open("rb") as stream:
                content = stream.read(_LARGEST)
            text = content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise _MissingError(f"the credential {name} is not UTF-8 text") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a possible path"
            raise _MissingError(f"cannot read the credential {name}: {reason.lower()}") from None
        return _kept(text, f"the credential {name}")


def _kept(secret: str, whose: str) -> str:
    if not secret:
        raise _MissingError(f"{whose} is empty")
    if "\0" in secret or any("\ud800" <= c <= "\udfff" for c in secret):
        raise _MissingError(f"{whose} is not UTF-8 text")
    return secret
