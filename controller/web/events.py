"""Hearing what happened: NOTIFY ``hs_event``, fanned out to the requests of this process that wait.

An event says only that something moved (``{"change": 17}``, ``{"box": "web1"}``); who hears one
reads the truth from the database, so a lost or repeated event does no harm. It is announced by
`controller.fleet.events.publish`; what the sealer announces comes as ``{"sealed": SEQ}``.
"""

from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from controller.fleet.events import CHANNEL
from controller.storage.database import Database
from controller.storage.sealer import CHANNEL as SEALED
from controller.web.channel import HangUp

BACKLOG = 1000
"""Events kept for a request that does not read; older ones are dropped and it is told."""

Event = Mapping[str, str | int]

_log = Logger()


class EventBus:
    """All that listen in this process, fed by one LISTEN."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._listeners: set[Listener] = set()

    async def start(self, database: Database) -> None:
        """Listen to the database's announcements."""
        await database.listen(CHANNEL, self.heard)
        await database.listen(SEALED, lambda seq: self.heard(f'{{"sealed": {int(seq)}}}'))

    def heard(self, payload: str) -> None:
        """Fan out one payload; one that is not an event is logged and dropped."""
        try:
            event = msgspec.json.decode(payload, type=dict[str, str | int])
        except msgspec.MsgspecError:
            _log.warn("not an event: {payload!r}", payload=payload)
            return
        for listener in tuple(self._listeners):
            listener.offer(event)

    def listener(self, gone: HangUp) -> "Listener":
        """Give an ear for one request, to be used as a context manager."""
        return Listener(self._listeners, self._clock, gone)


class Listener:
    """One request's ear; hears every event from entering its context to leaving it."""

    def __init__(self, listeners: "set[Listener]", clock: IReactorTime, gone: HangUp) -> None:
        self._listeners = listeners
        self._clock = clock
        self._gone = gone
        self._events: deque[Event] = deque(maxlen=BACKLOG)
        self._waiting: Deferred[None] | None = None
        self._missed = False
        gone.then(self._wake)

    def __enter__(self) -> Self:
        self._listeners.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listeners.discard(self)

    async def next(self, seconds: float) -> Event | None:
        """Give the next event; None when ``seconds`` passed or the client hung up."""
        if not self._events and not self._gone() and seconds > 0:
            self._waiting = Deferred()
            alarm = self._clock.callLater(seconds, self._wake)
            try:
                await self._waiting
            finally:
                self._waiting = None
                if alarm.active():
                    alarm.cancel()
        return self._events.popleft() if self._events else None

    def take_missed(self) -> bool:
        """Whether events were dropped since this was last asked: this reader was too slow."""
        missed, self._missed = self._missed, False
        return missed

    def offer(self, event: Event) -> None:
        """Take an event; called by the bus."""
        self._missed = self._missed or len(self._events) == BACKLOG
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
