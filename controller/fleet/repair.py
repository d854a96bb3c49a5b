"""What differs between a box's inventory and the model, and whether it may be repaired. Pure."""

from collections.abc import Mapping

import attrs

MASS_DELETE_SHARE = 0.05
MASS_DELETE_COUNT = 20
"""A repair that would remove more than this share of a lane, and at least this many, waits."""

WOULD_REMOVE = "the repair would remove"
"""How it begins what a lane says that waits so: it is told from lanes that others hold by that."""

ObjectName = tuple[str, str]


@attrs.frozen
class Desired:
    """The newest version of an object in the model."""

    revision: int
    deleted: bool


@attrs.frozen
class Repair:
    """``send`` is missing or older on the box; ``forget`` is unknown here; ``newer`` is held by the
    box at a revision that the model has not reached; ``keep`` is alike on both sides.
    """

    send: tuple[ObjectName, ...]
    forget: tuple[ObjectName, ...]
    newer: tuple[ObjectName, ...]
    keep: tuple[ObjectName, ...]


def compare(
    inventory: Mapping[ObjectName, int], desired: Mapping[ObjectName, Desired], through: int
) -> Repair:
    """Give the difference, for objects of revisions up to ``through``; later ones follow anyway."""
    send, newer, keep = [], [], []
    for name, want in desired.items():
        held = inventory.get(name)
        if held is None:
            if not want.deleted and want.revision <= through:
                send.append(name)
        elif held > want.revision:
            newer.append(name)
        elif held == want.revision and not want.deleted:
            keep.append(name)
        elif want.revision <= through:
            send.append(name)
        else:
            keep.append(name)
    forget = [name for name in inventory if name not in desired]
    return Repair(
        tuple(sorted(send, key=lambda name: desired[name].revision)),
        tuple(sorted(forget)),
        tuple(sorted(newer)),
        tuple(sorted(keep)),
    )


def is_mass_delete(removed: int, held: int) -> bool:
    """Whether removing ``removed`` of ``held`` objects needs an operator's word."""
    return removed >= MASS_DELETE_COUNT and removed > held * MASS_DELETE_SHARE
