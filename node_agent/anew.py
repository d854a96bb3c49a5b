"""Planning what is applied as if it came anew: what a unit's files and control effects are."""

from collections.abc import Callable, Iterable

import attrs
import msgspec

from node_agent.journal import Journal
from node_agent.planning import Step
from node_agent.records import AppliedObject
from templates.effects import AddZone, ReloadZone, Symlink, UnitPlan, WriteFile
from templates.objects import SpecError, decode_spec
from templates.service_type import SERVER_UNIT, LaneContext, PlanRefusedError, ServiceType, Unit


def plan_anew(
    service_type: ServiceType, context: LaneContext, unit: str, objects: Iterable[AppliedObject]
) -> UnitPlan:
    """Plan a unit as if its objects came anew. One that no one can plan any more needs nothing."""
    try:
        specs = {
            each.id: decode_spec(service_type.kinds[each.id.kind], each.kind_version, each.spec)
            for each in objects
        }
        if not specs:
            return UnitPlan(unit=unit)
        return service_type.plan(context, Unit(unit, {}), Unit(unit, specs))
    except (SpecError, PlanRefusedError):
        return UnitPlan(unit=unit)


def ours(plan: UnitPlan) -> dict[str, WriteFile | Symlink]:
    """Give what the plan writes, by path, but for what belongs to others once it is there."""
    return {
        each.path: each
        for each in plan.files
        if isinstance(each, Symlink) or (isinstance(each, WriteFile) and not each.only_if_absent)
    }


@attrs.frozen
class Anew:
    """The applied units of one lane. Blocks on the journal."""

    lane: str
    service_type: ServiceType
    journal: Journal
    context: Callable[[], LaneContext]

    def plan(self, unit: str) -> UnitPlan:
        """Plan one applied unit as if it came anew, to a daemon that runs already."""
        applied = self.journal.applied.of_units(self.lane, (unit,)).values()
        plan = plan_anew(self.service_type, self.context(), unit, applied)
        if unit == SERVER_UNIT and plan.files and not plan.restart:
            return msgspec.structs.replace(plan, reload=True)
        return plan

    def step(self, plan: UnitPlan) -> Step:
        """Give the step that brings the files of a unit back, and touches no object's outcome.

        What takes it back reads its zones again, whatever is then in their files.
        """
        kept = tuple(e for e in plan.files if not (isinstance(e, WriteFile) and e.only_if_absent))
        again = (e for e in plan.control if isinstance(e, AddZone | ReloadZone))
        inverse = tuple(ReloadZone(e.zone, e.config) for e in again)
        return Step((), msgspec.structs.replace(plan, files=kept, retire=()), inverse)
