"""Watching a secondary until it answers a serial: an observation beside the outcomes.

A lost NOTIFY is made good by a ``retransfer``; a dead master never fails or stalls the lane. A new
zone is asked for sooner: where the secondary has it before its master, the first transfer is
refused, named tries once more from an address that the master may not know
(``alt-transfer-source``), and then rests for a second or more.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import chain, repeat
from math import inf

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from node_agent.box.interface import LaneBox
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError

WAITS = (0.01, 0.003, 0.003, 0.004, 0.006, 0.01, 0.02, 0.03, 0.05, 0.09, 0.15, 0.3, 0.6)
"""Seconds before the first look and between the next; then `SLOW`. None comes before a transfer
could have ended: looks take time from the transfer itself."""
SLOW = 1.0
NUDGES = (0.012, 0.025, 0.06, 0.12, 0.3, 0.7)
"""Seconds until a transfer of a zone that is not answered at all is asked for."""
FEW = 8
"""Zones watched at once, at most, while new ones are asked for early: in a bulk fill they take
turns, and asking would only lengthen the queue."""
RETRANSFER_AFTER = 2.0
"""Seconds without the serial until a transfer is asked for; again after ten times as long."""
AT_ONCE = 32
"""Questions to the name server that may be under way together."""


def serial_reached(answered: int, wanted: int) -> bool:
    """Tell whether a serial is the wanted one or newer (RFC 1982, section 3.2)."""
    return (answered - wanted) % 2**32 < 2**31


class ZoneWatch:
    """The zones of one lane that are being watched. ``seen`` is called once for each."""

    def __init__(self, clock: IReactorTime, box: LaneBox, seen: Callable[[str, int], None]) -> None:
        self._clock = clock
        self._box = box
        self._seen = seen
        self._wanted: dict[str, int] = {}
        self._turns = DeferredSemaphore(AT_ONCE)
        self._waits: set[Deferred[None]] = set()

    def watch(self, zone: str, serial: int) -> None:
        """Watch ``zone`` until it has ``serial``; a newer wish replaces an older one."""
        running = zone in self._wanted
        if not running or serial_reached(serial, self._wanted[zone]):
            self._wanted[zone] = serial
        if not running:
            Deferred.fromCoroutine(self._run(zone))

    def stop(self) -> None:
        """Watch nothing any more."""
        self._wanted.clear()
        for wait in tuple(self._waits):
            wait.cancel()

    async def _run(self, zone: str) -> None:
        begun = self._clock.seconds()
        retransfer_at = RETRANSFER_AFTER
        nudges = iter(NUDGES)
        nudge_at = next(nudges)
        for wait in chain(WAITS, repeat(SLOW)):
            await self._pause(wait)
            if zone not in self._wanted:
                return
            serial = await self._look(zone)
            wanted = self._wanted.get(zone)
            if wanted is None:
                return
            if serial is not None and serial_reached(serial, wanted):
                del self._wanted[zone]
                self._seen(zone, serial)
                return
            passed = self._clock.seconds() - begun
            if passed >= retransfer_at:
                retransfer_at = passed + 10 * RETRANSFER_AFTER
                await self._retransfer(zone)
            elif serial is None and passed >= nudge_at and len(self._wanted) <= FEW:
                nudge_at = next(nudges, inf)
                await self._retransfer(zone)

    async def _retransfer(self, zone: str) -> None:
        with suppress(EffectFailedError, BoxUnavailableError):
            await self._box.retransfer(zone)

    async def _look(self, zone: str) -> int | None:
        await self._turns.acquire()
        try:
            return await self._box.zone_serial(zone)
        except (EffectFailedError, BoxUnavailableError):
            return None
        finally:
            self._turns.release()

    async def _pause(self, seconds: float) -> None:
        wait: Deferred[None] = deferLater(self._clock, seconds)
        self._waits.add(wait)
        # `stop` cancels the wait; the loop then sees that nothing is wanted.
        with suppress(CancelledError):
            await wait
        self._waits.discard(wait)
