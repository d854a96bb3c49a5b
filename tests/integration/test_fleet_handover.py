"""What the controller itself commits reaches its boxes from memory, and nothing else does."""

import select
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from controller.fleet import dispatch, loading
from controller.fleet.committed import Committed, Pending, ServerChange
from controller.fleet.lane_store import LaneKey, backlogs, touched_by
from controller.storage.database import Transaction
from node_agent.wire.messages import Assign, Batch, InventoryRequest, Observe
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.simulated_agent import SimulatedAgent


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the changes that the dispatcher read from the database."""
    seen: list[int] = []

    async def noting(tx: Transaction, changes: Any) -> Any:
        seen.extend(changes)
        return await touched_by(tx, changes)

    monkeypatch.setattr(loading, "touched_by", noting)
    return seen


async def one_lane(cluster: FleetCluster) -> tuple[str, SimulatedAgent]:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"first.test": b"1"})
    await cluster.until_settled(server)
    agent.messages.clear()
    return server, agent


@pytest_twisted.ensureDeferred
async def test_a_handed_change_needs_no_notify(cluster: FleetCluster) -> None:
    server, agent = await one_lane(cluster)
    await cluster.change(server, {"a.test": b"1", "b.test": b"2"}, notify=False, handed=True)
    await cluster.until_settled(server)
    (batch,) = agent.said(Batch)
    assert [(i.key, i.revision, i.spec) for i in batch.items] == [
        ("a.test", 2, b"1"),
        ("b.test", 3, b"2"),
    ]
    assert batch.through == 3


@pytest_twisted.ensureDeferred
async def test_the_notify_of_a_handed_change_is_not_read(
    cluster: FleetCluster, reads: list[int]
) -> None:
    server, agent = await one_lane(cluster)
    handed = await cluster.change(server, {"a.test": b"1"}, notify=False, handed=True)
    cluster.fleet._dispatcher.notified(handed)
    foreign = await cluster.change(server, {"b.test": b"1"})
    await cluster.until_settled(server)
    assert handed not in reads
    assert foreign in reads
    assert [[i.key for i in b.items] for b in agent.said(Batch)] == [["a.test"], ["b.test"]]


@pytest_twisted.ensureDeferred
async def test_a_notify_before_its_hand_over_is_not_read(
    cluster: FleetCluster, reads: list[int]
) -> None:
    server, agent = await one_lane(cluster)
    dispatcher = cluster.fleet._dispatcher
    early = await cluster.change(server, {"a.test": b"1"}, notify=False)
    dispatcher.committing(early)
    dispatcher.notified(early)
    objects = (Pending("zone", "a.test", 2, 1, b"1", (), (), early),)
    dispatcher.committed(Committed(early, (ServerChange(server, 1, objects),), ()))
    dispatcher.ended(early)
    await cluster.until_settled(server)
    assert early not in reads
    assert len(agent.said(Batch)) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_handed_over_has_left_before_the_reactor_goes_on(
    cluster: FleetCluster,
) -> None:
    server, agent = await one_lane(cluster)
    change = await cluster.change(server, {"a.test": b"1"}, notify=False)
    objects = (Pending("zone", "a.test", 2, 1, b"1", (), (), change),)
    assert agent.protocol is not None
    tls: Any = agent.protocol.transport
    came = select.poll()
    came.register(tls.transport.fileno(), select.POLLIN)
    assert not came.poll(0)
    cluster.fleet._dispatcher.committed(Committed(change, (ServerChange(server, 1, objects),), ()))
    assert came.poll(100)
    await cluster.until_settled(server)
    assert len(agent.said(Batch)) == 1


@pytest_twisted.ensureDeferred
async def test_a_notify_whose_hand_over_never_comes_is_read(
    cluster: FleetCluster, reads: list[int]
) -> None:
    server, agent = await one_lane(cluster)
    dispatcher = cluster.fleet._dispatcher
    unknown = await cluster.change(server, {"a.test": b"1"}, notify=False)
    dispatcher.committing(unknown)
    dispatcher.notified(unknown)
    assert not agent.said(Batch)
    dispatcher.ended(unknown)
    await cluster.until_settled(server)
    assert unknown in reads


@pytest_twisted.ensureDeferred
async def test_a_lane_that_misses_an_older_change_is_not_sent_a_newer_one_alone(
    cluster: FleetCluster,
) -> None:
    server, agent = await one_lane(cluster)
    await cluster.change(server, {"lost.test": b"1"}, notify=False)
    await cluster.change(server, {"a.test": b"1"}, notify=False, handed=True)
    await cluster.until_settled(server)
    (batch,) = agent.said(Batch)
    assert [i.key for i in batch.items] == ["lost.test", "a.test"]
    assert agent.lanes[server].live().keys() == {"first.test", "lost.test", "a.test"}


@pytest_twisted.ensureDeferred
async def test_a_busy_lane_gets_a_handed_change_after_its_batch(cluster: FleetCluster) -> None:
    server, agent = await one_lane(cluster)
    agent.stores = False
    await cluster.change(server, {"a.test": b"1"}, notify=False, handed=True)
    await agent.until(lambda: bool(agent.said(Batch)))
    await cluster.change(server, {"a.test": b"2"}, notify=False, handed=True)
    await cluster.change(server, {"b.test": b"2"}, notify=False, handed=True)
    assert len(agent.said(Batch)) == 1
    agent.stores = True
    agent.store(agent.said(Batch)[0])
    await cluster.until_settled(server)
    assert [[i.key for i in b.items] for b in agent.said(Batch)] == [
        ["a.test"],
        ["a.test", "b.test"],
    ]


@pytest_twisted.ensureDeferred
async def test_secrets_of_a_handed_change_are_put_in(cluster: FleetCluster) -> None:
    server, agent = await one_lane(cluster)
    await cluster.change(
        server, {"a.test": b"key=$secret"}, secrets=(1,), notify=False, handed=True
    )
    await cluster.until_settled(server)
    assert agent.lanes[server].live()["a.test"] == b"key=inlined"


@pytest_twisted.ensureDeferred
async def test_a_handed_change_larger_than_a_batch_is_cut(cluster: FleetCluster) -> None:
    server, agent = await one_lane(cluster)
    specs: dict[str, bytes | None] = {f"z{n}.test": b"x" * 400_000 for n in range(4)}
    await cluster.change(server, specs, notify=False, handed=True)
    await cluster.until_settled(server)
    await cluster.change(
        server, {f"y{n}.test": b"x" for n in range(501)}, notify=False, handed=True
    )
    await cluster.until_settled(server)
    assert [len(b.items) for b in agent.said(Batch)] == [3, 1, 500, 1]


@pytest_twisted.ensureDeferred
async def test_a_lane_that_begins_with_a_handed_change_is_found(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    server = await cluster.add_server(box)
    await cluster.change(server, {"a.test": b"1"}, handed=True)
    await cluster.until_settled(server)
    assert agent.lanes[server].live() == {"a.test": b"1"}


@pytest_twisted.ensureDeferred
async def test_a_handed_watch_is_asked_for(cluster: FleetCluster) -> None:
    server, agent = await one_lane(cluster)
    agent.observes = False
    await cluster.change(
        server, {"a.test": b"1"}, watches=[(server, "a.test", 7)], notify=False, handed=True
    )
    await agent.until(lambda: bool(agent.said(Observe)))
    assert [type(m) for m in agent.messages if isinstance(m, Batch | Observe)] == [Batch, Observe]
    await cluster.until_settled(server)


@pytest_twisted.ensureDeferred
async def test_of_many_lanes_the_later_ones_are_read(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "HANDED_LANES", 1)
    boxes = [await cluster.add_box() for _ in range(3)]
    server = await cluster.add_server(*(box for box, _ in boxes))
    for _, agent in boxes:
        await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"first.test": b"1"})
    await cluster.until_settled(server)
    read: set[LaneKey] = set()

    async def noting(tx: Transaction, lanes: Any) -> Any:
        read.update(lanes)
        return await backlogs(tx, lanes)

    monkeypatch.setattr(loading, "backlogs", noting)
    await cluster.change(server, {"a.test": b"1"}, notify=False, handed=True)
    await cluster.until_settled(server)
    assert len(read) == 2
    assert all(agent.lanes[server].live()["a.test"] == b"1" for _, agent in boxes)


@pytest_twisted.ensureDeferred
async def test_a_lane_under_repair_is_not_called_complete(cluster: FleetCluster) -> None:
    server, agent = await one_lane(cluster)
    (link,) = cluster.fleet._dispatcher.links_of(server)
    link.again = (("zone", "first.test"),)
    await cluster.change(server, {"a.test": b"1"}, notify=False, handed=True)
    await cluster.until_settled(server)
    assert [(b.through, [i.key for i in b.items]) for b in agent.said(Batch)] == [
        (1, ["a.test"]),
        (1, ["first.test"]),
        (2, ["a.test"]),
    ]


@pytest_twisted.ensureDeferred
async def test_nothing_is_handed_to_a_fleet_that_stops(cluster: FleetCluster) -> None:
    server, agent = await one_lane(cluster)
    (link,) = cluster.fleet._dispatcher.links_of(server)
    sent = link.batches
    cluster.fleet._dispatcher.attach(link)  # what it came with is still to be looked at
    cluster.fleet._dispatcher.stop()
    await cluster.change(server, {"a.test": b"1"}, handed=True)
    assert link.batches == sent
    await agent.leave()
    await cluster.restart()
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)


@pytest.mark.parametrize("handed", [True, False])
@pytest_twisted.ensureDeferred
async def test_both_sides_keep_the_same_hash(cluster: FleetCluster, handed: bool) -> None:
    server, agent = await one_lane(cluster)
    steps: list[dict[str, bytes | None]] = [
        {"a": b"1", "b": b"1"},
        {"a": b"2"},
        {"a": None, "c": b"1"},
        {"a": b"3", "b": None},
        {"a": b"3", "c": None},
        {"first.test": None, "a": None},
    ]
    for step in steps:
        await cluster.change(server, step, notify=not handed, handed=handed)
        await cluster.until_settled(server)
        lane = agent.lanes[server]
        assert await cluster.rows("SELECT expected_hash FROM lane") == [(lane.total,)]
    assert agent.lanes[server].total == 0
    assert not agent.said(InventoryRequest)
