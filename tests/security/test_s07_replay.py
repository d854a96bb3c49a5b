"""S7: frames that come again, late or out of order change nothing; old protocols are refused."""

import pytest_twisted
from twisted.internet import reactor

from node_agent.wire.messages import (
    Batch,
    Hello,
    Observed,
    Outcomes,
    Refused,
    RenewalRequest,
    Renewed,
    Stored,
    Welcome,
)
from node_agent.wire.object_hash import as_text
from pki.keys import new_key, signing_request
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.simulated_agent import SimulatedAgent

STATE = (
    "SELECT stored_revision, settled_revision, expected_hash,"
    " (SELECT count(*) FROM object_outcome), (SELECT count(*) FROM lane_object) FROM lane"
)


async def settled(cluster: FleetCluster) -> tuple[str, SimulatedAgent, list[object]]:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: agent.protocol is not None)
    spoken: list[object] = []
    assert agent.protocol is not None
    send = agent.protocol.send
    agent.protocol.send = lambda message: (spoken.append(message), send(message))  # type: ignore
    for number in range(3):
        await cluster.change(server, {"a.test": b"%d" % number, f"b{number}.test": b"x"})
        await cluster.until_settled(server)
    return server, agent, spoken


@pytest_twisted.ensureDeferred
async def test_every_frame_again_and_backwards_changes_nothing(cluster: FleetCluster) -> None:
    server, agent, spoken = await settled(cluster)
    before = await cluster.rows(STATE)
    again = [m for m in spoken if not isinstance(m, Hello)]
    for message in [*again, *reversed(again), *again]:
        agent.send(message)
    await cluster.change(server, {"last.test": b"x"})
    await cluster.until_settled(server)
    after = await cluster.rows(STATE)
    assert agent.end_reason is None
    assert after[0][:2] == (before[0][0] + 1, before[0][1] + 1)
    assert after[0][2] == agent.lanes[server].total
    assert after[0][3:] == (0, before[0][4] + 1)


@pytest_twisted.ensureDeferred
async def test_a_second_hello_ends_the_session(cluster: FleetCluster) -> None:
    _, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    agent.send(agent.hello())
    agent.send(RenewalRequest(csr=signing_request(new_key())))  # what follows is not heard
    await agent.until(lambda: agent.end_reason is not None or bool(agent.said(Renewed)))
    assert not agent.said(Renewed)
    assert await cluster.rows("SELECT session_epoch FROM box") == [(1,)]


@pytest_twisted.ensureDeferred
async def test_an_acknowledgement_of_more_than_was_sent_ends_the_session(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    agent.stores = False
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"1"})
    await agent.until(lambda: bool(agent.said(Batch)))
    agent.send(Stored(lane=server, batch=1, stored_revision=99, object_hash=as_text(0)))
    await agent.until_ended()
    assert (await cluster.rows(STATE))[0][0] == 0


@pytest_twisted.ensureDeferred
async def test_settling_what_was_never_stored_ends_the_session(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    agent.stores = False
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"1"})
    await agent.until(lambda: bool(agent.said(Batch)))
    agent.send(Outcomes(lane=server, settled_revision=99, outcomes=()))
    await agent.until_ended()
    assert (await cluster.rows(STATE))[0][1] == 0


@pytest_twisted.ensureDeferred
async def test_an_observation_that_nobody_asked_for_is_not_kept(cluster: FleetCluster) -> None:
    server, agent, _ = await settled(cluster)
    agent.send(Observed(lane=server, zone="a.test", serial=5))
    await cluster.change(server, {"last.test": b"x"})
    await cluster.until_settled(server)
    assert await cluster.rows("SELECT count(*) FROM zone_observation") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_an_older_protocol_is_refused(cluster: FleetCluster) -> None:
    _, agent = await cluster.add_box()
    agent.protocol_min = agent.protocol_max = 0
    await agent.connect(reactor, cluster.agent_port)
    await agent.until_ended()
    assert [refused.reason for refused in agent.said(Refused)] == ["protocol"]
