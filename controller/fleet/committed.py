"""What a change asks of lanes, as the process that commits it has it in memory.

The records are what `lane_store` reads of the same change later, so that a lane is sent the same
whichever way its dispatcher learned of it.
"""

from typing import Protocol

import attrs


@attrs.frozen
class Pending:
    """A desired object that a lane has not stored. ``spec`` None is a tombstone."""

    kind: str
    key: str
    revision: int
    kind_version: int
    spec: bytes | None = attrs.field(repr=False)
    requires: tuple[tuple[str, str], ...]
    secrets: tuple[int, ...]
    change_id: int


@attrs.frozen
class Watch:
    """A secondary must be seen to answer ``zone`` with ``serial`` for ``change_id`` to be live."""

    change_id: int
    server: str
    zone: str
    serial: int


@attrs.frozen
class ServerChange:
    """All that a change did to one logical server, which was at revision ``before``.

    ``objects`` are in the order of their revisions, and there are no others between ``before`` and
    the last of them: the server's row was locked until the commit.
    """

    server: str
    before: int
    objects: tuple[Pending, ...]

    @property
    def revision(self) -> int:
        """The server's revision since this change."""
        return self.objects[-1].revision


@attrs.frozen
class Committed:
    """A change that is certainly committed."""

    change_id: int
    servers: tuple[ServerChange, ...]
    watches: tuple[Watch, ...]


class Handover(Protocol):
    """Who brings changes to the boxes, as the process that commits them speaks to it."""

    def committing(self, change_id: int) -> None:
        """Know that a change is about to be committed: its NOTIFY may come before `committed`."""

    def committed(self, change: Committed) -> None:
        """Take a change right after its commit."""

    def ended(self, change_id: int) -> None:
        """Know that `committed` does not come any more for a change, if it did not."""
