"""A lane of the service type ``bind`` with a real named on loopback, for tests."""

import contextlib
import os
import pwd
import select
import shutil
import signal
import subprocess
from pathlib import PurePosixPath

import psutil
from twisted.internet import reactor

from node_agent.effects.binding import see_bound
from node_agent.effects.rndc import ControlChannel, ZoneControl
from node_agent.effects.zone_probe import probe_zone
from templates.bind.objects import BindSettings, ServerSpec, TsigKey
from templates.bind.service import BIND
from templates.effects import CheckBound, MakeDirectory, RemovePath, UnitPlan, WriteFile
from templates.objects import ObjectId
from templates.service_type import SERVER_ID, Endpoint, LaneContext, Unit
from tests.daemons import programs
from tests.free_ports import free_port
from tests.scratch import scratch

CONTROL_SECRET = "Y29udHJvbCBjaGFubmVsIGtleSBvZiBhIHRlc3QgbGE="
TRANSFER_KEY = TsigKey(
    name="transfer.cluster",
    algorithm="hmac-sha256",
    secret="dHJhbnNmZXIga2V5IG9mIGEgdGVzdCBjbHVzdGVyISE=",
)


def _daemon_user() -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("bind").pw_name
    except KeyError:
        return None


class NamedLane:
    """Applies plans the plain way: files, control effects, probes, retired paths."""

    def __init__(self, name: str) -> None:
        self.root = scratch("heliosphere-named-")
        self.root.chmod(0o755)
        self.endpoint = Endpoint(address="127.0.0.1", port=free_port())
        self.server = ServerSpec(
            name=f"{name}.cluster.test",
            endpoints=(self.endpoint,),
            settings=BindSettings(control_port=free_port()),
            transfer_key=TRANSFER_KEY,
        )
        self.context = LaneContext(
            lane=name,
            server=self.server,
            root=PurePosixPath(self.root),
            daemon_user=_daemon_user(),
            control_secret=CONTROL_SECRET,
        )
        self.channel = ControlChannel(reactor, BIND.daemon.control(self.context))
        self.control = ZoneControl(self.channel)
        self.zones: dict[str, object] = {}

    def set_up(self) -> None:
        plan = BIND.plan(self.context, Unit("server", {}), Unit("server", {SERVER_ID: self.server}))
        self.write(plan)
        for check in plan.checks:
            if isinstance(check, CheckBound):
                see_bound(check.address)
                continue
            name = check.arguments[-1].replace("/.named.conf.candidate", "/named.conf")
            subprocess.run([shutil.which(check.program), name], check=True)
        self.start()

    def start(self) -> None:
        finished = subprocess.run(
            [programs()["named"], *BIND.daemon.start(self.context)],
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert finished.returncode == 0, finished

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(int((self.root / BIND.daemon.pid_file).read_text()))

    def kill(self) -> None:
        descriptor = os.pidfd_open(self.process.pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            assert select.select([descriptor], [], [], 20)[0], "named does not end"
        finally:
            os.close(descriptor)

    def tear_down(self) -> None:
        self.channel.close()
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            self.kill()
        shutil.rmtree(self.root)

    def write(self, plan: UnitPlan) -> None:
        for effect in plan.files:
            path = self.root / effect.path
            if isinstance(effect, MakeDirectory):
                path.mkdir(mode=effect.mode, exist_ok=True, parents=True)
                path.chmod(effect.mode)
            else:
                assert isinstance(effect, WriteFile)
                candidate = path.with_name(f".{path.name}.candidate")
                candidate.write_bytes(effect.content)
                candidate.chmod(effect.mode)
                candidate.rename(path)
            if effect.owner == "daemon" and self.context.daemon_user is not None:
                shutil.chown(path, self.context.daemon_user)

    def plan(self, zone: str, spec: object) -> UnitPlan:
        name, identity = f"zone:{zone}", ObjectId("zone", zone)
        before, after = (
            Unit(name, {} if state is None else {identity: state})
            for state in (self.zones.get(zone), spec)
        )
        return BIND.plan(self.context, before, after)

    async def apply(self, zone: str, spec: object) -> list[object]:
        """Apply a zone (None removes it) and give the inverse of each control effect."""
        plan = self.plan(zone, spec)
        self.write(plan)
        inverses = [await self.control.apply(effect) for effect in plan.control]
        for probe in plan.probes:
            await probe_zone(reactor, self.endpoint, probe, deadline=20)
        for retired in plan.retire:
            assert isinstance(retired, RemovePath)
            (self.root / retired.path).unlink(missing_ok=True)
        self.zones[zone] = spec
        return inverses
