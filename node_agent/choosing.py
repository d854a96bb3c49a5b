"""Choosing what a round works, from the journal: the window, its order, its plans.

Blocks on the journal; runs on the worker thread within the round's transaction.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from node_agent.planning import (
    Change,
    Refusal,
    Step,
    decode,
    groups,
    readiness,
    refusals,
)
from node_agent.records import AppliedObject, StoredObject, Verdict
from templates.objects import ObjectId, SpecError, decode_spec
from templates.service_type import SERVER_ID, LaneContext, ServiceType

WINDOW = 500
"""Objects of one round, at most."""
WAITS_NAMED = 50
"""Objects that one removal is recorded to wait for, at most; the next look finds the next ones."""


class Served(Protocol):
    """What a box serves: as the journal has it, or as it would be (see `foreseen`)."""

    def find(self, lane: str, ids: Iterable[ObjectId]) -> dict[ObjectId, AppliedObject]:
        """Give those of ``ids`` that the box serves."""

    def of_units(self, lane: str, units: Iterable[str]) -> dict[ObjectId, AppliedObject]:
        """Give the applied objects of these render units."""

    def dependents(self, lane: str, id: ObjectId, limit: int) -> tuple[ObjectId, ...]:
        """Give applied objects that require ``id``; at most ``limit``."""

    def besides(self, lane: str, id: ObjectId, limit: int) -> tuple[ObjectId, ...]:
        """Give applied objects other than ``id``; at most ``limit``."""


class Chooser:
    """Chooses for one lane. ``pending`` gives the objects to be worked next, ``context_of`` the
    planning context for a server's spec, ``refusal`` what the box does not grant of a plan.
    """

    def __init__(
        self,
        lane: str,
        service_type: ServiceType,
        *,
        applied: Served,
        pending: Callable[[str, int], tuple[StoredObject, ...]],
        context_of: Callable[[object], LaneContext],
        refusal: Refusal,
    ) -> None:
        self._lane = lane
        self._type = service_type
        self._applied = applied
        self._pending = pending
        self._context_of = context_of
        self._refusal = refusal
        self.server: object | None = None
        """The applied specification of the logical server; None: not there yet."""

    def read_server(self) -> None:
        """Read the server's applied specification."""
        found = self._applied.find(self._lane, [SERVER_ID]).get(SERVER_ID)
        self.server = None if found is None else self._decode(found)

    def window(
        self, put_off: Mapping[ObjectId, int] = MappingProxyType({})
    ) -> tuple[list[Step], list[Verdict]]:
        """Plan the oldest pending objects that are ready; judge those that cannot be.

        A change of the server itself is worked alone, before anything else. Objects that are
        ``put_off`` at the revision that is pending are passed over.
        """
        window = self._pending(self._lane, WINDOW)
        required = {need for each in window for need in each.requires}
        present = self._applied.find(self._lane, {*required, SERVER_ID})
        dependents = {each.id: self._dependents(each.id) for each in window if each.spec is None}
        judged = readiness(window, present.keys(), dependents)
        ready = judged.ready
        if any(each.id == SERVER_ID for each in ready):
            ready = tuple(each for each in ready if each.id == SERVER_ID)
        ready = tuple(each for each in ready if put_off.get(each.id) != each.revision)
        changes, verdicts = self._decode_all(ready)
        steps, refused = self.plan(changes)
        return steps, [*judged.verdicts, *verdicts, *refused]

    def plan(
        self, changes: Iterable[Change], in_effect: Iterable[Change] = ()
    ) -> tuple[list[Step], list[Verdict]]:
        """Plan on top of what is applied and what the round has put in effect since."""
        changes = tuple(changes)
        units = {unit for change in changes for unit in change.units}
        applied: dict[str, dict[ObjectId, object]] = {unit: {} for unit in units}
        for each in self._applied.of_units(self._lane, units).values():
            applied[each.unit][each.id] = self._decode(each)
        for change in in_effect:
            for objects in applied.values():
                objects.pop(change.id, None)
            if change.unit in applied:
                applied[change.unit][change.id] = change.spec
        steps: list[Step] = []
        verdicts: list[Verdict] = []
        for group in groups(changes):
            new_server = next((c.spec for c in group if c.id == SERVER_ID), None)
            context = self._context_of(self.server if new_server is None else new_server)
            planned, refused = refusals(self._type, context, applied, group, self._refusal)
            steps += planned
            verdicts += refused
        return steps, verdicts

    def _decode_all(self, ready: tuple[StoredObject, ...]) -> tuple[list[Change], list[Verdict]]:
        before = self._applied.find(self._lane, (each.id for each in ready))
        changes: list[Change] = []
        verdicts: list[Verdict] = []
        for each in ready:
            try:
                changes.append(decode(self._type, each, before.get(each.id)))
            except SpecError as error:
                verdicts.append(Verdict(each, "quarantined", str(error)))
        return changes, verdicts

    def _decode(self, each: AppliedObject) -> object:
        spec: object = decode_spec(self._type.kinds[each.id.kind], each.kind_version, each.spec)
        return spec

    def _dependents(self, id: ObjectId) -> tuple[ObjectId, ...]:
        if id == SERVER_ID:
            return self._applied.besides(self._lane, id, WAITS_NAMED)
        return self._applied.dependents(self._lane, id, WAITS_NAMED)
