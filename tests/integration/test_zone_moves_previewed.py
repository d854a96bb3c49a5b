"""What is said of a move of zones before it is begun, and what boxes are asked about it."""

import pytest_twisted

from controller.hosting.moves import REHEARSED
from tests.integration.hosted import NS1, NS2, NS3, NS4, closed, hosted, name_servers
from tests.integration.model import NOW, Model
from tests.integration.rehearsals import rehearse
from tests.integration.zone_moves import to_the_end


@pytest_twisted.ensureDeferred
async def test_a_dry_run_counts_and_writes_nothing(model: Model) -> None:
    await hosted(model, 3)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    before = await model.footprint()
    dry = await model.run("dns.apply", dry_run=True)
    assert (dry.result["zones"], dry.result["change_master"]) == (3, 3)
    assert dry.plan is not None
    assert dry.plan.objects == ()
    assert dry.plan.words == (
        f"touches {NS1}, {NS2}",
        "3 zones change master",
        "nothing reloads",
    )
    assert await model.footprint() == before
    assert await model.rows("SELECT count(*) FROM zone_move") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_a_dry_run_asks_the_boxes_for_what_the_whole_move_then_does(model: Model) -> None:
    await hosted(model, 2)
    await name_servers(model, 3, 4)
    await closed(model, NS1, NS2)
    await model.ask("dns.roles", master=NS3, slave1=NS4)
    rehearsal = await rehearse(model, "dns.apply")
    assert rehearsal.told.keys() == {NS1, NS2, NS3, NS4}
    await model.approved("dns.apply")
    for now in (NOW, NOW + 10 * 86400):
        await to_the_end(model, now)
    await rehearsal.check(model)


@pytest_twisted.ensureDeferred
async def test_a_dry_run_names_who_delegates_from_the_service_zone(model: Model) -> None:
    await hosted(model, 0)
    await model.ask("service.set", third_level=True)
    await name_servers(model, 3, 4)
    await closed(model, NS1, NS2)
    await model.ask("dns.roles", master=NS3, slave1=NS4)
    await model.ask("domain.add", name="below.example.net", account="acme")
    await model.ask("lserver.signup", name=NS2, signup=True)
    await closed(model, NS3)
    await model.ask("dns.roles", master=NS4, slave1=NS2)
    rehearsal = await rehearse(model, "dns.apply")
    assert rehearsal.told[NS1].keys() == {("zone", "example.net")}
    assert set(rehearsal.plan.foreseen.logical_servers) == {NS1, NS2, NS3, NS4}


@pytest_twisted.ensureDeferred
async def test_a_plan_says_that_servers_are_drawn_only_where_some_are(model: Model) -> None:
    words = "servers without a role are drawn at random for zones that lack them"
    await hosted(model)
    await name_servers(model, 3, 4)
    for roles, drawn in (
        ({"master": NS2, "slave1": NS1}, True),
        ({"master": NS2, "slave1": NS1, "slave2": NS3}, False),
    ):
        await model.ask("dns.roles", **roles)
        dry = await model.run("dns.apply", dry_run=True)
        assert dry.plan is not None
        assert (words in dry.plan.words) == drawn


@pytest_twisted.ensureDeferred
async def test_a_dry_run_asks_the_boxes_for_the_first_zones_of_many(model: Model) -> None:
    await hosted(model, REHEARSED + 1)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    rehearsal = await rehearse(model, "dns.apply")
    assert [len(told) for told in rehearsal.told.values()] == [REHEARSED, REHEARSED]
    words = f"boxes can tell what becomes of the first {REHEARSED} of these zones"
    assert words in rehearsal.plan.words
    assert rehearsal.plan.differences is not None
    notes = " ".join(words for lane in rehearsal.plan.differences for words in lane.words)
    assert "too many" not in notes
