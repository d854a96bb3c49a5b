"""``GET /api/v1/events``: what happens, as server-sent events that can be resumed.

Sealed changes come as event ``change`` with their ``seq`` as id, gapless and in order, so a client
that sends it back as ``Last-Event-ID`` misses none. Event ``moved`` says that a change or a box
moved; it has no id and is not repeated. ``resync`` says that the client was too slow and some
``moved`` were dropped.
"""
# mypy: disable-error-code="no-untyped-call"
# (Twisted's web classes are untyped)

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from controller.principal import system
from controller.storage.database import Database, Transaction
from controller.web.channel import BoundedRequest, HangUp
from controller.web.events import EventBus, Listener
from controller.web.problems import problem

_HEARTBEAT = 15.0
"""Seconds of silence after which a comment shows that the stream lives."""
_AT_ONCE = 200


class Feed(Protocol):
    """Reads sealed changes."""

    async def newest(self) -> int:
        """Give the highest seq, 0 where nothing is sealed."""

    async def after(self, seq: int, most: int) -> Sequence[dict[str, Any]]:
        """Give the sealed changes above ``seq`` in order, at most ``most``."""


class DatabaseFeed:
    """The feed of the table ``change``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._principal = system("events")

    async def newest(self) -> int:
        """Give the highest seq, 0 where nothing is sealed."""

        async def read(tx: Transaction) -> int:
            return int((await tx.row("SELECT coalesce(max(seq), 0) FROM change"))[0])

        return await self._database.transaction(self._principal, read, name="events.newest")

    async def after(self, seq: int, most: int) -> Sequence[dict[str, Any]]:
        """Give the sealed changes above ``seq`` in order, at most ``most``."""

        async def read(tx: Transaction) -> list[dict[str, Any]]:
            rows = await tx.rows(
                "SELECT seq, id, actor, command, reason, at FROM change "
                "WHERE seq > %s ORDER BY seq LIMIT %s",
                (seq, most),
            )
            names = ("seq", "change", "actor", "command", "reason", "at")
            return [dict(zip(names, row, strict=True)) for row in rows]

        return await self._database.transaction(self._principal, read, name="events.after")


@implementer(IPushProducer)
class _Valve:
    """Knows whether the client still takes what is sent, so that a slow one costs no memory."""

    def __init__(self) -> None:
        self.open = True

    def pauseProducing(self) -> None:
        self.open = False

    def resumeProducing(self) -> None:
        self.open = True

    def stopProducing(self) -> None:
        self.open = False


class EventStream:
    """Serves the stream to any number of clients."""

    def __init__(self, bus: EventBus, feed: Feed) -> None:
        self._bus = bus
        self._feed = feed

    async def serve(self, request: BoundedRequest, gone: HangUp) -> None:
        """Write events until the client hangs up."""
        last = _last_event_id(request)
        with self._bus.listener(gone) as listener:
            if last is None:
                last = await self._feed.newest()
            if gone():
                return
            request.responseHeaders.setRawHeaders("Content-Type", ["text/event-stream"])
            valve = _Valve()
            request.registerProducer(valve, True)
            try:
                request.write(b": follows\n\n")
                if request.method != b"HEAD":
                    await self._follow(request, gone, valve, listener, last)
            finally:
                if not gone():
                    request.unregisterProducer()

    async def _follow(
        self, request: BoundedRequest, gone: HangUp, valve: _Valve, listener: Listener, last: int
    ) -> None:
        while not gone():
            while valve.open and (changes := await self._feed.after(last, _AT_ONCE)):
                if gone():
                    return
                for change in changes:
                    last = change["seq"]
                    request.write(_event("change", change, last))
            event = await listener.next(_HEARTBEAT)
            if gone() or not valve.open:
                continue
            if listener.take_missed():
                request.write(_event("resync", {}))
            if event is None:
                request.write(b": alive\n\n")
            elif "sealed" not in event:
                request.write(_event("moved", event))


def _event(name: str, data: Any, id: int | None = None) -> bytes:
    head = f"id: {id}\n" if id is not None else ""
    text = msgspec.json.encode(data, enc_hook=str)
    return f"{head}event: {name}\ndata: ".encode("ascii") + text + b"\n\n"


def _last_event_id(request: BoundedRequest) -> int | None:
    texts = request.requestHeaders.getRawHeaders(b"last-event-id")
    if not texts or not texts[0]:
        return None
    if len(texts) != 1 or not texts[0].isdigit() or len(texts[0]) > 18:
        raise problem(
            422,
            "request.last-event-id",
            "not the id of an event",
            field="Last-Event-ID",
            allowed="a number that the stream sent",
        )
    return int(texts[0])
