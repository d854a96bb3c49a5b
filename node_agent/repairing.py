"""Bringing back files that somebody changed, through the ordinary engine: unit by unit.

Journal, check, swap, reload, probe, as for a change; only that no object gets another outcome. A
unit that is refused is taken back, and the file stays as it was found.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

import attrs

from node_agent.anew import Anew, ours
from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    UnknownFileError,
)
from node_agent.heavy_steps import HeavySteps
from node_agent.quick_steps import place, quick_steps
from node_agent.records import WrittenFile
from node_agent.round import Round
from node_agent.wire.questions import RepairedFile
from templates.effects import UnitPlan
from templates.service_type import SERVER_UNIT

AT_ONCE = 100
"""Render units that one repair brings back together, with one reload."""
ALONE = 20
"""Units that are tried one by one, where those together were refused."""


@attrs.frozen
class Wanted:
    """A render unit to be brought back, and those of its files that drifted."""

    unit: str
    plan: UnitPlan
    paths: tuple[str, ...]

    @property
    def reload(self) -> bool:
        """Whether the daemon reads its configuration anew for it."""
        return self.plan.reload or self.plan.restart


@attrs.frozen
class Repairs:
    """Plans and does the repairs of one lane.

    ``begin`` makes a round with nothing in it, ``settle`` writes down what it came to, ``refusal``
    says what the box does not grant of a plan (for a server's specification).
    """

    anew: Anew
    begin: Callable[[], Round]
    settle: Callable[[Round], Awaitable[None]]
    refusal: Callable[[object, UnitPlan], str]

    def wanted(self, path: str, after: str = "") -> tuple[list[Wanted], str]:
        """Give the units to bring back for ``path``, or for the next that are found ``after`` one,
        and the last of those; empty at the end. Blocks.

        What no object writes any more is forgotten: there is nothing to bring back. Raises
        `UnknownFileError` for a path that is not the agent's (S3).
        """
        lane, files = self.anew.lane, self.anew.journal.files
        found = () if path else files.findings(lane, AT_ONCE, after)
        paths = [path] if path else [each.path for each in found]
        plans: dict[str, UnitPlan] = {}
        units: set[str] = set()
        nobodys: list[str] = []
        for each in paths:
            written = files.find(lane, each)
            if written is None:
                raise UnknownFileError("the agent wrote no such file")
            unit = self._writer(written, plans)
            if unit is None:
                nobodys.append(each)
            else:
                units.add(unit)
        if nobodys:
            with self.anew.journal.transaction(durable=False):
                files.forget(lane, nobodys)
        # A daemon reads its own configuration first: what the others need may stand there.
        ordered = sorted(units, key=lambda unit: (unit != SERVER_UNIT, unit))
        wanted = [self._wanted(unit, plans[unit], path) for unit in ordered]
        return wanted, found[-1].path if len(found) == AT_ONCE else ""

    def _writer(self, written: WrittenFile, plans: dict[str, UnitPlan]) -> str | None:
        for unit in written.units:
            if unit not in plans:
                plans[unit] = self.anew.plan(unit)
            if written.path in ours(plans[unit]):
                return unit
        return None

    def _wanted(self, unit: str, plan: UnitPlan, asked: str) -> Wanted:
        lane, files = self.anew.lane, self.anew.journal.files
        paths = [p for p in ours(plan) if p == asked or files.finding(lane, p) is not None]
        return Wanted(unit, plan, tuple(paths))

    async def bring_back(self, wanted: Sequence[Wanted]) -> list[RepairedFile]:
        """Bring units back; give what became of each file. Raises `BoxUnavailableError`."""
        denied = {each.unit: words for each in wanted if (words := self._denied(each))}
        results = [
            one
            for each in wanted
            if each.unit in denied
            for one in _told([each], "refused", denied[each.unit])
        ]
        wanted = [each for each in wanted if each.unit not in denied]
        back, words = await self._round(wanted)
        results += _told((each for each in wanted if each in back), "repaired", "")
        left = [each for each in wanted if each not in back]
        alone = left[:ALONE] if len(wanted) > 1 else []
        for each in alone:
            back, why = await self._round([each])
            results += _told([each], "repaired" if back else "refused", "" if back else why)
        rest = (each for each in left if each not in alone)
        return results + _told(rest, "refused", words)

    def _denied(self, wanted: Wanted) -> str:
        server = self.anew.context().server if wanted.unit == SERVER_UNIT else None
        return self.refusal(server, wanted.plan)

    async def _round(self, wanted: Sequence[Wanted]) -> tuple[list[Wanted], str]:
        """Do it for all; give those that are back, and the words of what was refused."""
        work = self.begin()
        try:
            opened = await work.open_steps([self.anew.step(each.plan) for each in wanted])
        except EffectFailedError as failed:
            return [], str(failed)
        entries = [one.entry for one in opened]
        try:
            quick = [one for one in opened if one.step.quick]
            await quick_steps(work, quick, await work.blocking(lambda: place(work, quick)))
            await HeavySteps(work).run([one for one in opened if not one.step.quick])
        except BoxUnavailableError as unavailable:
            await work.give_up(unavailable)
        await self.settle(work)
        if work.unavailable is not None:
            raise work.unavailable
        done = {one.entry for one in work.done}
        back = [each for each, entry in zip(wanted, entries, strict=True) if entry in done]
        return back, "; ".join(dict.fromkeys(work.refused))


def _told(units: Iterable[Wanted], outcome: str, words: str) -> list[RepairedFile]:
    return [
        RepairedFile(path, outcome, words)  # type: ignore[arg-type]
        for each in units
        for path in each.paths
    ]
