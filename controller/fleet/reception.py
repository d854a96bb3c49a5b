"""Who said Hello and waits for a session: taken into the database many at once, a lot at a time.

When a fleet comes back, thousands of boxes say Hello within seconds. One transaction takes up to
`HELLOS_AT_ONCE` of them, and one connection to the database is all that they ever use: commands,
and the boxes that are in already, go on beside them (ADR 24).
"""

from collections.abc import Callable
from functools import partial

import attrs
import psycopg2.errors
from twisted.internet.defer import Deferred, ensureDeferred

from controller.fleet.hello import (
    Beginning,
    Begun,
    Greeting,
    SessionRefusedError,
    begin_sessions,
)
from controller.fleet.words import FLEET
from controller.storage.database import Database
from controller.storage.errors import POISON
from node_agent.wire.messages import Hello

HELLOS_AT_ONCE = 100
"""Hellos of one transaction, at most; the others wait for the next."""
BUSY_SECONDS = 5.0
"""What a box is asked to wait for at least, whose earlier Hello is still in work."""
_OF_ONE = (*POISON, psycopg2.errors.LockNotAvailable, psycopg2.errors.QueryCanceled)
"""One Hello holds what the database does not take, or its box's row is held by somebody else: the
others must not suffer for it."""


@attrs.define(eq=False)
class _Guest:
    greeting: Greeting
    alive: Callable[[], bool]
    """Whether its connection still is."""
    begun: Deferred[Beginning] = attrs.field(factory=Deferred)


class Reception:
    """Begins the sessions of boxes in the order of their Hellos.

    ``make_way`` is asked about each box and its Hello before; it may raise `SessionRefusedError`.
    """

    def __init__(self, database: Database, make_way: Callable[[str, Hello], None]) -> None:
        self._database = database
        self._make_way = make_way
        self._waiting: dict[str, _Guest] = {}
        self._inside: set[str] = set()
        self._serving = False

    async def begin(self, greeting: Greeting, alive: Callable[[], bool]) -> Beginning:
        """Give what the session of a box begins with, in its turn.

        Raises `SessionRefusedError`, and what the database raises where it is away.
        """
        box = greeting.box
        earlier = self._waiting.get(box)
        if box in self._inside or (earlier is not None and earlier.alive()):
            raise SessionRefusedError("busy", "another Hello of this box is in work", BUSY_SECONDS)
        if earlier is not None:
            self._turn_away(earlier)
        guest = self._waiting[box] = _Guest(greeting, alive)
        if not self._serving:
            self._serving = True
            ensureDeferred(self._serve())
        return await guest.begun

    async def _serve(self) -> None:
        while self._waiting:
            lot = self._next_lot()
            self._inside = {guest.greeting.box for guest in lot}
            if lot:
                await self._begin(lot)
            self._inside = set()
        self._serving = False

    def _next_lot(self) -> list[_Guest]:
        """Take the first who wait out of the queue; who has left it is dropped."""
        boxes = list(self._waiting)[:HELLOS_AT_ONCE]
        lot = []
        for guest in [self._waiting.pop(box) for box in boxes]:
            if not guest.alive():
                self._turn_away(guest)
                continue
            try:
                self._make_way(guest.greeting.box, guest.greeting.hello)
            except Exception as error:  # a refusal, or a mistake of ours: it must end no loop
                guest.begun.errback(error)
            else:
                lot.append(guest)
        return lot

    async def _begin(self, lot: list[_Guest]) -> None:
        try:
            begun = await self._database.transaction(
                FLEET,
                partial(begin_sessions, greetings=[guest.greeting for guest in lot]),
                name="fleet.hello",
            )
        except _OF_ONE as error:
            if len(lot) == 1:
                lot[0].begun.errback(error)
                return
            for guest in lot:
                await self._begin([guest])
        except Exception as error:
            # The database is away, or a mistake of ours: each of these boxes comes again.
            for guest in lot:
                guest.begun.errback(error)
        else:
            for guest in lot:
                _tell(guest, begun[guest.greeting.box])

    @staticmethod
    def _turn_away(guest: _Guest) -> None:
        """End the wait of one whose connection has ended: nobody hears the words."""
        guest.begun.errback(SessionRefusedError("busy", "the connection ended before its turn"))


def _tell(guest: _Guest, begun: Begun) -> None:
    if isinstance(begun, SessionRefusedError):
        guest.begun.errback(begun)
    else:
        guest.begun.callback(begun)
