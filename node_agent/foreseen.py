"""What a lane would serve: what it serves, and on top of it what is only thought of.

The journal is read and never written: a preview leaves no trace in it.
"""

from collections.abc import Iterable, Sequence

from node_agent.choosing import Served
from node_agent.planning import Change
from node_agent.records import AppliedObject, StoredObject
from templates.objects import ObjectId


class Foreseen:
    """One lane as it would stand once the objects ``wanted`` have come, step by step."""

    def __init__(self, served: Served, wanted: Sequence[StoredObject]) -> None:
        self._served = served
        self._pending = {each.id: each for each in wanted}
        self._now: dict[ObjectId, AppliedObject | None] = {}

    # --- what would become of them ---

    def settle(self, changes: Iterable[Change]) -> None:
        """Take changes for applied."""
        for change in changes:
            each = change.after
            self._pending.pop(each.id, None)
            self._now[each.id] = (
                None
                if each.spec is None
                else AppliedObject(
                    each.id,
                    each.revision,
                    each.kind_version,
                    each.spec,
                    change.unit or "",
                    each.requires,
                )
            )

    def give_up(self, ids: Iterable[ObjectId]) -> None:
        """Take objects for judged: they stay as they are applied now."""
        for id in ids:
            self._pending.pop(id, None)

    # --- what choosing reads ---

    def pending(self, lane: str, limit: int) -> tuple[StoredObject, ...]:
        """Give those of the wanted objects of which nothing has become yet."""
        return tuple(self._pending.values())[:limit]

    def find(self, lane: str, ids: Iterable[ObjectId]) -> dict[ObjectId, AppliedObject]:
        """Give those of ``ids`` that the box would serve."""
        wanted = set(ids)
        found = self._served.find(lane, wanted - self._now.keys())
        return found | {id: now for id, now in self._standing() if id in wanted}

    def of_units(self, lane: str, units: Iterable[str]) -> dict[ObjectId, AppliedObject]:
        """Give the objects of these render units that the box would serve."""
        wanted = set(units)
        found = self._served.of_units(lane, wanted)
        kept = {id: each for id, each in found.items() if id not in self._now}
        return kept | {id: now for id, now in self._standing() if now.unit in wanted}

    def dependents(self, lane: str, id: ObjectId, limit: int) -> tuple[ObjectId, ...]:
        """Give the objects that would require ``id``; at most ``limit``."""
        found = self._served.dependents(lane, id, limit + len(self._now))
        mine = [other for other, now in self._standing() if id in now.requires]
        return self._with(found, mine, limit)

    def besides(self, lane: str, id: ObjectId, limit: int) -> tuple[ObjectId, ...]:
        """Give the objects other than ``id`` that the box would serve; at most ``limit``."""
        found = self._served.besides(lane, id, limit + len(self._now))
        mine = [other for other, _ in self._standing() if other != id]
        return self._with(found, mine, limit)

    def _standing(self) -> list[tuple[ObjectId, AppliedObject]]:
        return [(id, now) for id, now in self._now.items() if now is not None]

    def _with(
        self, found: Iterable[ObjectId], mine: Iterable[ObjectId], limit: int
    ) -> tuple[ObjectId, ...]:
        return (*(id for id in found if id not in self._now), *mine)[:limit]
