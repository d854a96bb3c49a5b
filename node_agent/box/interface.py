"""What a box can do for a lane: the one interface of the engine to the world.

Files are named relative to the lane's own directory. File calls block and are made on a worker
thread; the others are asynchronous. Every failure is one of `EffectFailedError` (the answer is no),
`BoxUnavailableError` (nobody answered) or `DiskFullError` (nothing can be written).
"""

import re
from typing import Protocol

import msgspec

from templates.effects import (
    Check,
    ControlEffect,
    FileEffect,
    Owner,
    Probe,
    UnitPlan,
    WriteFile,
)
from templates.service_type import LaneContext, ServiceType

_LANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", re.ASCII)


def is_lane_id(text: str) -> bool:
    """Tell whether a lane may have this id: it names a directory and a systemd unit (S3, S11)."""
    return _LANE_ID.fullmatch(text) is not None


class Image(msgspec.Struct, frozen=True, tag=True):
    """What stood at a path before a change: enough to put it back."""


class Absent(Image, frozen=True):
    """Nothing stood there."""


class FileImage(Image, frozen=True):
    """A regular file."""

    content: bytes
    mode: int
    uid: int
    gid: int


class LinkImage(Image, frozen=True):
    """A symbolic link."""

    target: str


class DirectoryImage(Image, frozen=True):
    """A directory: it is left alone."""


AnyImage = Absent | FileImage | LinkImage | DirectoryImage


class Look(msgspec.Struct, frozen=True):
    """How something looks without its content: see `node_agent.looks` for ``looks``.

    ``looks`` may also be ``file`` alone (of another size than was expected; it was not read) or
    ``other`` (neither a file, a link nor a directory, or a link stands in the way).
    """

    looks: str
    mode: int = 0
    owner: str = ""
    """User and group, as ``UID:GID``."""


class LaneFiles(Protocol):
    """The files of one lane. No path component is ever followed through a symbolic link (S16)."""

    def image(self, path: str) -> AnyImage:
        """Read what stands at ``path``."""

    def look(self, path: str, size: int) -> Look:
        """Tell how it looks; a file is read only where it has ``size`` bytes."""

    def owned_by(self, owner: Owner) -> str:
        """Give who owns what an effect gives to ``owner``, as in `Look`."""

    def tail(self, path: str, most: int) -> bytes:
        """Read the last ``most`` bytes of a regular file."""

    def stage(self, effects: tuple[WriteFile, ...]) -> None:
        """Write the candidates of these files beside them and make their content durable."""

    def discard(self, paths: tuple[str, ...]) -> None:
        """Remove the candidates of these paths, where there are any."""

    def scratch(self, effects: tuple[WriteFile, ...]) -> None:
        """Write files that live only during checks; nothing is synced."""

    def commit(self, effects: tuple[FileEffect, ...]) -> None:
        """Do each effect by one atomic step, in order: a staged file is renamed into place."""

    def restore(self, path: str, image: AnyImage) -> None:
        """Put back what stood there; done twice it is the same as done once."""

    def remove(self, path: str) -> None:
        """Remove a file or link; one that is not there is no error."""

    def room(self) -> None:
        """See that the lane's daemon can still write; raises `DiskFullError` where it cannot."""

    def sync(self, paths: tuple[str, ...]) -> None:
        """Make the names of these paths durable (the directories that hold them)."""


class LaneBox(Protocol):
    """One lane's share of a box, bound to the configuration that its daemon runs with."""

    @property
    def files(self) -> LaneFiles:
        """The lane's files."""

    def bind(self, context: LaneContext) -> None:
        """Use this context (endpoints, control channel) from now on."""

    async def check(self, check: Check) -> None:
        """Run a checker, or look at the network; raises `EffectFailedError` with what was found."""

    async def control(self, effect: ControlEffect) -> None:
        """Do one effect over the daemon's control channel or on the host, idempotently."""

    async def probe(self, probe: Probe, *, once: bool = False) -> None:
        """Ask the daemon as a client would; returns when the answer is the right one.

        A wrong one is believed after a while, with ``once`` at once.
        """

    async def zone_serial(self, zone: str) -> int | None:
        """Give the serial that the lane's name server answers for ``zone``; None: not served."""

    async def retransfer(self, zone: str) -> None:
        """Make a secondary transfer ``zone`` now, whatever its serial says."""

    async def running(self) -> bool:
        """Tell whether the lane's daemon lives."""

    async def start(self) -> None:
        """Start the daemon and wait until it is up."""

    async def stop(self) -> None:
        """Stop the daemon; one that does not run is no error."""

    async def restart(self) -> None:
        """Stop and start the daemon."""

    async def reload(self) -> None:
        """Make the daemon read its configuration again, without losing a client."""

    def close(self) -> None:
        """Let go of connections and handles. The daemon runs on."""


class Box(Protocol):
    """A box: it gives each lane its share."""

    @property
    def os_family(self) -> str:
        """``linux``, ``freebsd`` or ``windows``."""

    def context(
        self, service_type: ServiceType, lane: str, control_secret: str, server: object
    ) -> LaneContext:
        """Give what planning may know of this box."""

    def refusal(self, service_type: ServiceType, server: object, plan: UnitPlan) -> str:
        """Say what of a plan the box's owner does not allow, in words; empty where all of it is.

        ``server`` is the specification of the object ``server`` where it is planned, else None.
        """

    def lane(self, service_type: ServiceType, lane: str) -> LaneBox:
        """Open a lane's share, making its directory."""
