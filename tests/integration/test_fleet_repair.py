"""A box that holds something else than it acknowledged is repaired by diff, or left to a person."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.fleet import comparison
from controller.fleet.dispatch import Dispatcher
from controller.fleet.link import LaneLink
from controller.storage.database import DatabaseUnavailableError, Transaction
from node_agent.wire.messages import Adopt, Assign, Batch, Forget, InventoryRequest, Item, LaneState
from node_agent.wire.object_hash import combine, element
from tests.fleet_cluster import FleetCluster, execute_as_owner
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.simulated_agent import SimulatedAgent, SimulatedLane


async def filled(cluster: FleetCluster, count: int) -> tuple[str, SimulatedAgent]:
    """A server with ``count`` objects on one box, all settled; the box has left."""
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {f"z{n}.test": b"spec" for n in range(count)})
    await cluster.until_settled(server)
    await agent.leave()
    agent.messages.clear()
    return server, agent


def add(lane: SimulatedLane, key: str, revision: int) -> None:
    lane.objects[("zone", key)] = Item("zone", key, revision, 1, b"extra")
    lane.total = combine(lane.total, added=element("zone", key, revision, b"extra"))


async def until_agreed(cluster: FleetCluster, server: str, agent: SimulatedAgent) -> None:
    """Wait until the controller expects exactly what the box holds."""
    await cluster.until_settled(server)
    await cluster.until(
        "SELECT expected_hash = %s FROM lane WHERE logical_server_id = %s",
        (agent.lanes[server].total, server),
    )


async def until_ahead(cluster: FleetCluster, agent: SimulatedAgent) -> None:
    """Wait until a lane is ahead and its box has its session, which begins after the row is."""
    await cluster.until("SELECT condition = 'ahead' FROM lane")
    while not cluster.fleet.connected(agent.tls.name.subject):
        await deferLater(reactor, 0.005, lambda: None)


@pytest_twisted.ensureDeferred
async def test_a_box_that_lost_everything_is_filled_anew(cluster: FleetCluster) -> None:
    server, agent = await filled(cluster, 30)
    agent.lanes.clear()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: len(agent.lanes.get(server, SimulatedLane()).objects) == 30)
    await until_agreed(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_a_box_with_a_lost_object_is_sent_that_one_alone(cluster: FleetCluster) -> None:
    server, agent = await filled(cluster, 30)
    agent.lanes[server].drop(("zone", "z7.test"))
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Batch)))
    assert [[i.key for i in b.items] for b in agent.said(Batch)] == [["z7.test"]]
    await until_agreed(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_a_lane_that_is_to_be_compared_is_not_served_before(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a batch may go out, and its acknowledgement is taken for that of the repair."""
    server, agent = await filled(cluster, 30)
    agent.lanes[server].drop(("zone", "z7.test"))
    served: list[str] = []
    attach = Dispatcher.attach

    def noting(self: Dispatcher, link: LaneLink) -> None:
        served.append(link.mode)
        attach(self, link)

    monkeypatch.setattr(Dispatcher, "attach", noting)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"next.test": b"1"})
    await agent.until(lambda: ("zone", "z7.test") in agent.lanes[server].objects)
    await until_agreed(cluster, server, agent)
    assert served == ["comparing"]


@pytest_twisted.ensureDeferred
async def test_a_repair_that_is_cut_off_is_made_on_the_next_session(cluster: FleetCluster) -> None:
    server, agent = await filled(cluster, 30)
    agent.lanes[server].drop(("zone", "z7.test"))
    agent.stores = False
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Batch)))
    await agent.leave()
    agent.stores = True
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"next.test": b"1"})
    wanted = {("zone", "next.test"), ("zone", "z7.test")}
    await agent.until(lambda: wanted <= agent.lanes[server].objects.keys())
    await until_agreed(cluster, server, agent)
    # Repaired once, it is not compared again.
    await cluster.until("SELECT NOT bool_or(repairing) FROM lane")
    await agent.leave()
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"later.test": b"1"})
    await agent.until(lambda: bool(agent.said(Batch)))
    assert agent.said(InventoryRequest) == []


@pytest_twisted.ensureDeferred
async def test_a_box_restored_from_an_older_state_gets_the_difference(
    cluster: FleetCluster,
) -> None:
    server, agent = await filled(cluster, 30)
    lane = agent.lanes[server]
    for number in range(20, 30):
        lane.drop(("zone", f"z{number}.test"))
    lane.stored = lane.settled = 20
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: len(lane.objects) == 30)
    await cluster.until_settled(server)
    assert sum(len(b.items) for b in agent.said(Batch)) == 10
    await until_agreed(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_objects_that_nobody_knows_are_forgotten(cluster: FleetCluster) -> None:
    server, agent = await filled(cluster, 30)
    add(agent.lanes[server], "stranger.test", 3)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Forget)))
    assert agent.said(Forget)[0].items == (("zone", "stranger.test"),)
    assert len(agent.lanes[server].live()) == 30
    await until_agreed(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_a_repair_that_would_remove_many_waits_for_the_number(cluster: FleetCluster) -> None:
    server, agent = await filled(cluster, 30)
    for number in range(25):
        add(agent.lanes[server], f"stranger{number}.test", 3)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until("SELECT condition = 'held' FROM lane")
    ((message,),) = await cluster.rows("SELECT message FROM lane")
    assert "25 of 55" in message
    ((name,),) = await cluster.rows("SELECT name FROM logical_server")
    assert f"hsctl recover {name} --overwrite --removed 25" in message
    assert not agent.said(Forget)
    assert cluster.fleet.adopt(server, overwrite=True, removed=24) == 1
    await agent.until(lambda: len(agent.said(InventoryRequest)) == 2)
    # Until the second answer is judged.
    while not cluster.fleet.adopt(server, overwrite=True, removed=25):
        await deferLater(reactor, 0.005)
    assert len(agent.lanes[server].live()) == 55
    assert await cluster.rows("SELECT condition FROM lane") == [("held",)]
    await agent.until(lambda: bool(agent.said(Forget)))
    assert len(agent.lanes[server].live()) == 30
    await cluster.until("SELECT condition = 'ok' FROM lane")


@pytest_twisted.ensureDeferred
async def test_how_a_box_is_counts_once_an_overwrite_of_it_was_compared(
    cluster: FleetCluster,
) -> None:
    server, agent = await filled(cluster, 30)
    for number in range(25):
        add(agent.lanes[server], f"stranger{number}.test", 3)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until("SELECT condition = 'held' FROM lane")
    cluster.fleet.adopt(server, overwrite=True)
    agent.send(LaneState(lane=server, condition="ok"))
    await agent.until(lambda: len(agent.said(InventoryRequest)) == 2)
    while not cluster.fleet.adopt(server, overwrite=True, removed=25):
        assert await cluster.rows("SELECT condition FROM lane") == [("held",)]
        await deferLater(reactor, 0.005)
    agent.send(LaneState(lane=server, condition="daemon-down", message="it does not start"))
    await agent.until(lambda: bool(agent.said(Forget)))
    await cluster.until("SELECT condition = 'daemon-down' FROM lane")


@pytest_twisted.ensureDeferred
async def test_a_lane_of_another_history_is_left_alone(
    cluster: FleetCluster, database_url: str
) -> None:
    server, agent = await filled(cluster, 3)
    execute_as_owner(database_url, "UPDATE cluster SET history = gen_random_uuid()")
    await cluster.change(server, {"new.test": b"1", "z1.test": None})
    await agent.connect(reactor, cluster.agent_port)
    await until_ahead(cluster, agent)
    await cluster.fleet._dispatcher.rescan()
    assert not agent.said(Batch)
    assert not agent.said(InventoryRequest)


@pytest_twisted.ensureDeferred
async def test_a_lane_that_stored_more_than_is_known_is_left_alone(cluster: FleetCluster) -> None:
    server, agent = await filled(cluster, 3)
    agent.lanes[server].stored = 9
    await cluster.change(server, {"new.test": b"1"})
    await agent.connect(reactor, cluster.agent_port)
    await until_ahead(cluster, agent)
    await cluster.fleet._dispatcher.rescan()
    assert not agent.said(Batch)


@pytest_twisted.ensureDeferred
async def test_adopting_without_overwriting_keeps_what_the_box_has(
    cluster: FleetCluster, database_url: str
) -> None:
    server, agent = await filled(cluster, 3)
    add(agent.lanes[server], "later.test", 4)
    agent.lanes[server].stored = 4
    execute_as_owner(database_url, "UPDATE cluster SET history = gen_random_uuid()")
    await agent.connect(reactor, cluster.agent_port)
    await until_ahead(cluster, agent)
    assert cluster.fleet.adopt(server, overwrite=False) == 1
    await agent.until(lambda: bool(agent.said(Batch)))
    assert agent.said(Adopt)
    await cluster.change(server, {"z0.test": b"new"})
    await cluster.until_settled(server)
    live = agent.lanes[server].live()
    assert live == {
        "z0.test": b"new",
        "z1.test": b"spec",
        "z2.test": b"spec",
        "later.test": b"extra",
    }
    await until_agreed(cluster, server, agent)
    await agent.leave()
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    await cluster.change(server, {"z1.test": b"new"})
    await cluster.until_settled(server)
    assert not agent.said(InventoryRequest)
    assert "later.test" in agent.lanes[server].live()


@pytest_twisted.ensureDeferred
async def test_an_adopted_box_is_sent_what_it_lacks_and_what_was_changed_since_the_restore(
    cluster: FleetCluster, database_url: str
) -> None:
    server, agent = await filled(cluster, 4)
    lane = agent.lanes[server]
    lane.drop(("zone", "z0.test"))  # deleted after the backup
    add(lane, "later.test", 6)
    lane.stored = 6
    execute_as_owner(database_url, "UPDATE cluster SET history = gen_random_uuid()")
    await cluster.change(server, {"since.test": b"new", "z1.test": b"new", "z2.test": None})
    await agent.connect(reactor, cluster.agent_port)
    await until_ahead(cluster, agent)
    agent.stores = False
    cluster.fleet.adopt(server, overwrite=False)
    await agent.until(lambda: bool(agent.said(Batch)))
    await agent.leave()  # in the middle of it
    agent.stores = True
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    assert lane.live() == {
        "z0.test": b"spec",
        "z1.test": b"new",
        "z3.test": b"spec",
        "since.test": b"new",
        "later.test": b"extra",
    }


@pytest_twisted.ensureDeferred
async def test_an_adopted_box_may_be_overwritten_still_and_once(
    cluster: FleetCluster, database_url: str
) -> None:
    server, agent = await filled(cluster, 3)
    add(agent.lanes[server], "later.test", 4)
    agent.lanes[server].stored = 4
    execute_as_owner(database_url, "UPDATE cluster SET history = gen_random_uuid()")
    await agent.connect(reactor, cluster.agent_port)
    await until_ahead(cluster, agent)
    cluster.fleet.adopt(server, overwrite=False)
    await agent.until(lambda: bool(agent.said(Batch)))
    await until_agreed(cluster, server, agent)
    assert cluster.fleet.adopt(server, overwrite=False) == 0
    await agent.leave()
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    assert "later.test" in agent.lanes[server].live()
    assert cluster.fleet.adopt(server, overwrite=True) == 1
    await agent.until(lambda: bool(agent.said(Forget)))
    await until_agreed(cluster, server, agent)
    assert agent.lanes[server].live() == {f"z{n}.test": b"spec" for n in range(3)}
    assert cluster.fleet.adopt(server, overwrite=True) == 0


@pytest_twisted.ensureDeferred
async def test_adopting_with_overwriting_makes_the_box_as_the_model(
    cluster: FleetCluster, database_url: str
) -> None:
    server, agent = await filled(cluster, 3)
    lane = agent.lanes[server]
    lane.drop(("zone", "z0.test"))
    add(lane, "z0.test", 8)
    lane.drop(("zone", "z1.test"))
    add(lane, "z1.test", 2)  # of the model's own revision, with other content
    add(lane, "later.test", 9)
    lane.stored = 9
    execute_as_owner(database_url, "UPDATE cluster SET history = gen_random_uuid()")
    await agent.connect(reactor, cluster.agent_port)
    await until_ahead(cluster, agent)
    assert cluster.fleet.adopt(server, overwrite=True, boxes=["another"]) == 0
    assert cluster.fleet.adopt(server, overwrite=True) == 1
    await agent.until(lambda: bool(agent.said(Forget)) and bool(agent.said(Batch)))
    await cluster.until_settled(server)
    assert lane.live() == {f"z{n}.test": b"spec" for n in range(3)}
    await until_agreed(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_a_comparison_that_fails_is_made_again(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = fail_once(monkeypatch, "settle")
    server, agent = await filled(cluster, 30)
    agent.lanes[server].drop(("zone", "z7.test"))
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Batch)))
    assert failures == []
    await until_agreed(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_what_an_operator_chose_to_keep_is_kept_though_the_database_fails(
    cluster: FleetCluster, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = fail_once(monkeypatch, "keep")
    server, agent = await filled(cluster, 3)
    add(agent.lanes[server], "later.test", 4)
    agent.lanes[server].stored = 4
    execute_as_owner(database_url, "UPDATE cluster SET history = gen_random_uuid()")
    await agent.connect(reactor, cluster.agent_port)
    await until_ahead(cluster, agent)
    cluster.fleet.adopt(server, overwrite=False)
    await agent.until(lambda: bool(agent.said(Batch)))
    assert failures == []
    assert not agent.said(Forget)
    assert "later.test" in agent.lanes[server].live()


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """Let one step of a comparison fail; what is to fail still is in the list."""
    failures = [name]
    real = getattr(comparison, name)

    async def step(tx: Transaction, **arguments: Any) -> Any:
        if failures:
            failures.clear()
            raise DatabaseUnavailableError("away")
        return await real(tx, **arguments)

    monkeypatch.setattr(comparison, name, step)
    monkeypatch.setattr(comparison, "RETRY_SECONDS", 0.01)
    return failures
