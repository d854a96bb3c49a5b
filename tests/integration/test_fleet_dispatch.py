"""Objects reach their boxes: once, in order, newest only, and again after whatever cut them off."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.fleet import dispatch
from controller.fleet.words import ConditionWord
from controller.progress import change_state
from node_agent.wire.messages import (
    Assign,
    Batch,
    InventoryRequest,
    Observe,
    Retry,
    Welcome,
)
from tests.conftest import LoggedErrors
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401


@pytest_twisted.ensureDeferred
async def test_a_box_is_welcomed_and_told_its_lanes(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box("ns1")
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    (welcome,) = agent.said(Welcome)
    assert welcome.session_epoch == 1
    assert [lane.lane for lane in agent.said(Assign)[0].lanes] == [server]
    rows = await cluster.rows("SELECT connected, first_seen_at IS NOT NULL FROM box")
    assert rows == [(True, True)]


@pytest_twisted.ensureDeferred
async def test_a_change_is_sent_stored_and_settled(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    await cluster.change(server, {"shop.test": b"spec"})
    await cluster.until_settled(server)
    assert agent.lanes[server].live() == {"shop.test": b"spec"}


@pytest_twisted.ensureDeferred
async def test_an_absent_box_gets_the_newest_versions_only(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    for number in range(5):
        await cluster.change(server, {"a.test": b"%d" % number})
    await cluster.change(server, {"b.test": b"b"})
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    (batch,) = agent.said(Batch)
    assert [(i.key, i.revision) for i in batch.items] == [("a.test", 5), ("b.test", 6)]


@pytest_twisted.ensureDeferred
async def test_a_fill_comes_in_bounded_batches_in_order(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await cluster.change(server, {f"z{n}.test": b"x" for n in range(1203)})
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    batches = agent.said(Batch)
    assert [len(b.items) for b in batches] == [500, 500, 203]
    revisions = [i.revision for b in batches for i in b.items]
    assert revisions == list(range(1, 1204))


@pytest_twisted.ensureDeferred
async def test_a_batch_stops_growing_at_one_mebibyte(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await cluster.change(server, {f"z{n}.test": b"x" * 400_000 for n in range(7)})
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    assert [len(b.items) for b in agent.said(Batch)] == [3, 3, 1]


@pytest_twisted.ensureDeferred
async def test_nothing_is_sent_before_the_batch_on_its_way_is_stored(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    agent.stores = False
    await cluster.change(server, {"a.test": b"1"})
    await agent.until(lambda: bool(agent.said(Batch)))
    await cluster.change(server, {"a.test": b"2"})
    await cluster.change(server, {"b.test": b"2"})
    await cluster.fleet._dispatcher.rescan()
    assert len(agent.said(Batch)) == 1
    agent.stores = True
    agent.store(agent.said(Batch)[0])
    await cluster.until_settled(server)
    assert [len(b.items) for b in agent.said(Batch)] == [1, 2]


@pytest_twisted.ensureDeferred
async def test_a_lost_wake_up_is_found_by_the_rescan(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    await cluster.change(server, {"a.test": b"1"}, notify=False)
    await cluster.fleet._dispatcher.rescan()
    await cluster.until_settled(server)


@pytest_twisted.ensureDeferred
async def test_a_removal_travels_as_a_tombstone(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"1", "b.test": b"2"})
    await cluster.until_settled(server)
    await cluster.change(server, {"a.test": None})
    await cluster.until_settled(server)
    assert agent.lanes[server].live() == {"b.test": b"2"}
    assert await cluster.rows("SELECT key FROM lane_object") == [("b.test",)]
    assert (await cluster.rows("SELECT expected_hash FROM lane"))[0][0] == agent.lanes[server].total


@pytest_twisted.ensureDeferred
async def test_secrets_are_put_in_on_the_way(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"key=$secret"}, secrets=(1,))
    await cluster.until_settled(server)
    assert agent.lanes[server].live() == {"a.test": b"key=inlined"}


@pytest_twisted.ensureDeferred
async def test_both_boxes_of_a_logical_server_get_its_objects(cluster: FleetCluster) -> None:
    one, first = await cluster.add_box()
    two, second = await cluster.add_box()
    server = await cluster.add_server(one, two)
    await first.connect(reactor, cluster.agent_port)
    await second.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"1"})
    await cluster.until_settled(server)
    assert first.lanes[server].live() == second.lanes[server].live() == {"a.test": b"1"}


@pytest_twisted.ensureDeferred
async def test_a_reconnect_resumes_and_sends_only_what_changed(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {f"z{n}.test": b"1" for n in range(20)})
    await cluster.until_settled(server)
    await agent.leave()
    await cluster.change(server, {"z3.test": b"2"})
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    (batch,) = agent.said(Batch)
    assert [i.key for i in batch.items] == ["z3.test"]
    assert not agent.said(InventoryRequest)


@pytest_twisted.ensureDeferred
async def test_a_lost_acknowledgement_is_made_up_for(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    agent.stores = False
    await cluster.change(server, {"a.test": b"1", "b.test": b"1"})
    await agent.until(lambda: bool(agent.said(Batch)))
    agent.lanes[server].store(agent.said(Batch)[0])  # durable on the box, but never said
    agent.lanes[server].settled = 2
    await agent.leave()
    await cluster.change(server, {"a.test": b"2", "c.test": b"1"})
    agent.stores = True
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    assert not agent.said(InventoryRequest)
    assert agent.lanes[server].live() == {"a.test": b"2", "b.test": b"1", "c.test": b"1"}
    assert (await cluster.rows("SELECT expected_hash FROM lane"))[0][0] == agent.lanes[server].total


@pytest_twisted.ensureDeferred
async def test_all_is_as_before_after_a_restart_of_the_controller(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"1"})
    await cluster.until_settled(server)
    await cluster.restart()
    await agent.until_ended()
    await cluster.change(server, {"b.test": b"1"})
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    assert [[i.key for i in b.items] for b in agent.said(Batch)] == [["a.test"], ["b.test"]]


@pytest_twisted.ensureDeferred
async def test_an_exception_is_kept_and_cleared_by_the_next_good_version(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    agent.failing = {"bad.test"}
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"bad.test": b"1", "good.test": b"1"})
    await cluster.until_settled(server)
    outcomes = "SELECT key, revision, outcome, message FROM object_outcome"
    assert await cluster.rows(outcomes) == [("bad.test", 1, "quarantined", "bad")]
    agent.failing = set()
    await cluster.change(server, {"bad.test": b"2"})
    await cluster.until_settled(server)
    assert await cluster.rows(outcomes) == []


@pytest_twisted.ensureDeferred
async def test_an_exception_that_ended_while_away_is_cleared_on_return(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    agent.failing = {"bad.test"}
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"bad.test": b"1"})
    await cluster.until_settled(server)
    await agent.leave()
    agent.failing = set()
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until("SELECT count(*) = 0 FROM object_outcome")


@pytest_twisted.ensureDeferred
async def test_a_secondary_is_watched_until_it_answers_the_serial(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    master = await cluster.add_server()
    secondary = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    change = await cluster.change(
        master, {"a.test": b"1"}, watches=[(secondary, "a.test", 2026010101)]
    )
    await cluster.until("SELECT count(*) = 1 FROM zone_observation WHERE serial = 2026010101")
    assert [(o.zone, o.serial) for o in agent.said(Observe)] == [("a.test", 2026010101)]
    await cluster.until("SELECT watched_through = %s FROM lane", (change,))


@pytest_twisted.ensureDeferred
async def test_a_watch_whose_wake_up_was_lost_is_found_by_the_rescan_and_asked_once(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    master = await cluster.add_server()
    secondary = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    await cluster.change(master, {"a.test": b"1"}, watches=[(secondary, "a.test", 5)], notify=False)
    await cluster.fleet._dispatcher.rescan()
    await cluster.until("SELECT count(*) = 1 FROM zone_observation WHERE serial = 5")
    await cluster.fleet._dispatcher.rescan()
    assert [o.zone for o in agent.said(Observe)] == ["a.test"]


@pytest_twisted.ensureDeferred
async def test_an_open_watch_is_asked_again_on_reconnect_and_a_seen_one_is_not(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    master = await cluster.add_server()
    secondary = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    await cluster.change(master, {"a.test": b"1"}, watches=[(secondary, "a.test", 5)])
    await cluster.until("SELECT count(*) = 1 FROM zone_observation")
    agent.observes = False
    await cluster.change(master, {"b.test": b"1"}, watches=[(secondary, "b.test", 7)])
    await agent.until(lambda: len(agent.said(Observe)) == 2)
    await agent.leave()
    agent.observes = True
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until("SELECT count(*) = 2 FROM zone_observation")
    assert [o.zone for o in agent.said(Observe)] == ["b.test"]


@pytest_twisted.ensureDeferred
async def test_a_retry_reaches_the_lane(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    assert cluster.fleet.retry(server, "zone", "a.test") == 1
    await agent.until(lambda: bool(agent.said(Retry)))


@pytest_twisted.ensureDeferred
async def test_a_secret_that_cannot_be_opened_holds_its_own_lane_alone(
    cluster: FleetCluster,
) -> None:
    one, first = await cluster.add_box()
    two, second = await cluster.add_box()
    broken = await cluster.add_server(one)
    good = await cluster.add_server(two)
    await first.connect(reactor, cluster.agent_port)
    await second.connect(reactor, cluster.agent_port)
    await cluster.change(broken, {"a.test": b"$broken"}, secrets=(1,))
    await cluster.change(good, {"a.test": b"fine"})
    await cluster.until_settled(good)
    await cluster.until(
        "SELECT condition = 'held' FROM lane WHERE logical_server_id = %s", (broken,)
    )
    assert not first.said(Batch)


@pytest_twisted.ensureDeferred
async def test_a_change_that_meets_a_lane_being_read_is_not_lost(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    for number in range(20):
        (link,) = cluster.fleet._dispatcher.links_of(server)
        cluster.fleet._dispatcher.wake(link, bulk=True)
        await cluster.change(server, {"a.test": b"%d" % number})
        cluster.fleet._dispatcher.wake(link, bulk=True)
        await cluster.until_settled(server)


@pytest_twisted.ensureDeferred
async def test_a_box_that_has_to_do_its_work_again_is_not_shown_as_live(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    change = await cluster.change(server, {"a.test": b"1", "b.test": b"2"})
    await cluster.until_settled(server)
    await agent.leave()
    agent.lanes[server].settled = 1  # a power cut took what it had written down last
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until("SELECT settled_revision = 1 FROM lane")
    state = await cluster.do(lambda tx: change_state(tx, change))
    assert [(lane.key, lane.state) for lane in state.lanes] == [
        ("a.test", "live"),
        ("b.test", "stored"),
    ]
    assert state.state == "pending"


@pytest_twisted.ensureDeferred
async def test_a_word_that_cannot_be_written_keeps_no_other_waiting(cluster: FleetCluster) -> None:
    boxes = [await cluster.add_box() for _ in range(3)]
    servers = [await cluster.add_server(box) for box, _ in boxes]
    for _, agent in boxes:
        await agent.connect(reactor, cluster.agent_port)
        await agent.until(lambda agent=agent: bool(agent.said(Assign)))
    (bad,) = cluster.fleet._dispatcher.links_of(servers[1])
    cluster.fleet._dispatcher.say(bad, ConditionWord("a\0word", ""))
    for server in servers[::2]:
        await cluster.change(server, {"a.test": b"1"})
        await cluster.until_settled(server)
    assert bad.ended


@pytest_twisted.ensureDeferred
async def test_a_mistake_in_one_dispatch_does_not_end_all_of_them(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch, logged_errors: LoggedErrors
) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"0"})
    await cluster.until_settled(server)
    dispatcher = cluster.fleet._dispatcher
    real, mistakes = dispatcher._announce, ["one"]

    def announce(*arguments: Any) -> None:
        if mistakes:
            raise KeyError(mistakes.pop())
        real(*arguments)

    monkeypatch.setattr(dispatch, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(dispatcher, "_announce", announce)
    await cluster.change(server, {"a.test": b"1"})
    while mistakes:
        await deferLater(reactor, 0.005)
    await cluster.change(server, {"b.test": b"2"})
    await cluster.until_settled(server)
    (told,) = logged_errors.flush()
    assert "KeyError" in told
