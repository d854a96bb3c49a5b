"""What nobody changed, asked before and after a reload: a reload can break it all the same."""

from collections.abc import Collection

from node_agent.anew import Anew
from node_agent.box.interface import LaneBox
from node_agent.concurrency import Blocking
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError

SAMPLE = 3
"""Render units that are asked, drawn anew for each round."""


class Bystanders:
    """A few units of one lane that a round does not touch, and that were answered before it."""

    def __init__(self, anew: Anew, blocking: Blocking, box: LaneBox) -> None:
        self._anew = anew
        self._blocking = blocking
        self._box = box
        self._units: tuple[str, ...] | None = None

    async def look(self, touched: Collection[str]) -> None:
        """Draw them, once, among the units that are not ``touched``; keep those that are well."""
        if self._units is None:
            self._units = await self._blocking(lambda: self._draw(touched))
        well = [unit for unit in self._units if await self._is_well(unit)]
        self._units = tuple(unit for unit in well if unit not in touched)

    async def harmed(self) -> str:
        """Say what is answered otherwise now, and goes on to be; empty where nothing is.

        A daemon that gives no answer is slow or ill, which is no fault of a change.
        """
        for unit in self._units or ():
            try:
                await self._ask(unit)
            except EffectFailedError as fault:
                return f"{unit}, which is not changed, was answered before: {fault}"
            except BoxUnavailableError:
                continue
        return ""

    async def _is_well(self, unit: str) -> bool:
        try:
            await self._ask(unit, once=True)
        except (EffectFailedError, BoxUnavailableError):
            return False
        return True

    async def _ask(self, unit: str, *, once: bool = False) -> None:
        plan = await self._blocking(lambda: self._anew.plan(unit))
        for probe in plan.probes:
            await self._box.probe(probe, once=once)

    def _draw(self, touched: Collection[str]) -> tuple[str, ...]:
        drawn = self._anew.journal.applied.some_units(self._anew.lane, SAMPLE + len(touched))
        return tuple(unit for unit in drawn if unit not in touched)[:SAMPLE]
