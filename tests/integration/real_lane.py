"""A lane of the agent with a real daemon on loopback: the whole engine, and no controller."""

import os
import pwd
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

import psutil
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.threadpool import ThreadPool

from node_agent.box.daemons import DirectDaemons
from node_agent.box.posix import PosixBox
from node_agent.concurrency import threaded
from node_agent.effects.zone_probe import zone_serial
from node_agent.engine import Engine
from node_agent.grants import Grants
from node_agent.journal import Journal
from node_agent.lanes import Lane
from node_agent.wire.messages import Batch, Drift, DriftPolicy, FromAgent, Item, Outcomes
from templates.apache.objects import ApacheSettings, SiteSettings, SiteSpec
from templates.apache.objects import ServerSpec as ApacheServer
from templates.bind.objects import BindSettings, MasterZone, Record, ServerSpec, StartOfAuthority
from templates.objects import Spec, encode_spec
from templates.registry import SERVICE_TYPES
from templates.service_type import Endpoint
from tests.daemons import programs
from tests.free_ports import free_port
from tests.integration.named_lane import TRANSFER_KEY
from tests.scratch import scratch

LANE = "6f2d0c9e-0000-4000-8000-000000000001"
_USERS = {"named": "bind", "apache2": "www-data"}


def item(kind: str, key: str, revision: int, spec: Spec | None) -> Item:
    data = None if spec is None else bytes(encode_spec(spec))
    requires = () if kind == "server" else (("server", ""),)
    return Item(kind, key, revision, 1, data, requires)


class RealLane:
    """One logical server; what it says is kept. `restart` is the agent's next life."""

    def __init__(
        self, service_type: str, policy: DriftPolicy = "report", *, id: str = LANE
    ) -> None:
        self.id = id
        self.type = SERVICE_TYPES[service_type]
        self.home = scratch("heliosphere-drift-")
        self.home.chmod(0o755)
        self.root = self.home / "lservers" / id
        self.endpoint = Endpoint(address="127.0.0.1", port=free_port())
        self.control_port = free_port()
        self.journal = Journal(self.home / "journal.sqlite")
        self.journal.lanes.assign([(id, "one", service_type)], {id: policy})
        self.said: list[FromAgent] = []
        self.revision = 0
        self.batches = 0
        self.programs = {name: PurePosixPath(path) for name, path in programs().items()}
        self.lane: Lane

    async def start(self) -> None:
        users = {name: user for name, user in _USERS.items() if os.geteuid() == 0 and _known(user)}
        box = PosixBox(
            reactor=reactor,
            root=self.home / "lservers",
            grants=Grants(
                programs=self.programs,
                users=users,
                modules={"apache2": PurePosixPath("/usr/lib/apache2/modules")},
            ),
            daemons=DirectDaemons(reactor, self.programs),
        )
        self._pool = ThreadPool(1, 1)
        self._pool.start()
        blocking = threaded(reactor, self._pool)
        engine = Engine(self.id, self.type, box, self.journal, blocking=blocking)
        self.lane = Lane(
            self.journal.lanes.get(self.id),
            engine=engine,
            journal=self.journal,
            blocking=blocking,
            clock=reactor,
            send=self.said.append,
            watch_daemon=False,
            verify_every=0,
        )
        self.lane.start()

    async def stop(self) -> None:
        await self.lane.stop()
        await deferToThread(self._pool.stop)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def end(self) -> None:
        await self.stop()
        self.journal.close()
        await self.kill_daemon()
        shutil.rmtree(self.home)

    async def until(self, true: Callable[[], Any], seconds: float = 60.0) -> Any:
        for _ in range(int(seconds * 50)):
            if found := true():
                return found
            await deferLater(reactor, 0.02)
        raise AssertionError(f"it does not come: {self.said[-5:]}")

    async def take(self, *objects: tuple[str, str, Spec | None]) -> dict[str, str]:
        """Let a batch come; give what became of each object."""
        items = []
        for kind, key, spec in objects:
            self.revision += 1
            items.append(item(kind, key, self.revision, spec))
        return await self.take_items(items)

    async def take_items(self, items: Sequence[Item]) -> dict[str, str]:
        """Let a batch of items come as they are."""
        told = len(self.said)
        self.batches += 1
        self.lane.take(
            Batch(
                lane=self.id,
                batch=self.batches,
                history="h",
                through=items[-1].revision,
                items=tuple(items),
            )
        )
        wanted = {each.key for each in items}
        await self.until(lambda: wanted <= self.outcomes(told).keys())
        await self.lane.idle()
        return self.outcomes(told)

    def outcomes(self, since: int = 0) -> dict[str, str]:
        heard = [each for each in self.said[since:] if isinstance(each, Outcomes)]
        return {one.key: one.outcome for each in heard for one in each.outcomes}

    def words(self) -> str:
        return " ".join(each.message for each in self.journal.exceptions(self.id))

    async def found(self) -> dict[str, str]:
        """Verify, and give what was found."""
        answer = await self.lane.drift.verify(60.0)
        assert answer.ended
        told = [each for each in self.said if isinstance(each, Drift)][-1]
        assert told.total == answer.drifted
        return {each.path: each.what for each in told.findings}

    # --- the daemon ---

    @property
    def process(self) -> psutil.Process | None:
        try:
            return psutil.Process(int((self.root / self.type.daemon.pid_file).read_text()))
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None

    async def kill_daemon(self) -> None:
        process = self.process
        if process is not None:
            family = [process, *process.children(recursive=True)]
            for each in family:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signal.SIGKILL)
            await deferToThread(psutil.wait_procs, family, 10)

    async def cold_restart(self) -> None:
        """End the daemon as a power cut would, and start it from what stands on the disk."""
        await self.kill_daemon()
        await self.lane.box.start()

    async def serial(self, zone: str) -> int | None:
        return await zone_serial(reactor, self.endpoint, zone)

    async def status(self, host: str, path: str = "/") -> tuple[int, str]:
        return await deferToThread(_ask, self.endpoint.port, host, path)

    # --- objects ---

    def server(self, **settings: Any) -> tuple[str, str, Spec]:
        if self.type.name == "apache":
            made: Spec = ApacheServer(
                name="web1.cluster.test",
                endpoints=(self.endpoint,),
                settings=ApacheSettings(**{"reload_rest": 0, **settings}),
            )
        else:
            made = ServerSpec(
                name="ns1.cluster.test",
                endpoints=(self.endpoint,),
                settings=BindSettings(control_port=self.control_port, **settings),
                transfer_key=TRANSFER_KEY,
            )
        return "server", "", made


def zone(name: str, serial: int = 1) -> tuple[str, str, Spec]:
    made = MasterZone(
        serial=serial,
        soa=StartOfAuthority(primary="ns1.cluster.test.", contact="host.cluster.test."),
        records=(Record(owner="@", ttl=60, type="NS", data="ns1.cluster.test."),),
        secondaries=(),
    )
    return "zone", name, made


async def lane_of(service_type: str) -> AsyncIterator[RealLane]:
    """A lane whose server runs, for as long as it is used."""
    lane = RealLane(service_type)
    await lane.start()
    try:
        assert await lane.take(lane.server()) == {"": "applied"}
        yield lane
    finally:
        await lane.end()


def site(name: str, number: int, **fields: Any) -> tuple[str, str, Spec]:
    return "site", name, SiteSpec(site=f"{number:04}", account=number, **fields)


def own(index: str = "start.html") -> SiteSettings:
    return SiteSettings(index=(index,))


def _known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _ask(port: int, host: str, path: str) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        received = b""
        while data := connection.recv(65536):
            received += data
    text = received.decode("latin-1")
    return int(text.split(" ", 2)[1]), text
