"""Where a line of a rendered file comes from: its object, and the version that brought it. Pure.

The files are rendered anew from what the model keeps, as an agent does it: nothing is read from a
box. What differs from box to box (the daemon's user, the control channel's key) stands in files of
the object ``server`` alone, whose lines are therefore not looked into.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import attrs

from templates.effects import Symlink, WriteFile
from templates.objects import ObjectId, SpecError, decode_spec
from templates.service_type import (
    SERVER_ID,
    LaneContext,
    PlanRefusedError,
    ServiceType,
    Unit,
)

_OTHERS = 0o077
"""Who may read a file beside its owner: one that is closed to them may hold a secret."""


@attrs.frozen
class Written:
    """A file that an object writes; ``lines`` None where they are not to be told."""

    lines: tuple[str, ...] | None


def lane_context(
    service_type: ServiceType, lane: str, server: bytes | None, root: str
) -> LaneContext:
    """Give a context that renders what all boxes have in common; raises `SpecError`."""
    kind = service_type.kinds[SERVER_ID.kind]
    return LaneContext(
        lane=lane,
        server=None if server is None else decode_spec(kind, kind.version, server),
        root=PurePosixPath(root),
        daemon_user=None,
        modules=PurePosixPath("/"),
        control_secret=b64encode(bytes(32)).decode(),
    )


def written(
    service_type: ServiceType,
    context: LaneContext,
    objects: Mapping[ObjectId, Any],
    path: str,
) -> Written | None:
    """Give what ``objects``, planned as one unit, write at ``path``; None where they do not."""
    if context.server is None:
        return None  # without its own configuration a server has no file at all
    first, spec = next(iter(objects.items()))
    unit = service_type.kinds[first.kind].unit(first.key, spec)
    try:
        plan = service_type.plan(context, Unit(unit, {}), Unit(unit, objects))
    except PlanRefusedError:
        return None
    for effect in plan.files:
        if isinstance(effect, Symlink) and effect.path == path:
            return Written(None)
        if isinstance(effect, WriteFile) and effect.path == path and not effect.only_if_absent:
            if effect.mode & _OTHERS == 0 or SERVER_ID in objects:
                return Written(None)
            return Written(tuple(effect.content.decode().splitlines()))
    return None


def owner_of(
    service_type: ServiceType,
    context: LaneContext,
    objects: Mapping[ObjectId, Any],
    path: str,
    line: int,
) -> ObjectId:
    """Give the object that wrote a line of a file of several.

    Objects stand in a file in the order of their keys, so a file of the first few is the beginning
    of the whole: the line is of the first object with which the beginning reaches it. The heading
    counts to the first of all.
    """
    ids = sorted(objects)

    def reaches(count: int) -> bool:
        some = written(service_type, context, {each: objects[each] for each in ids[:count]}, path)
        return some is not None and some.lines is not None and len(some.lines) >= line

    low, high = 1, len(ids)
    while low < high:
        middle = (low + high) // 2
        if reaches(middle):
            high = middle
        else:
            low = middle + 1
    return ids[low - 1]


def brought_by(
    service_type: ServiceType,
    context: LaneContext,
    name: ObjectId,
    versions: Sequence[bytes | None],
    place: tuple[str, str],
    *,
    complete: bool,
) -> tuple[int, bool]:
    """Give which of ``versions`` (newest first) brought the line of ``place`` (path and text).

    True with it where the version before is known to lack the line, or none is before it, which
    ``complete`` says of the last of ``versions``.
    """
    kind = service_type.kinds[name.kind]
    path, text = place
    for number, spec in enumerate(versions):
        try:
            found = spec and written(
                service_type, context, {name: decode_spec(kind, kind.version, spec)}, path
            )
        except SpecError:
            return max(number - 1, 0), False
        if not found or not found.lines or text not in found.lines:
            return max(number - 1, 0), number > 0
    return len(versions) - 1, complete
