"""A box in maintenance gets no changes; they wait, are said to wait, and come when it is over."""

from collections.abc import Callable

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.progress import change_state
from node_agent.wire.messages import Assign, Batch
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401


async def wish(cluster: FleetCluster, server: str, box: str, intent: str) -> None:
    """Set an intent as the command does: a change that touches no object."""
    await cluster.run("UPDATE box SET intent = %s WHERE id = %s", (intent, box))
    await cluster.change(server, {})


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await deferLater(reactor, 0.005, lambda: None)


def paused(cluster: FleetCluster, box: str, server: str) -> bool:
    session = cluster.fleet.sessions.get(box)
    return session is not None and session.links[server].paused


@pytest_twisted.ensureDeferred
async def test_changes_wait_until_the_maintenance_of_a_box_is_over(cluster: FleetCluster) -> None:
    resting, agent = await cluster.add_box("ns1")
    working, other = await cluster.add_box("ns2")
    server = await cluster.add_server(resting, working)
    for one in (agent, other):
        await one.connect(reactor, cluster.agent_port)
        await one.until(lambda one=one: bool(one.said(Assign)))
    await wish(cluster, server, resting, "maintenance")
    await until(lambda: paused(cluster, resting, server))

    for handed in (False, True):
        change = await cluster.change(server, {f"{handed}.test": b"spec"}, handed=handed)
        await other.until(lambda handed=handed: f"{handed}.test" in other.lanes[server].live())
    await cluster.fleet._dispatcher.rescan()
    assert agent.said(Batch) == []
    state = await cluster.do(lambda tx: change_state(tx, change))
    told = {lane.box: (lane.state, lane.message) for lane in state.lanes}
    assert told["ns1"] == ("held", "the box is in maintenance: changes wait")

    await wish(cluster, server, resting, "open")
    await cluster.until_settled(server)
    assert set(agent.lanes[server].live()) == {"False.test", "True.test"}


@pytest_twisted.ensureDeferred
async def test_a_box_that_connects_in_maintenance_gets_no_changes(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await cluster.change(server, {"shop.test": b"spec"})
    await cluster.run("UPDATE box SET intent = 'maintenance'")
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    await cluster.fleet._dispatcher.rescan()
    assert paused(cluster, box, server)
    assert agent.said(Batch) == []
    await wish(cluster, server, box, "open")
    await cluster.until_settled(server)


@pytest_twisted.ensureDeferred
async def test_what_waits_for_a_retired_box_is_said_to_wait_for_a_person(
    cluster: FleetCluster,
) -> None:
    box, _ = await cluster.add_box("ns1")
    server = await cluster.add_server(box)
    await cluster.run("UPDATE box SET retired_at = now()")
    change = await cluster.change(server, {"shop.test": b"spec"})
    state = await cluster.do(lambda tx: change_state(tx, change))
    assert [(lane.state, lane.message) for lane in state.lanes] == [
        ("held", "the box was retired: move or delete what is on it")
    ]
