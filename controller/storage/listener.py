"""LISTEN on a connection of its own, taken up again whenever the server comes back."""

import re
from collections.abc import Callable
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger

from controller.storage.link import Link

_log = Logger()

_CHANNEL = re.compile(r"^[a-z_]{1,63}$")
_LONGEST_PAUSE = 5.0


class Listener:
    """Listens for any number of channels. For `controller.storage.database.Database` only."""

    def __init__(self, url: str, reactor: Any, jitter: Callable[[], float]) -> None:
        self._url = url
        self._reactor = reactor
        self._jitter = jitter
        self._callbacks: dict[str, list[Callable[[str], None]]] = {}
        self._recovered: list[Callable[[], None]] = []
        self._link: Link | None = None
        self._opening: list[Deferred[None]] | None = None
        self._retry: Any = None
        self._attempt = 0
        self._closed = False

    async def listen(
        self,
        channel: str,
        callback: Callable[[str], None],
        recovered: Callable[[], None] | None,
    ) -> None:
        """Add a callback; returns once notifications of ``channel`` will arrive."""
        if not _CHANNEL.match(channel):
            raise ValueError(f"not a channel name: {channel!r}")
        self._callbacks.setdefault(channel, []).append(callback)
        if recovered is not None:
            self._recovered.append(recovered)
        await self._open()

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._link is not None:
            self._link.abandon()

    async def _open(self) -> None:
        """Connect if need be, and issue LISTEN for every channel (again is no harm)."""
        while self._opening is not None:
            turn: Deferred[None] = Deferred()
            self._opening.append(turn)
            await turn
        self._opening = []
        try:
            link = self._link
            if link is None or not link.usable:
                link = Link(self._reactor, lost=self._lost, notified=self._notified)
                self._link = link
                await link.open(self._url)
            for channel in sorted(self._callbacks):
                await link.ask(f"LISTEN {channel}", None)
        finally:
            waiting, self._opening = self._opening, None
            for turn in waiting:
                turn.callback(None)

    def _notified(self, channel: str, payload: str) -> None:
        for callback in tuple(self._callbacks.get(channel, ())):
            callback(payload)

    def _lost(self, _link: Link) -> None:
        if self._closed:
            return
        pause = min(0.05 * 2.0**self._attempt, _LONGEST_PAUSE) * (0.5 + 0.5 * self._jitter())
        self._attempt += 1
        self._retry = self._reactor.callLater(pause, self._again)

    def _again(self) -> None:
        recovering = Deferred.fromCoroutine(self._recover())
        recovering.addErrback(lambda failure: _log.failure("Listening again failed", failure))

    async def _recover(self) -> None:
        try:
            await self._open()
        except (psycopg2.Error, ConnectionDone) as error:
            if self._link is not None:
                self._link.abandon()
                self._lost(self._link)
            if not self._closed:
                _log.warn("Not listening yet: {error}", error=str(error).strip())
            return
        self._attempt = 0
        for recovered in tuple(self._recovered):
            recovered()
