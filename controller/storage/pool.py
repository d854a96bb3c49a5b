"""The pool: as many connections to PostgreSQL as may be open, leased one at a time.

Connections that die are replaced when next needed. Who waits for one waits for a limited time.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import psycopg2
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from controller.storage.errors import DatabaseUnavailableError
from controller.storage.link import Link, plight_of

POOL_SECONDS = 10.0


class Pool:
    """Up to ``size`` connections; waits for a free one, or for a server that is away, up to
    ``seconds``. ``jitter`` gives a number below 1, by which a pause between attempts is longer.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        seconds: float,
        reactor: IReactorTime,
        jitter: Callable[[], float],
    ) -> None:
        self._url = url
        self._reactor: Any = reactor
        self._seconds = seconds
        self._jitter = jitter
        self._idle: list[Link] = []
        self._used: set[Link] = set()
        self._free = size
        self._waiting: deque[Deferred[None]] = deque()
        self._pausing: set[Deferred[None]] = set()
        self.closed = False

    async def lease(self) -> Link:
        """Give a live connection, to one who asks; raises `DatabaseUnavailableError`."""
        if self.closed:
            raise DatabaseUnavailableError("the database was closed")
        deadline = self._reactor.seconds() + self._seconds
        if self._free > 0:
            self._free -= 1
        else:
            await self._turn()
        try:
            return await self._live_link(deadline)
        except BaseException:
            self._release()
            raise

    async def _turn(self) -> None:
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)

        def too_late() -> None:
            self._waiting.remove(turn)
            turn.errback(
                DatabaseUnavailableError(
                    f"every connection was busy for {self._seconds:g} seconds", "busy"
                )
            )

        late = self._reactor.callLater(self._seconds, too_late)
        try:
            await turn
        finally:
            if late.active():
                late.cancel()

    async def _live_link(self, deadline: float) -> Link:
        while self._idle:
            link = self._idle.pop()
            if link.usable:
                self._used.add(link)
                return link
        attempt = 1
        while True:
            link = Link(self._reactor, lost=self._forget)
            self._used.add(link)
            try:
                await link.open(self._url)
            except psycopg2.Error as error:
                self._used.discard(link)
                if self.closed or self._reactor.seconds() >= deadline:
                    raise DatabaseUnavailableError(
                        f"no connection to the database: {str(error).strip()}",
                        plight_of(error) or "away",
                    ) from error
                await self.pause(attempt)
                attempt += 1
            except BaseException as error:
                self._used.discard(link)
                link.abandon()
                if self.closed and isinstance(error, Exception):  # closed under its hands
                    raise DatabaseUnavailableError("the database was closed") from error
                raise
            else:
                return link

    def put_away(self, link: Link) -> None:
        """Take a connection back; one that is of no use any more is abandoned."""
        self._used.discard(link)
        if link.usable and not self.closed:
            self._idle.append(link)
        else:
            link.abandon()
        self._release()

    def _release(self) -> None:
        if self._waiting:
            self._waiting.popleft().callback(None)
        else:
            self._free += 1

    def _forget(self, link: Link) -> None:
        if link in self._idle:
            self._idle.remove(link)

    async def pause(self, attempt: int) -> None:
        """Wait before the next attempt: doubling from 10 ms to 0.64 s, up to half of it random."""
        longest = 0.01 * 2.0 ** min(attempt - 1, 6)
        pause: Deferred[None] = deferLater(self._reactor, longest * (0.5 + 0.5 * self._jitter()))
        self._pausing.add(pause)
        try:
            await pause
        except CancelledError:
            if self.closed:
                raise DatabaseUnavailableError("the database was closed") from None
            raise
        finally:
            self._pausing.discard(pause)

    def close(self) -> None:
        """Close every connection; who waits for one is refused."""
        self.closed = True
        for pause in tuple(self._pausing):
            pause.cancel()
        for link in [*self._idle, *self._used]:
            link.abandon()
        self._idle.clear()
        while self._waiting:
            self._waiting.popleft().errback(DatabaseUnavailableError("the database was closed"))
