"""What outlives a restart: troubles told, notices not yet sent. One small file, replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Store:
    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> Mapping[str, Any]:
        """Nothing, where there is no such file or it cannot be read: it is worth no failed start."""
        try:
            stored = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning("the notifications that waited are lost", file=str(self._file), why=str(error))
            return {}
        return stored if isinstance(stored, dict) else {}

    def write(self, document: Mapping[str, Any]) -> None:
        temporary = self._file.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(document))
            temporary.chmod(0o600)
            temporary.replace(self._file)
        except OSError as error:
            log.warning("waiting notifications cannot be kept", file=str(self._file), why=error.strerror)
