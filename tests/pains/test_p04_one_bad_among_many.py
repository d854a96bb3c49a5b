"""One bad object among a thousand, one dead box among fifty: the others do not notice."""

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from twisted.internet import reactor

from node_agent.wire.messages import Outcomes, Welcome
from templates.bind.objects import MasterZone, Record, StartOfAuthority
from templates.objects import Spec
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.integration.real_lane import RealLane, zone

ZONES = 1000
BOXES = 50


@pytest_twisted.async_yield_fixture
async def lane() -> AsyncIterator[RealLane]:
    made = RealLane("bind")
    try:
        await made.start()
        yield made
    finally:
        await made.end()


def poison(name: str) -> tuple[str, str, Spec]:
    """A zone that is well written, and that named does not load: its server has no address."""
    made = MasterZone(
        serial=1,
        soa=StartOfAuthority(primary=f"ns.{name}.", contact="host.cluster.test."),
        records=(Record(owner="@", ttl=60, type="NS", data=f"ns.{name}."),),
        secondaries=(),
    )
    return "zone", name, made


@pytest.mark.timeout(200)
@pytest_twisted.ensureDeferred
async def test_p4_one_poison_zone_in_a_thousand_is_quarantined_alone(lane: RealLane) -> None:
    await lane.take(lane.server())
    names = [f"z{number}.test" for number in range(ZONES)]
    bad = names[ZONES // 2]
    became = await lane.take(*(poison(name) if name == bad else zone(name) for name in names))
    assert {name for name in names if became[name] == "quarantined"} == {bad}
    assert {name for name in names if became[name] == "applied"} == {*names} - {bad}
    assert "address" in lane.words(), lane.words()
    told = [each for each in lane.said if isinstance(each, Outcomes)]
    assert any(bad == one.key and one.message for each in told for one in each.outcomes)
    for name in names:
        assert await lane.serial(name) == (None if name == bad else 1), name
    # The next good version of it lets it go.
    assert (await lane.take(zone(bad)))[bad] == "applied"
    assert await lane.serial(bad) == 1


@pytest_twisted.ensureDeferred
async def test_p4_one_dead_box_in_fifty_holds_back_no_other(cluster: FleetCluster) -> None:
    """It has a session, and takes what it is sent without a word."""
    boxes = [await cluster.add_box() for _ in range(BOXES)]
    server = await cluster.add_server(*(box for box, _ in boxes))
    (dead_box, dead), *alive = boxes
    dead.stores = False
    for _, agent in boxes:
        await agent.connect(reactor, cluster.agent_port)
        await agent.until(lambda agent=agent: bool(agent.said(Welcome)))
    for number in range(3):
        await cluster.change(server, {"a.test": str(number).encode()}, handed=bool(number))
        await cluster.until(
            """SELECT count(*) = %s FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
               WHERE l.settled_revision = s.revision""",
            (BOXES - 1,),
        )
        for _, agent in alive:
            assert agent.lanes[server].live() == {"a.test": str(number).encode()}
    shown = await cluster.rows("SELECT box_id::text FROM lane WHERE settled_revision = 0")
    assert shown == [(dead_box,)]
    # Back to life, it is brought to the newest version at once.
    await dead.leave()
    dead.stores = True
    await dead.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    assert dead.lanes[server].live() == {"a.test": b"2"}
