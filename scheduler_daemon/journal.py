"""journald's own protocol: entries with fields (systemd.io, "Native Journal Protocol")."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from typing import Any

from scheduler_daemon.model import LogRecord

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "scheduler-daemon"
PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARN": 4, "ERROR": 3}
"""syslog(3)'s numbers."""
_NAME = re.compile(r"[^A-Z0-9_]")


def ours() -> bool:
    """Whether standard error goes to the journal (systemd.exec, $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class Journal:
    """Never waits: when journald cannot keep up, `lost` counts what it did not get."""

    def __init__(self, path: str | None = None) -> None:
        self.lost = 0
        self._path = path or SOCKET
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )

    def close(self) -> None:
        self._socket.close()

    def send(self, record: LogRecord) -> None:
        """The message with its fields, and each field on its own: SCHEDULER_JOB, SCHEDULER_RUN, …"""
        fields: dict[str, Any] = {
            "MESSAGE": _line(record),
            "PRIORITY": PRIORITIES.get(record.level, 6),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "SCHEDULER_MODULE": record.module,
            "SCHEDULER_JOB": record.job,
            "SCHEDULER_RUN": record.run_id,
        }
        for name, value in record.fields.items():
            fields["SCHEDULER_FIELD_" + _NAME.sub("_", str(name).upper())[:40]] = value
        self._write(b"".join(_field(name, str(value)) for name, value in fields.items() if value is not None))

    def _write(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._path)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS) or not self._write_file(entry):
                self.lost += 1

    def _write_file(self, entry: bytes) -> bool:
        """What is too large for a datagram goes as a sealed file."""
        import fcntl

        descriptor = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(descriptor, entry)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))]
            self._socket.sendmsg([b""], ancillary, 0, self._path)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True


def _line(record: LogRecord) -> str:
    """What `journalctl` shows: job, message, fields; long or many-lined fields below."""
    short = {n: str(v) for n, v in record.fields.items() if "\n" not in str(v)}
    long = [str(value) for value in record.fields.values() if "\n" in str(value)]
    head = f"{record.job}: {record.message}" if record.job else record.message
    pairs = "".join(f" {name}={value}" for name, value in short.items())
    return "\n".join([f"{head}{' ' if pairs else ''}{pairs}", *long])


def _field(name: str, value: str) -> bytes:
    """NAME=value, or where the value has several lines: NAME, its length in 64 bits, value."""
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
