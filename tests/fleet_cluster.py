"""A fleet on a real database and real TLS, with simulated boxes: for tests and bench."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import psycopg2
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater

from controller.fleet.committed import Committed, Pending, ServerChange, Watch
from controller.fleet.fleet import Fleet
from controller.principal import system
from controller.storage.database import Database, Transaction
from controller.storage.key_file import SecretError
from pki.authority import Authority
from pki.contexts import MutualTLS
from pki.keys import new_key, signing_request
from pki.names import Name
from pki.revocation import DenyList
from tests.free_ports import free_port
from tests.simulated_agent import SimulatedAgent

CLUSTER = "11111111-2222-4333-8444-555555555555"
TEST = system("test")


async def no_secrets(tx: Transaction, spec: bytes, ids: Sequence[int]) -> bytes:
    """Stand for the opening of secrets; ``$broken`` is one that cannot be opened."""
    if b"$broken" in spec:
        raise SecretError("the key is lost")
    return spec.replace(b"$secret", b"inlined")


def execute_as_owner(url: str, sql: str) -> None:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


@attrs.define(eq=False)
class FleetCluster:
    """The fleet under test and what tests do to it."""

    database: Database
    authority: Authority
    deny_list: DenyList
    directory: Path
    fleet: Fleet
    agent_port: int = attrs.field(factory=free_port)
    enrolment_port: int = attrs.field(factory=free_port)
    agents: list[SimulatedAgent] = attrs.field(factory=list)

    @classmethod
    async def start(cls, database: Database, owner_url: str, directory: Path) -> "FleetCluster":
        execute_as_owner(
            owner_url,
            f"INSERT INTO cluster (id, service_domain) VALUES ('{CLUSTER}', 'service.test')",
        )
        authority = Authority.create(directory / "ca", CLUSTER)
        deny_list = DenyList.load(directory / "denied")
        cluster = cls(database, authority, deny_list, directory, fleet=None)  # type: ignore[arg-type]
        cluster.fleet = cluster.new_fleet()
        await cluster.listen()
        return cluster

    def new_fleet(self) -> Fleet:
        key = new_key()
        name = Name(CLUSTER, "controller", "")
        issued = self.authority.issue(signing_request(key), name)
        material = (issued.certificate_pem, key, self.authority.certificate_pem)
        return Fleet(
            reactor,
            self.database,
            self.authority,
            agent_tls=MutualTLS(*material, denied=self.deny_list),
            enrolment_tls=MutualTLS(*material, client_certificate="none"),
            deny_list=self.deny_list,
            cluster=CLUSTER,
            agent_port=8444,
            inline=no_secrets,
        )

    async def listen(self) -> None:
        await self.fleet.start(
            TCP4ServerEndpoint(reactor, self.agent_port, interface="127.0.0.1"),
            TCP4ServerEndpoint(reactor, self.enrolment_port, interface="127.0.0.1"),
        )

    async def restart(self) -> None:
        """A new controller on the same database and ports."""
        await self.fleet.stop()
        self.fleet = self.new_fleet()
        await self.listen()

    async def stop(self) -> None:
        for agent in self.agents:
            await agent.leave()
        await self.fleet.stop()

    # --- the model, by SQL ---

    async def do(self, function: Callable[[Transaction], Any]) -> Any:
        return await self.database.transaction(TEST, function, name="test")

    async def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        async def read(tx: Transaction) -> list[tuple[Any, ...]]:
            return await tx.rows(sql, parameters)

        return await self.do(read)

    async def run(self, sql: str, parameters: Sequence[object] = ()) -> None:
        async def write(tx: Transaction) -> None:
            await tx.run(sql, parameters)

        await self.do(write)

    async def until(self, sql: str, parameters: Sequence[object] = ()) -> None:
        """Wait until a query answers true; the test's own timeout is the deadline.

        At least one turn of the reactor passes: an answer of PostgreSQL may be there at once.
        """
        true = False
        while not true:
            true = (await self.rows(sql, parameters))[0][0]
            await deferLater(reactor, 0.0 if true else 0.005, lambda: None)

    def certificate(self, box: str, days: int = 90) -> tuple[MutualTLS, int]:
        key = new_key()
        issued = self.authority.issue(signing_request(key), Name(CLUSTER, "box", box), days)
        tls = MutualTLS(issued.certificate_pem, key, self.authority.certificate_pem)
        return tls, issued.serial

    async def add_box(self, name: str = "") -> tuple[str, SimulatedAgent]:
        box = str(uuid.uuid4())
        await self.run(
            "INSERT INTO box (id, name, address, groups) VALUES (%s, %s, '192.0.2.1/24', '{dns}')",
            (box, name or f"box-{box[:8]}"),
        )
        return box, self.agent(box)

    def agent(self, box: str, **more: Any) -> SimulatedAgent:
        agent = SimulatedAgent(self.certificate(box)[0], **more)
        self.agents.append(agent)
        return agent

    async def add_server(self, *boxes: str) -> str:
        server = str(uuid.uuid4())

        async def write(tx: Transaction) -> None:
            await tx.run(
                "INSERT INTO logical_server (id, name, group_name, service_type)"
                " VALUES (%s, %s, 'dns', 'bind')",
                (server, f"server-{server[:8]}"),
            )
            for box in boxes:
                await tx.run(
                    "INSERT INTO lane (box_id, logical_server_id) VALUES (%s, %s)", (box, server)
                )

        await self.do(write)
        return server

    async def change(
        self,
        server: str,
        objects: Mapping[str, bytes | None],
        *,
        watches: Sequence[tuple[str, str, int]] = (),
        secrets: Sequence[int] = (),
        notify: bool = True,
        handed: bool = False,
    ) -> int:
        """Commit a change as the runner does; give its id. ``None`` removes an object.

        ``handed``: by the controller's own process, which hands it to the fleet.
        """

        async def write(tx: Transaction) -> int:
            (revision,) = await tx.row(
                "SELECT revision FROM logical_server WHERE id = %s FOR UPDATE", (server,)
            )
            (change,) = await tx.row(
                "INSERT INTO change (actor, command, request) VALUES ('test', 'test', '{}')"
                " RETURNING id"
            )
            for offset, (key, spec) in enumerate(objects.items(), 1):
                await tx.run(
                    """INSERT INTO desired_object (logical_server_id, kind, key, revision,
                           kind_version, spec, secrets, deleted, change_id)
                       VALUES (%s, 'zone', %s, %s, 1, %s, %s::bigint[], %s, %s)
                       ON CONFLICT (logical_server_id, kind, key) DO UPDATE
                       SET revision = excluded.revision, spec = excluded.spec,
                           deleted = excluded.deleted, change_id = excluded.change_id""",
                    (server, key, revision + offset, spec, list(secrets), spec is None, change),
                )
                await tx.run(
                    """INSERT INTO change_object (change_id, logical_server_id, kind, key,
                           revision, after) VALUES (%s, %s, 'zone', %s, %s, %s)""",
                    (change, server, key, revision + offset, spec),
                )
            await tx.run(
                "UPDATE logical_server SET revision = %s WHERE id = %s",
                (revision + len(objects), server),
            )
            for watched, zone, serial in watches:
                await tx.run(
                    "INSERT INTO change_watch VALUES (%s, %s, %s, %s)",
                    (change, watched, zone, serial),
                )
            if notify:
                await tx.rows("SELECT pg_notify('hs_change', %s)", (str(change),))
            if handed:
                pending = tuple(
                    Pending("zone", key, revision + number, 1, spec, (), tuple(secrets), change)
                    for number, (key, spec) in enumerate(objects.items(), 1)
                )
                committed = Committed(
                    change,
                    (ServerChange(server, revision, pending),) if pending else (),
                    tuple(Watch(change, *watch) for watch in watches),
                )
                self.fleet.handover.committing(change)
                tx.after_commit(partial(self.fleet.handover.committed, committed))
            return int(change)

        change = int(await self.do(write))
        if handed:
            self.fleet.handover.ended(change)
        return change

    async def fill(self, server: str, count: int) -> int:
        """Commit one change of many new objects, as a bulk import does; give its id."""

        async def write(tx: Transaction) -> int:
            (change,) = await tx.row(
                """WITH made AS (
                       INSERT INTO change (actor, command, request) VALUES ('test', 'fill', '{}')
                       RETURNING id),
                   object AS (
                       SELECT s.id AS server, 'fill' || n || '.test' AS key, s.revision + n AS
                              revision, made.id AS change
                       FROM logical_server s, made, generate_series(1, %s) AS n
                       WHERE s.id = %s),
                   desired AS (
                       INSERT INTO desired_object (logical_server_id, kind, key, revision,
                                                   kind_version, spec, change_id)
                       SELECT server, 'zone', key, revision, 1, 'x', change FROM object),
                   logged AS (
                       INSERT INTO change_object (change_id, logical_server_id, kind, key,
                                                  revision, after)
                       SELECT change, server, 'zone', key, revision, 'x' FROM object),
                   bumped AS (
                       UPDATE logical_server SET revision = revision + %s WHERE id = %s)
                   SELECT id FROM made""",
                (count, server, count, server),
            )
            await tx.rows("SELECT pg_notify('hs_change', %s)", (str(change),))
            return int(change)

        return int(await self.do(write))

    async def until_settled(self, server: str) -> None:
        """Wait until every lane of a server has settled all that it must serve."""
        await self.until(
            """SELECT bool_and(l.settled_revision = s.revision AND l.stored_revision = s.revision)
               FROM lane l JOIN logical_server s ON s.id = l.logical_server_id WHERE s.id = %s""",
            (server,),
        )
