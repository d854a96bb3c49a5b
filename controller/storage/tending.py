"""The embedded server of a running controller: one that died is started again.

Where `hsctl local` supervises a cluster, the supervisor does it. A controller that runs as a unit
has nobody above it who knows that its database is a child of its own.
"""

from typing import Any

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from controller.storage.embedded import EmbeddedPostgres, EmbeddedPostgresError

SECONDS = 1.0
"""Between two looks whether the server is there."""


class Tending:
    """Looks after one server, from `start` to `stop`."""

    _log = Logger()

    def __init__(self, server: EmbeddedPostgres, reactor: Any, seconds: float = SECONDS) -> None:
        self._server = server
        self._seconds = seconds
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._loop.clock = reactor
        self._ended: Deferred[Any] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._ended = self._loop.start(self._seconds, now=False)

    async def stop(self) -> None:
        """End; a start under way is waited for. The server is left as it is."""
        if self._ended is not None:
            self._loop.stop()
            await self._ended

    async def _look(self) -> None:
        if await deferToThread(lambda: self._server.pid) is not None:
            return
        self._log.warn("PostgreSQL is down: starting it again")
        try:
            await deferToThread(self._server.start)
        except (EmbeddedPostgresError, OSError, psycopg2.Error) as error:
            # Killed again while it started, or no room yet: the next look tries again.
            self._log.warn("PostgreSQL does not start yet: {error}", error=error)
