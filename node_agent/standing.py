"""What a lane needs of its host beyond files, brought back before its daemon starts.

Addresses are gone after a reboot, and a daemon that is told to listen on one that is not there does
not start at all. Those that can be had again are; any other is taken out of the configuration and
becomes pending, so that the next round says why, and everything else is served.
"""

from node_agent.anew import plan_anew
from node_agent.box.interface import FileImage, LaneBox
from node_agent.concurrency import Blocking, all_of
from node_agent.effects.failures import EffectFailedError
from node_agent.journal import Journal
from node_agent.records import AppliedObject
from templates.effects import UnitPlan, WriteFile
from templates.objects import ObjectId
from templates.service_type import LaneContext, ServiceType

_SIDE_BY_SIDE = 32
"""Addresses that are brought up at once: each is asked for on the network first."""


async def stand_up(
    lane: str,
    *,
    service_type: ServiceType,
    journal: Journal,
    box: LaneBox,
    context: LaneContext,
    blocking: Blocking,
) -> tuple[ObjectId, ...]:
    """Do again what a reboot has undone; give the objects that could not be had and are pending.

    Raises `BoxUnavailableError` where the box cannot be asked; then it is called again.
    """
    applied = await blocking(lambda: journal.applied.of_kinds(lane, service_type.standing))
    lost: list[tuple[AppliedObject, UnitPlan]] = []

    async def again(each: AppliedObject, plan: UnitPlan) -> None:
        try:
            for effect in plan.control:
                await box.control(effect)
        except EffectFailedError:
            lost.append((each, plan))
            return
        if not await blocking(lambda: _in_place(box, plan)):
            lost.append((each, plan))

    planned = [(each, plan_anew(service_type, context, each.unit, (each,))) for each in applied]
    await all_of((again(each, plan) for each, plan in planned), _SIDE_BY_SIDE)
    if lost:
        paths = [effect.path for _, plan in lost for effect in _written(plan)]

        def take_out() -> None:
            for path in paths:
                box.files.remove(path)
            box.files.sync(tuple(paths))
            journal.take_back(lane, [each.id for each, _ in lost], paths)

        await blocking(take_out)
    return tuple(each.id for each, _ in lost)


def _written(plan: UnitPlan) -> tuple[WriteFile, ...]:
    return tuple(effect for effect in plan.files if isinstance(effect, WriteFile))


def _in_place(box: LaneBox, plan: UnitPlan) -> bool:
    """Whether the files are there: an earlier life may have taken them out and no more."""
    return all(isinstance(box.files.image(effect.path), FileImage) for effect in _written(plan))
