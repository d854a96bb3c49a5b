"""Deciding what a round does: which changes are ready, which wait, and the plan of each step.

Pure. A *step* is a set of changes that share render units: they are applied, probed and undone
together. What a unit comes to *after* a step is what is applied now plus the step's own changes, so
an object in quarantine or waiting keeps its last good version.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import attrs

from node_agent.records import AppliedObject, StoredObject, Verdict
from templates.effects import AddZone, ControlEffect, ReloadZone, RemoveZone, UnitPlan
from templates.objects import ObjectId, SpecError, decode_spec
from templates.service_type import (
    SERVER_ID,
    LaneContext,
    PlanRefusedError,
    ServiceType,
    Unit,
)


@attrs.frozen
class Change:
    """One object from what is applied (None: absent) to what is desired; ``unit`` is the new unit.

    ``spec`` is the decoded specification, None for a removal.
    """

    before: AppliedObject | None
    after: StoredObject
    spec: object = attrs.field(repr=False)
    unit: str | None

    @property
    def id(self) -> ObjectId:
        """The object's name."""
        return self.after.id

    @property
    def units(self) -> tuple[str, ...]:
        """The render units touched, the one that gains the object first."""
        named = [self.unit] if self.unit is not None else []
        if self.before is not None and self.before.unit != self.unit:
            named.append(self.before.unit)
        return tuple(named)


@attrs.frozen
class Step:
    """Changes that succeed or fail together, their effects, and the control effects that undo."""

    changes: tuple[Change, ...]
    plan: UnitPlan
    inverse: tuple[ControlEffect, ...]

    @property
    def reloads(self) -> bool:
        """Whether the daemon reads its configuration again for it."""
        return self.plan.reload or self.plan.restart

    @property
    def quick(self) -> bool:
        """Whether it needs neither a checker nor a reload: no process is started for it."""
        heavy = self.plan.checks or self.reloads
        return not heavy and all(change.id != SERVER_ID for change in self.changes)


Refusal = Callable[[object | None, UnitPlan], str]
"""(the server's new specification, if it is planned; a plan) to what the box does not grant."""


@attrs.frozen
class Readiness:
    """Objects that can be worked now; others that wait, with a verdict; the rest comes later."""

    ready: tuple[StoredObject, ...]
    verdicts: tuple[Verdict, ...]


def readiness(
    window: Sequence[StoredObject],
    present: Collection[ObjectId],
    dependents: Mapping[ObjectId, Sequence[ObjectId]],
) -> Readiness:
    """Judge the order of ``window``.

    ``present`` are the applied objects among all that are required; ``dependents`` the applied
    objects that require what the window removes. A thing comes after what it requires and goes
    after what requires it; everything requires the ``server`` object.
    """
    within = {each.id: each for each in window}
    needs = {each.id: _needs(each, within, present, dependents) for each in window}
    possible = {id for id, missing in needs.items() if all(need in within for need in missing)}
    while True:
        stuck = {id for id in possible if any(need not in possible for need in needs[id])}
        if not stuck:
            break
        possible -= stuck
    ready = tuple(each for each in window if not needs[each.id])
    if not ready:
        possible = set()
    verdicts = tuple(
        Verdict(each, "waiting", _waiting_words(each, needs[each.id]), needs[each.id])
        for each in window
        if needs[each.id] and each.id not in possible
    )
    return Readiness(ready, verdicts)


def _needs(
    each: StoredObject,
    within: Mapping[ObjectId, StoredObject],
    present: Collection[ObjectId],
    dependents: Mapping[ObjectId, Sequence[ObjectId]],
) -> tuple[ObjectId, ...]:
    if each.spec is None:
        return tuple(d for d in dependents.get(each.id, ()) if d != each.id)
    required = each.requires if each.id == SERVER_ID else (*each.requires, SERVER_ID)
    return tuple(
        need
        for need in dict.fromkeys(required)
        if need not in present or (need in within and within[need].spec is None)
    )


def _waiting_words(each: StoredObject, needs: Sequence[ObjectId]) -> str:
    names = ", ".join(f"{need.kind} {need.key}".strip() for need in needs[:5])
    more = f" and {len(needs) - 5} more" if len(needs) > 5 else ""
    if each.spec is None:
        return f"still required by {names}{more}"
    return f"waits for {names}{more}"


def decode(service_type: ServiceType, stored: StoredObject, before: AppliedObject | None) -> Change:
    """Read one desired object; raises `SpecError`."""
    if stored.spec is None:
        return Change(before, stored, None, None)
    kind = service_type.kinds.get(stored.id.kind)
    if kind is None:
        raise SpecError(f"{service_type.name} has no objects of kind {stored.id.kind}")
    spec = decode_spec(kind, stored.kind_version, stored.spec)
    return Change(before, stored, spec, kind.unit(stored.id.key, spec))


def groups(changes: Iterable[Change]) -> list[tuple[Change, ...]]:
    """Put together the changes that share a render unit, in the order they came."""
    by_unit: dict[str, list[Change]] = {}
    merged: list[list[Change]] = []
    for change in changes:
        group: list[Change] = []
        for unit in change.units:
            other = by_unit.get(unit)
            if other is not None and other is not group:
                other.extend(group)
                for each in group:
                    by_unit.update(dict.fromkeys(each.units, other))
                if group in merged:
                    merged.remove(group)
                group = other
        group.append(change)
        if len(group) == 1:
            merged.append(group)
        by_unit.update(dict.fromkeys(change.units, group))
    return [tuple(group) for group in merged]


def plan_step(
    service_type: ServiceType,
    context: LaneContext,
    applied: Mapping[str, Mapping[ObjectId, object]],
    changes: tuple[Change, ...],
    refusal: Refusal,
) -> Step:
    """Plan the changes of one group on top of what is applied (unit -> object -> spec).

    Units that moved objects connect are planned as one (see `templates.service_type.Unit`).

    Raises `PlanRefusedError` with the planner's words, or those of ``refusal``.
    """
    names = dict.fromkeys(unit for change in changes for unit in change.units)
    if not names:
        # The removal of what was never applied (it was quarantined, or came and went unseen).
        return Step(changes, UnitPlan(unit=""), ())
    moved = [change for change in changes if len(change.units) == 2]
    name = next(iter(moved[0].units if moved else names))
    before = {id: spec for unit in names for id, spec in applied.get(unit, {}).items()}
    after = {id: spec for id, spec in before.items() if all(id != each.id for each in changes)}
    after |= {each.id: each.spec for each in changes if each.spec is not None}
    units = Unit(name, before), Unit(name, after)
    plan = service_type.plan(context, *units)
    service_type.check_succession(*units)
    new_server = next((each.spec for each in changes if each.id == SERVER_ID), None)
    if words := refusal(new_server, plan):
        raise PlanRefusedError(words)
    return Step(changes, plan, _inverse(service_type, context, *units, plan))


def _inverse(
    service_type: ServiceType, context: LaneContext, before: Unit, after: Unit, plan: UnitPlan
) -> tuple[ControlEffect, ...]:
    """Give the control effects that undo, once the files are back.

    On the two paths that clicks take they are known without planning a second time: a zone whose
    file alone changed is read again, a new one is removed.
    """
    if all(isinstance(effect, ReloadZone) for effect in plan.control):
        return plan.control
    if not before.objects and all(isinstance(effect, AddZone) for effect in plan.control):
        added = (effect for effect in reversed(plan.control) if isinstance(effect, AddZone))
        return tuple(RemoveZone(effect.zone) for effect in added)
    return service_type.plan(context, after, before).control


def refusals(
    service_type: ServiceType,
    context: LaneContext,
    applied: Mapping[str, Mapping[ObjectId, object]],
    changes: tuple[Change, ...],
    refusal: Refusal,
) -> tuple[list[Step], list[Verdict]]:
    """Plan one group; where planning refuses it, quarantine those that it refuses and no more."""
    whole = _plan_or_words(service_type, context, applied, changes, refusal)
    if isinstance(whole, Step):
        return [whole], []
    if len(changes) == 1:
        return [], [Verdict(changes[0].after, "quarantined", whole)]
    good: Step | None = None
    verdicts = []
    for change in changes:
        accepted = (*good.changes, change) if good is not None else (change,)
        planned = _plan_or_words(service_type, context, applied, accepted, refusal)
        if isinstance(planned, Step):
            good = planned
        else:
            verdicts.append(Verdict(change.after, "quarantined", planned))
    return ([] if good is None else [good]), verdicts


def _plan_or_words(
    service_type: ServiceType,
    context: LaneContext,
    applied: Mapping[str, Mapping[ObjectId, object]],
    changes: tuple[Change, ...],
    refusal: Refusal,
) -> Step | str:
    try:
        return plan_step(service_type, context, applied, changes, refusal)
    except PlanRefusedError as refused:
        return str(refused)
    except Exception as error:
        # A planner's own mistake about one object must not stop the lane for all the others (P4).
        return f"planning failed: {type(error).__name__}: {error}"
