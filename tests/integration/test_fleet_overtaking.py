"""What a person waits for overtakes a fill of the same lane, and is live when it is, not before."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from controller.progress import ChangeState, change_state
from controller.storage.database import Transaction
from node_agent.wire.messages import Batch, InventoryRequest, Outcome, Outcomes
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.simulated_agent import SimulatedAgent

FILL = 1600
"""Objects of a fill: four batches."""


async def state(cluster: FleetCluster, change: int) -> ChangeState:
    async def read(tx: Transaction) -> ChangeState:
        return await change_state(tx, change)

    found: ChangeState = await cluster.do(read)
    return found


async def begin_fill(cluster: FleetCluster, count: int = FILL) -> tuple[str, SimulatedAgent]:
    """Give a lane whose box has the first batch of a fill and answers nothing from itself."""
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"shop.test": b"1", "old.test": b"1"})
    await cluster.until_settled(server)
    agent.messages.clear()
    agent.stores = False
    await cluster.fill(server, count)
    await agent.until(lambda: bool(agent.said(Batch)))
    return server, agent


async def next_batch(agent: SimulatedAgent) -> Batch:
    """Store and settle the batch on its way; give the one that follows."""
    count = len(agent.said(Batch))
    agent.store(agent.said(Batch)[-1])
    await agent.until(lambda: len(agent.said(Batch)) > count)
    batch: Batch = agent.said(Batch)[-1]
    return batch


async def until_done(cluster: FleetCluster, change: int, wanted: str = "done") -> ChangeState:
    while (found := await state(cluster, change)).state != wanted:
        await cluster.until("SELECT true")
    return found


async def finish(cluster: FleetCluster, server: str, agent: SimulatedAgent) -> None:
    """Let the fill end, and see that both sides hold the same and nothing was repaired."""
    agent.stores = True
    agent.store(agent.said(Batch)[-1])
    await cluster.until_settled(server)
    lane = agent.lanes[server]
    assert await cluster.rows("SELECT expected_hash FROM lane") == [(lane.total,)]
    assert not agent.said(InventoryRequest)


def keys(batch: Batch) -> list[str]:
    return [item.key for item in batch.items]


@pytest.mark.parametrize("handed", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_click_during_a_fill_is_live_before_the_fill_ends(
    cluster: FleetCluster, handed: bool
) -> None:
    server, agent = await begin_fill(cluster, 20_000 if handed else FILL)
    click = await cluster.change(server, {"shop.test": b"2", "new.test": b"1"}, handed=handed)
    if not handed:  # its NOTIFY has been acted on
        link = cluster.fleet._dispatcher.links_of(server)[0]
        while not link.early:
            await cluster.until("SELECT true")
    assert (await state(cluster, click)).state == "pending"
    batch = await next_batch(agent)
    assert keys(batch) == ["shop.test", "new.test"]
    assert batch.through == 502
    assert (await state(cluster, click)).state == "pending"
    assert len(keys(await next_batch(agent))) == 500
    await until_done(cluster, click)
    assert await cluster.rows("SELECT settled_revision, stored_revision FROM lane") == [(502, 502)]
    await finish(cluster, server, agent)
    assert (await state(cluster, click)).state == "done"


@pytest_twisted.ensureDeferred
async def test_a_removal_overtakes_as_well(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    click = await cluster.change(server, {"old.test": None}, handed=True)
    batch = await next_batch(agent)
    assert [(i.key, i.spec) for i in batch.items] == [("old.test", None)]
    await next_batch(agent)
    await until_done(cluster, click)
    assert "old.test" not in agent.lanes[server].live()
    await finish(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_clicks_do_not_stop_the_fill(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    early = []
    for number in range(4):
        await cluster.change(server, {"shop.test": b"%d" % number}, handed=True)
        early.append(keys(await next_batch(agent)) == ["shop.test"])
    assert early == [True, False, True, False]
    await finish(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_a_wide_change_waits_for_its_turn(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    await cluster.change(server, {f"y{n}.test": b"1" for n in range(51)}, handed=True)
    assert keys(await next_batch(agent))[0] == "fill501.test"
    await finish(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_what_the_next_batch_holds_anyway_is_not_sent_early(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster, 700)
    await next_batch(agent)  # the last one of the fill
    await cluster.change(server, {"shop.test": b"2"}, handed=True)
    batch = await next_batch(agent)
    assert (keys(batch), batch.through) == (["shop.test"], 703)
    await finish(cluster, server, agent)
    assert len(agent.said(Batch)) == 3


@pytest_twisted.ensureDeferred
async def test_what_overtakes_is_bounded_by_bytes_too(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    big: dict[str, bytes | None] = {f"b{n}.test": b"x" * 600_000 for n in range(3)}
    await cluster.change(server, big, handed=True)
    assert keys(await next_batch(agent)) == ["b0.test", "b1.test"]
    assert keys(await next_batch(agent))[0] == "fill501.test"
    assert keys(await next_batch(agent)) == ["b2.test"]
    await finish(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_what_fails_early_is_shown_as_failed(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    agent.failing = {"shop.test"}
    click = await cluster.change(server, {"shop.test": b"2"}, handed=True)
    await next_batch(agent)
    await next_batch(agent)
    (lane,) = (await until_done(cluster, click, "failed")).lanes
    assert (lane.state, lane.message) == ("quarantined", "bad")
    await finish(cluster, server, agent)
    assert (await state(cluster, click)).state == "failed"


@pytest_twisted.ensureDeferred
async def test_what_was_applied_early_says_nothing_of_a_later_version(
    cluster: FleetCluster,
) -> None:
    server, agent = await begin_fill(cluster)
    first = await cluster.change(server, {"shop.test": b"2"}, handed=True)
    await next_batch(agent)
    await next_batch(agent)
    await until_done(cluster, first)
    later = await cluster.change(server, {"shop.test": b"3"}, handed=True)
    assert (await state(cluster, later)).state == "pending"
    assert (await state(cluster, first)).state == "done"
    await finish(cluster, server, agent)
    assert (await state(cluster, later)).state == "done"


@pytest_twisted.ensureDeferred
async def test_a_superseded_version_is_live_once_the_newer_one_is(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    first = await cluster.change(server, {"shop.test": b"2"}, handed=True)
    second = await cluster.change(server, {"shop.test": b"3"}, handed=True)
    batch = await next_batch(agent)
    assert [i.spec for i in batch.items] == [b"3"]
    assert (await state(cluster, first)).state == "pending"
    await next_batch(agent)
    await until_done(cluster, second)
    assert (await state(cluster, first)).state == "done"
    await finish(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_it_stays_live_after_a_restart_of_the_controller(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    click = await cluster.change(server, {"shop.test": b"2"}, handed=True)
    await next_batch(agent)
    await next_batch(agent)
    await until_done(cluster, click)
    await cluster.restart()
    await agent.until_ended()
    assert (await state(cluster, click)).state == "done"
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Batch)))
    assert (await state(cluster, click)).state == "done"
    await finish(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_a_click_that_did_not_get_its_turn_overtakes_on_the_next_session(
    cluster: FleetCluster,
) -> None:
    server, agent = await begin_fill(cluster)
    await next_batch(agent)
    click = await cluster.change(server, {"shop.test": b"2"}, handed=True)
    await agent.leave()
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Batch)))
    assert keys(agent.said(Batch)[0]) == ["shop.test"]
    await next_batch(agent)
    await until_done(cluster, click)
    await finish(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_a_machine_that_began_anew_must_say_it_again(
    cluster: FleetCluster,
) -> None:
    server, agent = await begin_fill(cluster)
    click = await cluster.change(server, {"shop.test": b"2"}, handed=True)
    await next_batch(agent)
    await next_batch(agent)
    await until_done(cluster, click)
    await agent.leave()
    agent.boot_id = "after a power cut"
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Batch)))
    assert (await state(cluster, click)).state == "pending"
    await finish(cluster, server, agent)
    assert (await state(cluster, click)).state == "done"


@pytest_twisted.ensureDeferred
async def test_a_box_that_tells_of_less_must_say_it_again(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    click = await cluster.change(server, {"shop.test": b"2"}, handed=True)
    await next_batch(agent)
    await next_batch(agent)
    await until_done(cluster, click)
    await agent.leave()
    agent.lanes[server].settled = 100
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until("SELECT settled_revision = 100 FROM lane")
    assert (await state(cluster, click)).state == "pending"
    await finish(cluster, server, agent)


@pytest_twisted.ensureDeferred
async def test_a_box_that_lost_its_memory_must_say_it_again(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    click = await cluster.change(server, {"shop.test": b"2"}, handed=True)
    await next_batch(agent)
    await next_batch(agent)
    await until_done(cluster, click)
    await agent.leave()
    agent.lanes.clear()
    agent.messages.clear()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Batch)))
    assert (await state(cluster, click)).state == "pending"
    await finish(cluster, server, agent)
    assert (await state(cluster, click)).state == "done"


@pytest_twisted.ensureDeferred
async def test_what_was_remembered_apart_is_forgotten_when_the_fill_has_passed_it(
    cluster: FleetCluster,
) -> None:
    server, agent = await begin_fill(cluster)
    click = await cluster.change(server, {"shop.test": b"2"}, handed=True)
    await next_batch(agent)
    await next_batch(agent)
    await until_done(cluster, click)
    assert await cluster.rows("SELECT key, revision FROM applied_early") == [("shop.test", 1603)]
    await finish(cluster, server, agent)
    assert await cluster.rows("SELECT count(*) FROM applied_early") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_a_box_cannot_make_up_what_it_applied(cluster: FleetCluster) -> None:
    server, agent = await begin_fill(cluster)
    made_up: list[Any] = [("zone", "none.test", 5000), ("zone", "shop.test", 5000)]
    outcomes = tuple(Outcome(kind, key, rev, "applied") for kind, key, rev in made_up)
    agent.send(Outcomes(lane=server, settled_revision=2, outcomes=outcomes))
    await next_batch(agent)
    await next_batch(agent)
    assert await cluster.rows("SELECT count(*) FROM applied_early") == [(0,)]
    await finish(cluster, server, agent)
