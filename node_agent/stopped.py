"""Which lanes were stopped by request: held so that their daemon stays down, until it is started.

A hold of ``hs-agent hold`` is not among them, so a controller can never end it.
"""

import json
import os
from pathlib import Path

FILE = "stopped.json"


class StoppedLanes:
    """The ids of stopped lanes, in a file of the state directory. Its calls block."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
        self._ids = self._read()

    def __contains__(self, lane: str) -> bool:
        return lane in self._ids

    def add(self, lane: str) -> None:
        """Note that a lane was stopped, durably."""
        if lane not in self._ids:
            self._write(self._ids | {lane})

    def discard(self, lane: str) -> None:
        """Forget a lane: it is to be started, or somebody released it on the box."""
        if lane in self._ids:
            self._write(self._ids - {lane})

    def _read(self) -> frozenset[str]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return frozenset()
        return frozenset(one for one in found if isinstance(one, str)) if found else frozenset()

    def _write(self, ids: frozenset[str]) -> None:
        candidate = self._path.with_suffix(".new")
        with open(candidate, "w", encoding="utf-8") as file:
            json.dump(sorted(ids), file)
            file.flush()
            os.fsync(file.fileno())
        candidate.replace(self._path)
        self._ids = ids
