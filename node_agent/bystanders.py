"""What nobody changed, asked before and after a reload: a reload can break it all the same."""

from collections.abc import Awaitable, Callable, Collection

from node_agent.anew import Anew
from node_agent.concurrency import Blocking
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from templates.effects import Probe

SAMPLE = 3
"""Render units that are asked, drawn anew for each round."""


class Bystanders:
    """A few units of one lane that a round does not touch, and that were answered before it.

    ``ask`` probes once, without waiting for the answer to come right.
    """

    def __init__(
        self, anew: Anew, blocking: Blocking, ask: Callable[[Probe], Awaitable[None]]
    ) -> None:
        self._anew = anew
        self._blocking = blocking
        self._ask = ask
        self._units: tuple[str, ...] | None = None

    async def look(self, touched: Collection[str]) -> None:
        """Draw them, once, among the units that are not ``touched``; keep those that are well."""
        if self._units is None:
            self._units = await self._blocking(lambda: self._draw(touched))
        well = [unit for unit in self._units if not await self._fault(unit)]
        self._units = tuple(unit for unit in well if unit not in touched)

    async def harmed(self) -> str:
        """Say what is not answered any more; empty where all are well."""
        for unit in self._units or ():
            if fault := await self._fault(unit):
                return f"{unit}, which is not changed, was answered before: {fault}"
        return ""

    def _draw(self, touched: Collection[str]) -> tuple[str, ...]:
        drawn = self._anew.journal.applied.some_units(self._anew.lane, SAMPLE + len(touched))
        return tuple(unit for unit in drawn if unit not in touched)[:SAMPLE]

    async def _fault(self, unit: str) -> str:
        plan = await self._blocking(lambda: self._anew.plan(unit))
        try:
            for probe in plan.probes:
                await self._ask(probe)
        except (EffectFailedError, BoxUnavailableError) as failed:
            return str(failed)
        return ""
