"""S4: a box speaks for itself only, whatever its messages name."""

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor

from node_agent.wire.messages import (
    Assign,
    Inventory,
    LaneState,
    Observed,
    Outcomes,
    Stored,
)
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.simulated_agent import SimulatedLane


@pytest.mark.parametrize("kind", [Stored, Outcomes, LaneState, Observed, Inventory])
@pytest_twisted.ensureDeferred
async def test_a_box_that_speaks_of_anothers_lane_is_closed(
    cluster: FleetCluster, kind: type
) -> None:
    victim, one = await cluster.add_box()
    _, other = await cluster.add_box()
    server = await cluster.add_server(victim)
    await one.connect(reactor, cluster.agent_port)
    await one.until(lambda: bool(one.said(Assign)))
    await other.connect(reactor, cluster.agent_port)
    await other.until(lambda: bool(other.said(Assign)))
    messages: dict[type, msgspec.Struct] = {
        Stored: Stored(lane=server, batch=1, stored_revision=9, object_hash="0"),
        Outcomes: Outcomes(lane=server, settled_revision=9, outcomes=()),
        LaneState: LaneState(lane=server, condition="disk-full"),
        Observed: Observed(lane=server, zone="a.test", serial=9),
        Inventory: Inventory(lane=server, items=(), last=True),
    }
    other.send(messages[kind])
    await other.until_ended()
    await cluster.fleet._writer.drained()
    assert one.end_reason is None
    lane = "SELECT stored_revision, settled_revision, condition FROM lane"
    assert await cluster.rows(lane) == [(0, 0, "new")]


@pytest_twisted.ensureDeferred
async def test_objects_of_another_box_are_never_sent(cluster: FleetCluster) -> None:
    victim, one = await cluster.add_box()
    _, other = await cluster.add_box()
    server = await cluster.add_server(victim)
    other.lanes[server] = SimulatedLane()
    await other.connect(reactor, cluster.agent_port)
    await one.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"secret"})
    await cluster.until("SELECT bool_or(stored_revision = 1) FROM lane")
    assert other.lanes[server].objects == {}
    assert one.lanes[server].live() == {"a.test": b"secret"}
