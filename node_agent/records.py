"""What the journal holds, as plain records: lanes, objects, outcomes, open entries."""

from typing import Literal

import attrs
import msgspec

from node_agent.wire.messages import DriftPolicy, Item, LaneCondition, OutcomeName
from templates.effects import Owner
from templates.objects import ObjectId

Phase = Literal["apply", "retire"]


@attrs.frozen
class LaneRecord:
    """A lane as stored. ``held`` is the operator's flag; ``condition`` what was last seen."""

    id: str
    name: str
    service_type: str
    assigned: bool
    history: str
    stored_revision: int
    object_hash: str
    condition: LaneCondition
    message: str
    held: bool
    renderer: str
    control_secret: str = attrs.field(repr=False)
    drift: DriftPolicy = "report"


@attrs.frozen
class StoredObject:
    """A desired object; ``spec`` None asks for its removal, ``change`` is the change behind it."""

    id: ObjectId
    revision: int
    kind_version: int
    spec: bytes | None = attrs.field(repr=False)
    requires: tuple[ObjectId, ...] = ()
    change: int = 0


@attrs.frozen
class AppliedObject:
    """An object as the box serves it now, and the render unit it was planned in."""

    id: ObjectId
    revision: int
    kind_version: int
    spec: bytes = attrs.field(repr=False)
    unit: str
    requires: tuple[ObjectId, ...] = ()


@attrs.frozen
class Verdict:
    """What became of an object; ``needs`` names what a waiting one waits for."""

    object: StoredObject
    outcome: OutcomeName
    message: str
    needs: tuple[ObjectId, ...] = ()


@attrs.frozen
class Entry:
    """An open journal entry: what to put back (``apply``) or still to remove (``retire``).

    ``live``: the daemon was seen to serve it, and it may have been told so.
    """

    id: int
    phase: Phase
    body: bytes
    live: bool


class WrittenFile(msgspec.Struct, frozen=True, array_like=True):
    """A file or link that the agent wrote, and how it must look (see `node_agent.looks`).

    ``units`` are the render units that were planned when it was written: one of them writes it.
    """

    path: str
    units: tuple[str, ...]
    looks: str
    size: int
    mode: int
    owner: Owner


@attrs.frozen
class Removed:
    """An object that the box serves no more, and the revision of its removal."""

    id: ObjectId
    revision: int


@attrs.frozen
class Received:
    """A batch as it came: objects, the revision it completes, and the history it belongs to."""

    history: str
    through: int
    items: tuple[Item, ...]
