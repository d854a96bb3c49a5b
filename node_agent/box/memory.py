"""A box in memory: simulated name and web servers, and every fault one may wish for.

It passes the same contract tests as the real box. Power cuts lose what was not synced, so a test
can stop the world at any step and look at what is left.
"""

import re
from collections.abc import Callable
from pathlib import PurePosixPath

import attrs

from node_agent import looks
from node_agent.box.interface import (
    Absent,
    AnyImage,
    DirectoryImage,
    FileImage,
    LinkImage,
    Look,
)
from node_agent.effects.failures import (
    BoxUnavailableError,
    DiskFullError,
    EffectFailedError,
    RefusedForNowError,
)
from node_agent.grants import Grants
from templates.effects import (
    AddressDown,
    AddressUp,
    AddZone,
    Check,
    CheckAddress,
    CheckBound,
    CheckProgram,
    ControlEffect,
    FileEffect,
    MakeDirectory,
    Owner,
    Probe,
    ProbeZone,
    ReloadZone,
    RemovePath,
    RemoveZone,
    Symlink,
    UnitPlan,
    WriteFile,
    candidate_path,
)
from templates.service_type import LaneContext, ServiceType

_ZONE_FILE = re.compile(r'\bfile\s+"([^"]+)"')
_SOA_SERIAL = re.compile(rb"\sSOA\s+\S+\s+\S+\s+\(?\s*(\d+)")


def _nothing(event: str) -> None:
    """Let every step pass."""


@attrs.define
class World:
    """What befalls the box: ``at`` sees the name of each step before it is done and may raise."""

    at: Callable[[str], None] = _nothing
    disk_full: bool = False
    check: Callable[["MemoryFiles", CheckProgram], str] = lambda files, check: ""
    """Words of a checker that refuses; empty accepts."""
    starts: Callable[["MemoryFiles"], bool] = lambda files: True
    """Whether the daemon lives on after it has read these files."""
    refuses: Callable[[ControlEffect | Probe], str] = lambda effect: ""
    """Words of a daemon that refuses; empty accepts."""
    foreign: Callable[[str], bool] = lambda address: False
    """Whether another machine has an address."""
    missing: Callable[[str], bool] = lambda address: False
    """Whether an address is on no interface of the box."""
    transferred: Callable[[str], int | None] = lambda zone: None
    """The serial that a secondary holds of a zone."""


class MemoryFiles:
    """Files in a dictionary; ``durable`` is what a power cut leaves."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.nodes: dict[str, AnyImage] = {}
        self.durable: dict[str, AnyImage] = {}

    def power_cut(self) -> None:
        """Lose what was not synced."""
        self.nodes = dict(self.durable)

    def content(self, path: str) -> bytes | None:
        """Give a file's content, None where no file stands."""
        found = self.nodes.get(path)
        return found.content if isinstance(found, FileImage) else None

    def image(self, path: str) -> AnyImage:
        """Read what stands at ``path``."""
        return self.nodes.get(path, Absent())

    def look(self, path: str, size: int) -> Look:
        """Tell how it looks."""
        above = path.rpartition("/")[0]
        while above:
            if not isinstance(self.nodes.get(above, DirectoryImage()), DirectoryImage):
                return Look("other")
            above = above.rpartition("/")[0]
        found = self.image(path)
        if not isinstance(found, FileImage):
            return Look(looks.seen(found), 0, "0:0")
        word = looks.seen(found) if len(found.content) == size else "file"
        return Look(word, found.mode, f"{found.uid}:{found.gid}")

    def owned_by(self, owner: Owner) -> str:
        """All belongs to one."""
        return "0:0"

    def tail(self, path: str, most: int) -> bytes:
        """Read the end of a file."""
        found = self.content(path)
        if found is None:
            raise EffectFailedError(f"{path}: No such file or directory")
        return found[-most:]

    def stage(self, effects: tuple[WriteFile, ...]) -> None:
        """Write candidates, durably."""
        for effect in effects:
            candidate = candidate_path(effect.path)
            self._put(candidate, FileImage(effect.content, effect.mode, 0, 0), "stage")
            self.durable[candidate] = self.nodes[candidate]

    def discard(self, paths: tuple[str, ...]) -> None:
        """Remove candidates."""
        for path in paths:
            self.remove(candidate_path(path))

    def scratch(self, effects: tuple[WriteFile, ...]) -> None:
        """Write files that live only during checks."""
        for effect in effects:
            self._put(effect.path, FileImage(effect.content, effect.mode, 0, 0), "scratch")

    def commit(self, effects: tuple[FileEffect, ...]) -> None:
        """Do each effect by one atomic step."""
        for effect in effects:
            self._world.at(f"commit {effect.path}")
            match effect:
                case WriteFile():
                    staged = self.nodes.pop(candidate_path(effect.path), None)
                    if staged is None:
                        raise EffectFailedError(f"{effect.path}: no candidate")
                    if not (effect.only_if_absent and effect.path in self.nodes):
                        self.nodes[effect.path] = staged
                case Symlink():
                    self._put(effect.path, LinkImage(effect.target), "link")
                case MakeDirectory():
                    self._make(effect.path)
                case RemovePath():
                    found = self.nodes.get(effect.path)
                    if effect.target is None or found == LinkImage(effect.target):
                        self.nodes.pop(effect.path, None)

    def restore(self, path: str, image: AnyImage) -> None:
        """Put back what stood at ``path``, durably."""
        self._world.at(f"restore {path}")
        if isinstance(image, Absent):
            below = any(each.startswith(f"{path}/") for each in self.nodes)
            if not (below and isinstance(self.nodes.get(path), DirectoryImage)):
                self.nodes.pop(path, None)
        elif not isinstance(image, DirectoryImage):
            self._put(path, image, "put back")
        self.sync((path,))

    def remove(self, path: str) -> None:
        """Remove a file or link."""
        self._world.at(f"remove {path}")
        self.nodes.pop(path, None)

    def room(self) -> None:
        """See whether the disk is full."""
        if self._world.disk_full:
            raise DiskFullError("the disk is full")

    def sync(self, paths: tuple[str, ...]) -> None:
        """Make names durable."""
        self._world.at("sync")
        folders = {path.rpartition("/")[0] for path in paths}
        for path in {*self.nodes, *self.durable}:
            if path.rpartition("/")[0] in folders or path in folders:
                if path in self.nodes:
                    self.durable[path] = self.nodes[path]
                else:
                    self.durable.pop(path, None)

    def _put(self, path: str, image: AnyImage, verb: str) -> None:
        self._world.at(f"{verb} {path}")
        if self._world.disk_full:
            raise DiskFullError(f"{path}: No space left on device")
        self._make(path.rpartition("/")[0])
        self.nodes[path] = image

    def _make(self, folder: str) -> None:
        while folder:
            found = self.nodes.setdefault(folder, DirectoryImage())
            if not isinstance(found, DirectoryImage):
                raise EffectFailedError(f"{folder}: Not a directory")
            folder = folder.rpartition("/")[0]


class MemoryLane:
    """One lane of a box in memory, with a daemon that is a few dictionaries."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.files = MemoryFiles(world)
        self.alive = False
        self.zones: dict[str, str] = {}
        """Zones as named keeps them over a restart."""
        self.serials: dict[str, int | None] = {}
        """What is loaded now."""
        self.addresses: set[str] = set()
        """What was brought up; a reboot loses it."""
        self.log: list[str] = []

    def bind(self, context: LaneContext) -> None:
        """Nothing depends on the context here."""

    def close(self) -> None:
        """Nothing is held."""

    def kill(self) -> None:
        """End the daemon as a crash would."""
        self.alive = False
        self.serials = {}

    async def check(self, check: Check) -> None:
        """Ask the world's checker."""
        if isinstance(check, CheckAddress):
            self._step(f"check {check.address}")
            self._refuse_foreign(check.address)
            return
        if isinstance(check, CheckBound):
            if self.world.missing(check.address):
                raise EffectFailedError(f"{check.address} is not on this box")
            return
        self._step(f"check {check.program}")
        words = self.world.check(self.files, check)
        if words:
            raise EffectFailedError(words)

    async def control(self, effect: ControlEffect) -> None:
        """Do one effect; on zones, the daemon must live."""
        if isinstance(effect, AddressUp | AddressDown):
            self._step(f"{type(effect).__name__} {effect.address}")
            if isinstance(effect, AddressUp):
                self._refuse_foreign(effect.address)
                self.addresses.add(effect.address)
            else:
                self.addresses.discard(effect.address)
            return
        self._step(f"{type(effect).__name__} {effect.zone}")
        self._must_live()
        words = self.world.refuses(effect)
        if words:
            raise EffectFailedError(words)
        match effect:
            case AddZone():
                self.zones[effect.zone] = effect.config
                self._load(effect.zone)
            case RemoveZone():
                self.zones.pop(effect.zone, None)
                self.serials.pop(effect.zone, None)
            case ReloadZone():
                self.zones.setdefault(effect.zone, effect.config)
                self._load(effect.zone)

    async def probe(self, probe: Probe, *, once: bool = False) -> None:
        """Answer as the daemon would."""
        self._step(f"probe {type(probe).__name__}")
        self._must_live()
        words = self.world.refuses(probe)
        if words:
            raise EffectFailedError(words)
        if isinstance(probe, ProbeZone):
            self._probe_zone(probe)

    async def zone_serial(self, zone: str) -> int | None:
        """Give the loaded serial, or the one that the world says was transferred."""
        self._must_live()
        if zone not in self.zones:
            return None
        loaded = self.serials.get(zone)
        return self.world.transferred(zone) if loaded is None else loaded

    async def retransfer(self, zone: str) -> None:
        """Note that it was asked."""
        self._must_live()
        self.log.append(f"retransfer {zone}")

    async def running(self) -> bool:
        """Tell whether the daemon lives."""
        return self.alive

    async def start(self) -> None:
        """Read everything and live, where the world lets it."""
        self._step("start")
        self._read_all()

    async def stop(self) -> None:
        """End the daemon."""
        self._step("stop")
        self.kill()

    async def restart(self) -> None:
        """Stop and start."""
        self._step("restart")
        self.kill()
        self._read_all()

    async def reload(self) -> None:
        """Read the configuration again; a bad one ends the daemon, as it does Apache."""
        self._step("reload")
        self._must_live()
        self._read_all()

    def _read_all(self) -> None:
        self.alive = self.world.starts(self.files)
        if not self.alive:
            self.kill()
            raise EffectFailedError("the daemon did not stay up")
        for zone in self.zones:
            self._load(zone)

    def _load(self, zone: str) -> None:
        named = _ZONE_FILE.search(self.zones[zone])
        content = self.files.content(named[1]) if named else None
        soa = _SOA_SERIAL.search(content) if content else None
        self.serials[zone] = int(soa[1]) if soa else None

    def _probe_zone(self, probe: ProbeZone) -> None:
        if probe.zone.endswith(".invalid"):
            return  # the baseline zone stands in the daemon's own configuration
        if probe.gone:
            if probe.zone in self.zones:
                raise EffectFailedError(f"{probe.zone} is still served")
        elif probe.serial is not None and self.serials.get(probe.zone) != probe.serial:
            raise EffectFailedError(f"{probe.zone} answers {self.serials.get(probe.zone)}")

    def _step(self, event: str) -> None:
        self.world.at(event)
        self.log.append(event)

    def _refuse_foreign(self, address: str) -> None:
        if self.world.foreign(address):
            raise RefusedForNowError(f"another machine has the address {address}")

    def _must_live(self) -> None:
        if not self.alive:
            raise BoxUnavailableError("the daemon does not answer")


class MemoryBox:
    """Lanes by id; they outlive the agent that works them, as a box does."""

    os_family = "linux"

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.lanes: dict[str, MemoryLane] = {}
        self.grants: Grants | None = None
        """What the box's owner allows; None: everything."""

    def context(
        self, service_type: ServiceType, lane: str, control_secret: str, server: object
    ) -> LaneContext:
        """Give a context with made-up places."""
        return LaneContext(
            lane=lane,
            server=server,
            root=PurePosixPath("/memory") / lane,
            daemon_user=None,
            modules=PurePosixPath("/memory/modules"),
            control_secret=control_secret,
        )

    def refusal(self, service_type: ServiceType, server: object, plan: UnitPlan) -> str:
        """Say what of a plan is not granted."""
        if self.grants is None:
            return ""
        return self.grants.refusal(plan, service_type.directories(server))

    def lane(self, service_type: ServiceType, lane: str) -> MemoryLane:
        """Give a lane, the same one each time."""
        return self.lanes.setdefault(lane, MemoryLane(self.world))
