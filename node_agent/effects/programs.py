"""Programs of the box: only those of a closed table, by absolute path, never through a shell."""

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from node_agent.effects.failures import BoxUnavailableError, NoProgramError

ProgramTable = Mapping[str, PurePosixPath]
"""Names that effects may use, and the absolute path of each on this box."""

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
"""All that a program inherits of our environment: nothing (S12)."""
OUTPUT_LIMIT = 16 * 1024
"""Bytes of a program's words that are kept; the rest is read and dropped."""
CHECK_TIMEOUT = 180.0
"""Seconds that a program may take unless its caller knows better."""
_DRAIN = 0.5
"""Seconds that the pipes of a program that has ended may stay open: a daemon may have kept them."""


@attrs.frozen
class Finished:
    """How a program ended: its exit status (negative: the signal that ended it) and its words."""

    status: int
    output: str


async def run_program(
    reactor: IReactorTime,
    table: ProgramTable,
    program: str,
    arguments: Sequence[str],
    *,
    timeout: float = CHECK_TIMEOUT,
    most: int = OUTPUT_LIMIT,
) -> Finished:
    """Run a program of the table to its end, standard input empty, working directory ``/``.

    ``most`` bytes of its words are kept, those of both its outputs together.

    Raises `NoProgramError` where the table or the box has no such program, `BoxUnavailableError`
    where it did not end within ``timeout`` seconds; it is killed then.
    """
    path = table.get(program)
    if path is None:
        raise NoProgramError(f"{program!a} is not in this box's table of programs")
    if not path.is_absolute() or not os.access(path, os.X_OK):
        raise NoProgramError(f"{program}: {str(path)!a} is no program on this box")
    process = _Process(most)
    transport = IReactorProcess(reactor).spawnProcess(
        process, str(path), [str(path), *arguments], dict(ENVIRONMENT), "/"
    )
    transport.closeStdin()

    def expire() -> None:
        process.expired = True
        try:
            transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return

    deadline = reactor.callLater(timeout, expire)
    try:
        await process.exited
    finally:
        if deadline.active():
            deadline.cancel()
    drained = reactor.callLater(_DRAIN, transport.loseConnection)
    try:
        await process.ended
    finally:
        if drained.active():
            drained.cancel()
    if process.expired:
        raise BoxUnavailableError(f"{program} did not end within {timeout:g} seconds")
    return Finished(status=process.status, output=process.words())


class _Process(ProcessProtocol):
    def __init__(self, most: int) -> None:
        self._most = most
        self.exited: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.expired = False
        self.status = 0
        self._output = bytearray()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._output += data[: self._most - len(self._output)]

    def processExited(self, reason: Failure) -> None:
        error: Any = reason.value
        self.status = -error.signal if error.signal else error.exitCode or 0
        self.exited.callback(None)

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)

    def words(self) -> str:
        return self._output.decode(errors="replace").strip()
