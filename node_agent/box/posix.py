"""The real box: a Unix-like system. It puts the interpreters of effects behind the interface."""

import grp
import os
import pwd
import sys
from pathlib import Path, PurePosixPath

import attrs
from twisted.internet.interfaces import IReactorTime

from node_agent.box.daemons import Daemons
from node_agent.box.interface import is_lane_id
from node_agent.effects.addresses import HostAddresses
from node_agent.effects.binding import see_bound
from node_agent.effects.failures import (
    BlockedError,
    BoxUnavailableError,
    EffectFailedError,
    KeyRefusedError,
    NoProgramError,
)
from node_agent.effects.files import Ids, PosixFiles
from node_agent.effects.http_probe import probe_http
from node_agent.effects.programs import run_program
from node_agent.effects.rndc import ControlChannel, ZoneControl
from node_agent.effects.zone_probe import probe_zone, zone_serial
from node_agent.grants import Grants
from templates.effects import (
    AddressDown,
    AddressUp,
    Check,
    CheckAddress,
    CheckBound,
    ControlEffect,
    Probe,
    ProbeZone,
    UnitPlan,
)
from templates.service_type import ControlEndpoint, Endpoint, LaneContext, ServiceType


@attrs.frozen
class PosixBox:
    """``root`` holds a directory for each lane; ``grants`` is what the box's owner allows."""

    reactor: IReactorTime
    root: Path
    grants: Grants
    daemons: Daemons
    addresses: HostAddresses | None = None
    """Who brings addresses up; None on a box where a person does."""

    @property
    def os_family(self) -> str:
        """``linux`` or ``freebsd``."""
        return "freebsd" if sys.platform.startswith("freebsd") else "linux"

    def context(
        self, service_type: ServiceType, lane: str, control_secret: str, server: object
    ) -> LaneContext:
        """Give what planning may know of this box."""
        program = service_type.daemon.program
        return LaneContext(
            lane=lane,
            server=server,
            root=PurePosixPath(self.root / lane),
            daemon_user=self.grants.users.get(program),
            modules=self.grants.modules.get(program),
            control_secret=control_secret,
        )

    def refusal(self, service_type: ServiceType, server: object, plan: UnitPlan) -> str:
        """Say what of a plan the box's owner does not allow; empty where all of it is."""
        return self.grants.refusal(plan, service_type.directories(server))

    def lane(self, service_type: ServiceType, lane: str) -> "PosixLane":
        """Open a lane's directory, made where it is missing. Raises ValueError for a strange id."""
        if not is_lane_id(lane):
            raise ValueError(f"not the id of a lane: {lane!a}")
        return PosixLane(self, service_type, lane, self._ids(service_type.daemon.program))

    def _ids(self, program: str) -> Ids | None:
        user = self.grants.users.get(program)
        if user is None or os.geteuid() != 0:
            return None
        entry = pwd.getpwnam(user)
        return Ids(entry.pw_uid, grp.getgrgid(entry.pw_gid).gr_gid)


class PosixLane:
    """One lane of a `PosixBox`."""

    def __init__(
        self, box: PosixBox, service_type: ServiceType, lane: str, ids: Ids | None
    ) -> None:
        self._box = box
        self._lane = lane
        self._daemon = service_type.daemon
        self._context: LaneContext | None = None
        self._channel: ControlChannel | None = None
        self._channel_endpoint: ControlEndpoint | None = None
        self.files = PosixFiles(box.root / lane, ids)

    def bind(self, context: LaneContext) -> None:
        """Use this context; a control channel that is elsewhere now is opened anew."""
        self._context = context
        endpoint = self._daemon.control(context) if self._daemon.control is not None else None
        if endpoint != self._channel_endpoint:
            if self._channel is not None:
                self._channel.close()
            self._channel_endpoint = endpoint
            self._channel = (
                None if endpoint is None else ControlChannel(self._box.reactor, endpoint)
            )

    async def check(self, check: Check) -> None:
        """Run a checker of the program table, or ask the neighbours for an address."""
        if isinstance(check, CheckAddress):
            await self._addresses().check(check.address)
            return
        if isinstance(check, CheckBound):
            see_bound(check.address)
            return
        try:
            done = await run_program(
                self._box.reactor, self._box.grants.programs, check.program, check.arguments
            )
        except NoProgramError as missing:
            if self._context is None or not await self.running():
                raise
            raise BlockedError(f"its configuration cannot be checked: {missing}") from missing
        if done.status != 0:
            words = done.output or f"{check.program} ended with status {done.status}"
            raise EffectFailedError(words)

    async def control(self, effect: ControlEffect) -> None:
        """Do one effect over the control channel, or on the host."""
        match effect:
            case AddressUp():
                await self._addresses().up(self._lane, effect.address, effect.prefix)
            case AddressDown():
                await self._addresses().down(self._lane, effect.address)
            case _:
                await ZoneControl(self._open_channel()).apply(effect)

    async def probe(self, probe: Probe, *, once: bool = False) -> None:
        """Ask the daemon at its first endpoint, or at the address that the probe names."""
        endpoint = self._endpoint()
        if probe.address:
            port = probe.port or endpoint.port
            endpoint = Endpoint(address=probe.address, port=port)
        try:
            if isinstance(probe, ProbeZone):
                await probe_zone(self._box.reactor, endpoint, probe, once=once)
            else:
                await probe_http(self._box.reactor, endpoint, probe, once=once)
        except BoxUnavailableError as silent:
            if not probe.address:
                raise
            # One address that is silent says nothing of the daemon: that is asked elsewhere.
            raise EffectFailedError(str(silent)) from silent

    async def zone_serial(self, zone: str) -> int | None:
        """Ask the name server for a zone's serial."""
        return await zone_serial(self._box.reactor, self._endpoint(), zone)

    async def retransfer(self, zone: str) -> None:
        """Make a secondary transfer a zone now."""
        await ZoneControl(self._open_channel()).retransfer(zone)

    async def running(self) -> bool:
        """Tell whether the daemon lives."""
        return await self._box.daemons.running(self._bound(), self._daemon)

    async def start(self) -> None:
        """Start the daemon."""
        await self._box.daemons.start(self._bound(), self._daemon)

    async def stop(self) -> None:
        """Stop the daemon; a lane that was never bound has none."""
        if self._context is not None:
            await self._box.daemons.stop(self._context, self._daemon)

    async def restart(self) -> None:
        """Stop and start the daemon."""
        await self._box.daemons.restart(self._bound(), self._daemon)

    async def reload(self) -> None:
        """Make the daemon read its configuration again, by signal or over its control channel.

        One that does not take the agent's key there is started anew: it would be told nothing ever.
        """
        if self._daemon.reload == "control":
            try:
                await ZoneControl(self._open_channel()).reconfigure()
            except KeyRefusedError:
                await self.restart()
        else:
            await self._box.daemons.reload(self._bound(), self._daemon, self._serve)

    async def _serve(self) -> None:
        for probe in self._daemon.baseline(self._bound()):
            await self.probe(probe)

    def close(self) -> None:
        """Close the channel and the directory handle."""
        if self._channel is not None:
            self._channel.close()
        self.files.close()

    def _bound(self) -> LaneContext:
        if self._context is None:
            raise BoxUnavailableError("the logical server has no configuration yet")
        return self._context

    def _addresses(self) -> HostAddresses:
        if self._box.addresses is None:
            raise EffectFailedError("the agent brings no addresses up on this box: do it by hand")
        return self._box.addresses

    def _open_channel(self) -> ControlChannel:
        if self._channel is None:
            raise BoxUnavailableError("the logical server has no control channel yet")
        return self._channel

    def _endpoint(self) -> Endpoint:
        endpoint: Endpoint = self._bound().server.endpoints[0]
        return endpoint
