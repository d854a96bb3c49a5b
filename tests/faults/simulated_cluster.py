"""A controller as a process of its own that tests kill, with simulated boxes that always return.

Everything between hsctl and the boxes' wire is real. The boxes hold their lanes in memory, so a
controller can be killed and started as often as a test likes, at little cost.
"""

import os
import re
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import psutil
import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from controller.client.client import Client, Written
from controller.client.profiles import load
from controller.storage.embedded import EmbeddedPostgres
from node_agent.wire.messages import Alive, FromController
from node_agent.wire.object_hash import MODULUS
from pki.authority import Authority
from pki.contexts import MutualTLS
from pki.keys import new_key, signing_request
from pki.names import Name
from templates.registry import SERVICE_TYPES
from tests.controller_host import Host, controller_host
from tests.simulated_agent import SimulatedAgent, SimulatedLane

SERVERS = (("ns1", "dns", "bind"), ("ns2", "dns", "bind"), ("web1", "web", "apache"))
DOMAIN = "shop.test"
PATIENCE = 40.0
"""Seconds until a wait is called in vain."""
KINDS = {
    name: {kind.name: kind.version for kind in each.kinds.values()}
    for name, each in SERVICE_TYPES.items()
}


@attrs.define(eq=False)
class SimulatedBox:
    """A box that dials whenever it has no session."""

    name: str
    agent: SimulatedAgent
    port: int
    away: bool = False
    _stopped: bool = False
    _keeping: "Deferred[None] | None" = None

    def start(self) -> None:
        self._stopped = False
        self._keeping = Deferred.fromCoroutine(self._keep())

    async def _keep(self) -> None:
        while not self._stopped:
            if not self.away:
                try:
                    await self.agent.connect(reactor, self.port)
                    await self.agent.until_ended()
                except Exception as error:  # as an agent does: try again, whatever it was
                    self.agent.end_reason = str(error)
            await deferLater(reactor, 0.05)

    def leave(self) -> None:
        """End the session at once, as a cut link does."""
        if self.agent.protocol is not None:
            self.agent.protocol.lose("cut")

    async def stop(self) -> None:
        self._stopped = True
        assert self._keeping is not None
        while not self._keeping.called:
            self.leave()
            await deferLater(reactor, 0.01)


@attrs.define(eq=False)
class SimulatedCluster:
    """ns1, ns2 and web1 with one domain, and what tests do to their controller."""

    host: Host
    postgres: EmbeddedPostgres
    database: str
    boxes: dict[str, SimulatedBox] = attrs.field(factory=dict)
    backup: dict[str, SimulatedLane] = attrs.field(factory=dict)
    """An old state of a box."""

    # --- asking ---

    async def hsctl(self, *words: str) -> Any:
        """Run hsctl while the boxes go on."""
        return await deferToThread(self.host.hsctl, *words)

    async def good(self, *words: str) -> Any:
        ran = await self.hsctl(*words)
        assert ran.returncode == 0, (words, ran.stdout, ran.stderr)
        return ran.stdout

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Ask the database as its owner."""
        connection = psycopg2.connect(self.database, options="-c hs.principal=provider")
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    # --- the controller ---

    @property
    def order(self) -> Path:
        """The file that names the point to die at."""
        return self.host.directory / "die-at"

    @property
    def clock(self) -> Path:
        """The file that holds by how many seconds the controller's clock is wrong."""
        return self.host.directory / "clock"

    async def start(self) -> None:
        await deferToThread(self.host.start, *self._program)

    async def until_dead(self) -> int:
        """Wait for the end of a controller that kills itself; give its exit code."""
        assert self.host.controller is not None
        code: int = await deferToThread(self.host.controller.wait, 60)
        assert self.host.controller.stderr is not None
        self.host.controller.stderr.close()
        self.host.controller = None
        return code

    async def kill(self) -> None:
        await deferToThread(self.host.end, signal.SIGKILL)

    def kill_database(self) -> None:
        """End PostgreSQL with SIGKILL and start it again."""
        pid = self.postgres.pid
        assert pid is not None
        family = [psutil.Process(pid), *psutil.Process(pid).children()]
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs(family, timeout=30)
        self.postgres.start()

    # --- what must be true ---

    async def ended_well(self, ran: Any) -> None:
        """See that what hsctl did is live; or that it told of a box that was away, and it comes."""
        if ran.returncode == 0:
            return
        assert (ran.returncode, "the box is not connected" in ran.stderr) == (3, True), ran
        (number,) = re.findall(r"hsctl change watch (\d+)", ran.stderr)
        watched = await self.hsctl("change", "watch", number)
        assert watched.returncode == 0, watched

    async def until(self, holds: Any) -> None:
        """Wait for something; say how the lanes stand where it does not come."""
        until = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < until, self.standing()
            await deferLater(reactor, 0.05)

    async def pause(self, seconds: float) -> None:
        await deferLater(reactor, seconds)

    def is_lane_of(self, box: str, server: str) -> bool:
        """Tell whether a box serves a logical server."""
        return bool(
            self.rows(
                """SELECT 1 FROM lane l JOIN box b ON b.id = l.box_id
                   WHERE b.name = %s AND l.logical_server_id = %s""",
                (box, server),
            )
        )

    async def settled(self) -> None:
        """Wait until every lane has settled and every watch was answered."""
        await self.until(self.is_settled)

    def standing(self) -> list[tuple[Any, ...]]:
        """Give how each lane stands, for whoever reads of a failure."""
        return self.rows(
            """SELECT b.name, b.connected, s.revision, l.stored_revision, l.settled_revision,
                      l.condition, l.message, (SELECT count(*) FROM change WHERE seq IS NULL)
               FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
               JOIN box b ON b.id = l.box_id"""
        )

    def is_settled(self) -> bool:
        (row,) = self.rows(
            """SELECT bool_and(l.settled_revision = s.revision AND l.stored_revision = s.revision
                               AND b.connected AND l.condition IN ('ok', 'new')
                               AND NOT l.repairing),
                      (SELECT count(*) FROM change WHERE seq IS NULL)
               FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
               JOIN box b ON b.id = l.box_id"""
        )
        return row == (True, 0)

    def assert_nothing_lost_nor_twice(self) -> None:
        """What is committed is on the boxes, once, and each side's hash of it is the same."""
        desired: dict[str, dict[tuple[str, str], tuple[int, bytes]]] = {}
        for server, kind, key, revision, spec, secrets in self.rows(
            """SELECT logical_server_id::text, kind, key, revision, spec, secrets
               FROM desired_object WHERE NOT deleted"""
        ):
            # A secret is put in on the way: its object is told by its revision alone.
            content = b"" if secrets else bytes(spec)
            desired.setdefault(server, {})[kind, key] = (revision, content)
        secret = {
            (server, kind, key)
            for server, kind, key in self.rows(
                """SELECT logical_server_id::text, kind, key FROM desired_object
                   WHERE secrets <> '{}'"""
            )
        }
        for lane, server, total, box in self.rows(
            """SELECT l.logical_server_id::text, s.name, l.expected_hash, b.name FROM lane l
               JOIN logical_server s ON s.id = l.logical_server_id
               JOIN box b ON b.id = l.box_id"""
        ):
            held = self.boxes[box].agent.lanes[lane]
            assert {
                name: (item.revision, b"" if (lane, *name) in secret else item.spec)
                for name, item in held.objects.items()
                if item.spec is not None
            } == desired.get(lane, {}), server
            assert int(total) % MODULUS == held.total, server
        # The audit has each change once, and no number twice.
        (row,) = self.rows("SELECT count(*), max(seq), count(DISTINCT seq) FROM change")
        assert row[0] == row[1] == row[2], row
        assert self.rows("SELECT kind, key, outcome FROM object_outcome") == []

    def changes(self, command: str, name: str) -> list[int]:
        """Give the changes of a command on something of a name."""
        return [
            change
            for (change,) in self.rows(
                "SELECT id FROM change WHERE command = %s AND request->>'name' = %s ORDER BY id",
                (command, name),
            )
        ]

    # --- its making ---

    async def command(self, name: str, /, **fields: object) -> Written:
        """Ask a command that writes, as hsctl does, without a process of its own."""
        return await deferToThread(self.client.write, name, fields)

    @property
    def client(self) -> Client:
        """A client of the API, signed in as admin."""
        return Client(load(self.host.directory / "hsctl.toml").by_name["default"])

    async def make(self) -> None:
        """Set the controller up, sign in, make three servers and a domain on them."""
        await deferToThread(self._sign_in)
        authority = Authority.load(self.host.directory / "state" / "pki")
        for number, (name, group, _) in enumerate(SERVERS, 1):
            await self.command(
                "pserver.add", name=name, ip=f"198.51.100.{number}", mask="24", groups=[group]
            )
            ((box,),) = self.rows("SELECT id::text FROM box WHERE name = %s", (name,))
            key = new_key()
            issued = authority.issue(
                signing_request(key), Name(authority.cluster, "box", box), days=90
            )
            tls = MutualTLS(issued.certificate_pem, key, authority.certificate_pem)
            agent = SimulatedAgent(tls, machine_id=f"machine-{name}", kinds=KINDS)
            agent.heard = partial(answer_heartbeat, agent)
            self.boxes[name] = SimulatedBox(name, agent, self.host.agents)
            self.boxes[name].start()
        await self.until(lambda: self.rows("SELECT bool_and(connected) FROM box") == [(True,)])
        for number, (name, group, service) in enumerate(SERVERS, 1):
            server = f"{name}.example.net"
            await self.command("lserver.add", name=server, group=group, type=service, pserver=name)
            kind = "shared" if group == "web" else "service"
            await self.command(
                "ip.add", lserver=server, first=f"192.0.2.{number}", mask="24", type=kind
            )
            await self.command("lserver.signup", name=server, signup=True)
        await self.command("account.add", name="acme")
        await self.command("domain.add", name=DOMAIN, account="acme")
        await self.settled()

    def _sign_in(self) -> None:
        made = self.host.host("init")
        assert made.returncode == 0, made.stderr
        self.host.start(*self._program)
        token = self.host.host("admin", "token", "admin").stdout
        ca = str(self.host.directory / "state" / "pki" / "ca.pem")
        url = f"https://localhost:{self.host.port}"
        ran = self.host.hsctl("login", url, "--ca", ca, "--token", "-", stdin=token)
        assert ran.returncode == 0, ran.stderr

    @property
    def _program(self) -> tuple[str, dict[str, str]]:
        return "tests.faults.deadly_controller", {
            "HS_DIE_AT": str(self.order),
            "HS_CLOCK": str(self.clock),
        }

    def switch_on(self) -> None:
        """Have the boxes dial; each test does so, and ends it: nothing runs between tests."""
        for box in self.boxes.values():
            box.agent.messages.clear()
            box.start()

    async def switch_off(self) -> None:
        for box in self.boxes.values():
            await box.stop()


def answer_heartbeat(agent: SimulatedAgent, message: FromController) -> None:
    """Speak whenever the controller does: it ends the session of a box that is silent."""
    if isinstance(message, Alive) and agent.protocol is not None:
        agent.send(Alive())


@asynccontextmanager
async def simulated_cluster(
    postgres: EmbeddedPostgres, *settings: str
) -> AsyncIterator[SimulatedCluster]:
    """A cluster on a database of its own in ``postgres``."""
    with controller_host(postgres, *settings) as host:
        cluster = SimulatedCluster(host, postgres, host.database)
        try:
            await cluster.make()
        finally:
            await cluster.switch_off()
        yield cluster
