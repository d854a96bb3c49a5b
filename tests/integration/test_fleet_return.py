"""Many boxes come at once: how many are let in, how they are begun, and that nothing is lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.task import deferLater

from controller.fleet import comparison, listener, reception, reporting
from controller.fleet.fleet import Fleet
from controller.fleet.hello import Greeting, begin_sessions
from controller.fleet.listener import AgentListener
from controller.fleet.reception import Reception
from controller.storage.database import Database, Transaction
from node_agent.wire.messages import (
    Batch,
    Inventory,
    InventoryRequest,
    Refused,
    SystemReport,
    Welcome,
)
from tests.conftest import LoggedErrors
from tests.fleet_cluster import FleetCluster, execute_as_owner
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.simulated_agent import SimulatedAgent

MANY = 60


async def fleet_of(cluster: FleetCluster, count: int) -> tuple[list[str], list[SimulatedAgent]]:
    """Boxes with a logical server each; give the servers and the agents."""
    servers, agents = [], []
    for _ in range(count):
        box, agent = await cluster.add_box()
        servers.append(await cluster.add_server(box))
        agents.append(agent)
    return servers, agents


async def dial(cluster: FleetCluster, agents: list[SimulatedAgent]) -> None:
    """Have all dial at once; wait until each is connected."""
    dialled = [ensureDeferred(agent.connect(reactor, cluster.agent_port)) for agent in agents]
    await DeferredList(dialled, fireOnOneErrback=True)


async def welcomed(agents: list[SimulatedAgent]) -> None:
    for agent in agents:
        await agent.until(lambda agent=agent: bool(agent.said(Welcome)))  # type: ignore[misc]


async def until(holds: Any) -> None:
    while not holds():
        await deferLater(reactor, 0.005, lambda: None)


@asynccontextmanager
async def boxes_locked(url: str, box: str | None = None) -> AsyncIterator[None]:
    """Keep a box's row, or every one, from being written, so that no session begins."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM box WHERE %(box)s IS NULL OR id::text = %(box)s FOR UPDATE",
                {"box": box},
            )
        yield
    finally:
        connection.rollback()
        connection.close()


@pytest_twisted.ensureDeferred
async def test_no_more_strangers_are_inside_than_the_limit_and_all_come_in_at_last(
    cluster: FleetCluster, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "STRANGERS", 10)
    _servers, agents = await fleet_of(cluster, MANY)
    door = cluster.fleet._listener
    door._limit_accepting()
    inside: list[int] = []
    admit = AgentListener.admit

    def watched(self: AgentListener) -> None:
        inside.append(len(self.strangers))
        admit(self)

    monkeypatch.setattr(AgentListener, "admit", watched)
    async with boxes_locked(database_url):
        await dial(cluster, agents)
        await until(lambda: len(door.strangers) >= 10)
        for _ in range(20):  # whoever could come in has come by then
            await deferLater(reactor, 0, lambda: None)
    await welcomed(agents)
    assert max(inside) == 10


@pytest_twisted.ensureDeferred
async def test_many_hellos_are_begun_in_few_transactions_one_at_a_time(
    cluster: FleetCluster, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "HELLOS_AT_ONCE", 25)
    _servers, agents = await fleet_of(cluster, MANY)
    sizes: list[int] = []
    running = most = 0

    async def counted(tx: Transaction, greetings: list[Greeting]) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            begun = await begin_sessions(tx, greetings)
        finally:
            running -= 1
        sizes.append(len(greetings))
        return begun

    monkeypatch.setattr(reception, "begin_sessions", counted)
    async with boxes_locked(database_url):
        await dial(cluster, agents)
        waiting = cluster.fleet._listener._reception._waiting
        await until(lambda: len(waiting) >= 50)
    await welcomed(agents)
    assert (max(sizes), most) == (25, 1)
    assert sizes.count(25) >= 2
    assert [agent.said(Welcome)[0].session_epoch for agent in agents] == [1] * MANY


@pytest_twisted.ensureDeferred
async def test_each_of_many_is_judged_by_itself(cluster: FleetCluster) -> None:
    servers, agents = await fleet_of(cluster, 6)
    _well, gone, revoked, ahead, lost, _fresh = agents
    for server in servers:
        await cluster.change(server, {"a.test": b"one"})
    await dial(cluster, agents[:5])
    for server in servers[:5]:
        await cluster.until_settled(server)
    for agent in agents[:5]:
        await agent.leave()
        agent.messages.clear()
    await cluster.run("DELETE FROM lane WHERE box_id = %s", (gone.tls.name.subject,))
    await cluster.run("DELETE FROM box WHERE id = %s", (gone.tls.name.subject,))
    tls, serial = cluster.certificate(revoked.tls.name.subject)
    revoked.tls = tls
    await cluster.run(
        "INSERT INTO certificate (serial, name, box_id, not_after, revoked_at)"
        " VALUES (%s, 'x', %s, now(), now())",
        (serial, tls.name.subject),
    )
    ahead.lanes[servers[3]].stored += 7
    lost.lanes.clear()
    greetings = [
        Greeting(agent.tls.name.subject, serial if agent is revoked else 1, agent.hello())
        for agent in agents
    ]

    async def begin(tx: Transaction) -> dict[str, Any]:
        return await begin_sessions(tx, greetings)

    begun = await cluster.do(begin)
    steps = []
    for agent in agents:
        found = begun[agent.tls.name.subject]
        steps.append(found.reason if isinstance(found, Exception) else found.lanes[0][1].step)
    assert steps == ["resume", "unknown-box", "revoked", "ahead", "restart", "resume"]
    rows = await cluster.rows(
        "SELECT condition, stored_revision FROM lane ORDER BY array_position(%s::uuid[],"
        " logical_server_id)",
        ([server for server in servers if server != servers[1]],),
    )
    assert rows == [("ok", 1), ("new", 1), ("ahead", 1), ("new", 0), ("new", 0)]


@pytest_twisted.ensureDeferred
async def test_one_hello_that_cannot_be_written_costs_no_other_its_session(
    cluster: FleetCluster,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    logged_errors: LoggedErrors,
) -> None:
    _servers, agents = await fleet_of(cluster, 8)
    bad = agents[3].tls.name.subject

    async def poisoned(tx: Transaction, greetings: list[Greeting]) -> Any:
        if any(greeting.box == bad for greeting in greetings):
            await tx.rows("SELECT 1 / 0")
        return await begin_sessions(tx, greetings)

    monkeypatch.setattr(reception, "begin_sessions", poisoned)
    async with boxes_locked(database_url):
        await dial(cluster, agents)
        strangers = cluster.fleet._listener.strangers
        await until(lambda: sum(each._greeted for each in strangers) == len(agents))
    await agents[3].until_ended()
    assert [refused.reason for refused in agents[3].said(Refused)] == ["busy"]
    await welcomed(agents[:3] + agents[4:])
    (told,) = logged_errors.flush()
    assert "division by zero" in told


@pytest_twisted.ensureDeferred
async def test_one_box_whose_row_is_locked_costs_no_other_its_session(
    cluster: FleetCluster, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _servers, agents = await fleet_of(cluster, 3)
    locked = agents[1].tls.name.subject

    async def impatient(tx: Transaction, greetings: list[Greeting]) -> Any:
        await tx.run("SET LOCAL lock_timeout = '50ms'")
        return await begin_sessions(tx, greetings)

    monkeypatch.setattr(reception, "begin_sessions", impatient)
    line = Reception(cluster.database, lambda box, hello: None)
    async with boxes_locked(database_url, locked):
        told = [
            ensureDeferred(
                line.begin(Greeting(agent.tls.name.subject, 1, agent.hello()), lambda: True)
            )
            for agent in agents
        ]
        begun = [done for done, _ in await DeferredList(told, consumeErrors=True)]
    assert begun == [True, False, True]


@pytest_twisted.ensureDeferred
async def test_a_mistake_with_one_box_shuts_nobody_out(database: Database) -> None:
    def mistaken(box: str, hello: object) -> None:
        if box == boxes[0]:
            raise RuntimeError("a mistake")

    boxes = [f"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeee{n}" for n in range(2)]
    line = Reception(database, mistaken)
    hello = SimulatedAgent(None).hello()  # type: ignore[arg-type]
    told = [ensureDeferred(line.begin(Greeting(box, 1, hello), lambda: True)) for box in boxes]
    results = await DeferredList(told, consumeErrors=True)
    assert [str(failure.value).partition(":")[0] for _, failure in results] == [
        "a mistake",
        "unknown-box",
    ]


@pytest_twisted.ensureDeferred
async def test_a_hello_whose_connection_has_ended_keeps_no_place(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    line = Reception(database, lambda box, machine: begun.append(box))
    transaction, all_have_asked = database.transaction, Deferred[None]()

    async def slow(*arguments: Any, **options: Any) -> Any:
        await all_have_asked
        return await transaction(*arguments, **options)

    monkeypatch.setattr(database, "transaction", slow)
    alive = {"first": True}
    agent_hello = SimulatedAgent(None).hello()  # type: ignore[arg-type]
    unknown = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
    other = "aaaaaaaa-bbbb-4ccc-8ddd-ffffffffffff"
    told = [
        ensureDeferred(line.begin(Greeting(other, 1, agent_hello), lambda: True)),
        ensureDeferred(line.begin(Greeting(unknown, 1, agent_hello), lambda: alive["first"])),
    ]
    busy = ensureDeferred(line.begin(Greeting(unknown, 1, agent_hello), lambda: True))
    alive["first"] = False
    again = ensureDeferred(line.begin(Greeting(unknown, 1, agent_hello), lambda: True))
    all_have_asked.callback(None)
    results = await DeferredList([*told, busy, again], consumeErrors=True)
    reasons = [(failure.value.reason, failure.value.detail) for _, failure in results]
    assert [reason for reason, _ in reasons] == ["unknown-box", "busy", "busy", "unknown-box"]
    assert "connection ended" in reasons[1][1]
    assert begun == [other, unknown]


@pytest_twisted.ensureDeferred
async def test_inventories_are_compared_a_bounded_number_at_a_time(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "COMPARISONS_AT_ONCE", 3)
    servers, agents = await fleet_of(cluster, 12)
    for server in servers:
        await cluster.change(server, {"a.test": b"one"})
    await dial(cluster, agents)
    for server in servers:
        await cluster.until_settled(server)
    for server, agent in zip(servers, agents, strict=True):
        await agent.leave()
        agent.lanes[server].total += 1
    work = cluster.fleet._comparisons
    most = 0

    def looked(message: object) -> None:
        nonlocal most
        if isinstance(message, InventoryRequest):
            most = max(most, len(work._pages) + len(work._settling))

    for agent in agents:
        agent.heard = looked
        agent.messages.clear()
    await dial(cluster, agents)
    for agent in agents:
        await agent.until(lambda agent=agent: bool(agent.said(InventoryRequest)))  # type: ignore[misc]
    await until(lambda: not work._settling)
    assert most == 3


@pytest_twisted.ensureDeferred
async def test_an_inventory_that_never_ends_keeps_no_place(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "COMPARISONS_AT_ONCE", 1)
    monkeypatch.setattr(comparison, "INVENTORY_SECONDS", 0.2)
    monkeypatch.setattr(comparison, "RETRY_SECONDS", 0.01)
    servers, agents = await fleet_of(cluster, 2)
    for server, agent in zip(servers, agents, strict=True):
        await cluster.change(server, {"a.test": b"one"})
        await agent.connect(reactor, cluster.agent_port)
        await cluster.until_settled(server)
        await agent.leave()
        agent.lanes[server].total += 1
        agent.messages.clear()
    silent, other = agents
    silent.inventories = False
    await silent.connect(reactor, cluster.agent_port)
    await silent.until(lambda: bool(silent.said(InventoryRequest)))
    await other.connect(reactor, cluster.agent_port)
    await other.until(lambda: bool(other.said(InventoryRequest)))


@pytest_twisted.ensureDeferred
async def test_a_long_inventory_has_the_time_that_its_objects_take(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large lane on a slow link would else be cut off at the same place again and again."""
    monkeypatch.setattr(comparison, "INVENTORY_SECONDS", 0.4)
    monkeypatch.setattr(comparison, "SLOWEST_OBJECTS", 0.2)
    (server,), (agent,) = await fleet_of(cluster, 1)
    await cluster.change(server, {"a.test": b"one", "b.test": b"two"})
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    await agent.leave()
    agent.lanes[server].total += 1
    agent.inventories = False
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(InventoryRequest)))
    agent.send(Inventory(lane=server, items=(("zone", "a.test", 1),), last=False))
    await deferLater(reactor, 0.5, lambda: None)
    agent.send(Inventory(lane=server, items=(("zone", "b.test", 2),), last=True))
    (link,) = cluster.fleet._dispatcher.links_of(server)
    await until(lambda: link.mode == "open" or agent.end_reason is not None)
    assert agent.end_reason is None
    assert len(agent.said(InventoryRequest)) == 1


@pytest_twisted.ensureDeferred
async def test_p7_nothing_is_lost_or_taken_twice_when_all_come_back(cluster: FleetCluster) -> None:
    servers, agents = await fleet_of(cluster, 40)
    for server in servers:
        await cluster.change(server, {"a.test": b"one"})
    await dial(cluster, agents)
    for server in servers[::2]:
        await cluster.until_settled(server)
    before = [len(agent.said(Batch)) for agent in agents]
    for server in servers:
        await cluster.change(server, {"a.test": b"two", "b.test": b"new"})
    await cluster.fleet.stop()
    for agent in agents:
        await agent.until_ended()
    for server in servers[::3]:
        await cluster.change(server, {"a.test": b"three"})
    cluster.fleet = cluster.new_fleet()
    await cluster.listen()
    await dial(cluster, agents)
    for server in servers:
        await cluster.until_settled(server)
    for number, (server, agent) in enumerate(zip(servers, agents, strict=True)):
        newest = b"three" if number % 3 == 0 else b"two"
        lane = agent.lanes[server]
        assert lane.live() == {"a.test": newest, "b.test": b"new"}
        # An acknowledgement may be lost, and the objects told again; never more than once.
        assert len(agent.said(Batch)) <= before[number] + 4


@pytest_twisted.ensureDeferred
async def test_a_change_between_hello_and_session_is_found_at_once(
    cluster: FleetCluster, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its NOTIFY came before the lane was served: nobody else would tell for half a minute."""
    (server,), (agent,) = await fleet_of(cluster, 1)

    async def late(tx: Transaction, greetings: list[Greeting]) -> Any:
        begun = await begin_sessions(tx, greetings)
        execute_as_owner(
            database_url,
            f"""SET hs.principal = 'provider';
                UPDATE logical_server SET revision = 1 WHERE id = '{server}';
                WITH made AS (INSERT INTO change (actor, command, request)
                              VALUES ('test', 'test', '{{}}') RETURNING id)
                INSERT INTO desired_object (logical_server_id, kind, key, revision, kind_version,
                                            spec, change_id)
                SELECT '{server}', 'zone', 'a.test', 1, 1, 'x', id FROM made""",
        )
        return begun

    async def never(self: Fleet) -> None:
        """Not half a minute later either: what is found is found at once."""

    monkeypatch.setattr(Fleet, "_rescan", never)
    monkeypatch.setattr(reception, "begin_sessions", late)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Batch)))


@pytest_twisted.ensureDeferred
async def test_the_first_of_many_to_come_back_hears_the_interval_of_them_all(
    cluster: FleetCluster,
) -> None:
    _box, agent = await cluster.add_box()
    await cluster.run(
        "INSERT INTO box (name, address, groups, first_seen_at) SELECT 'known' || n,"
        " '192.0.2.1/24', '{dns}', now() FROM generate_series(1, 4000) n"
    )
    await cluster.restart()
    await agent.connect(reactor, cluster.agent_port)
    await welcomed([agent])
    assert agent.said(Welcome)[0].interval == 40.0
    cluster.fleet._presence._started -= 100.0
    assert cluster.fleet.in_grace
    cluster.fleet._presence._started -= 30.0
    assert not cluster.fleet.in_grace


@pytest_twisted.ensureDeferred
async def test_reports_of_many_boxes_are_written_together(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = reporting.write_reports

    async def counted(tx: Transaction, reports: Any) -> None:
        sizes.append(len(reports))
        await write(tx, reports)

    monkeypatch.setattr(reporting, "write_reports", counted)
    _servers, agents = await fleet_of(cluster, 20)
    await dial(cluster, agents)
    await welcomed(agents)
    for number, agent in enumerate(agents):
        odd = float("nan") if number == 5 else 0.0  # JSON has no such number
        agent.send(SystemReport(sampled_at=0.0, facts={"n": number, "odd": odd}))
    await cluster.until("SELECT count(facts -> 'n') = 19 FROM box")
    assert max(sizes) > 1
