"""A client whose answers are written before, for what follows a job until it ends."""

from collections.abc import Mapping
from typing import Any


class Scripted:
    """Gives one state after the other of the job with the number 3, the last one for ever."""

    def __init__(self, command: str, *states: Mapping[str, Any] | type[BaseException]) -> None:
        self._command = command
        self._states = list(states)

    def read(self, command: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        assert (command, fields) == (self._command, {"id": 3})
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, type):
            raise state
        return state
