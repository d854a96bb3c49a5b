"""Zones that exist go where the roles want them, phase by phase, and no phase too early."""

from typing import Any

import pytest
import pytest_twisted

from controller.hosting import zone_mover
from controller.hosting.moves import GRACE_SECONDS
from controller.principal import Principal
from controller.storage.database import Transaction
from tests.integration.applying import applied
from tests.integration.hosted import NS1, NS2, NS3, NS4, closed, hosted, name_servers
from tests.integration.model import NOW, Model
from tests.integration.zone_moves import served, step, to_the_end


async def published(model: Model, zone: str, server: str) -> list[str]:
    spec = (await model.objects(server))["zone", zone]
    return sorted(record["data"] for record in spec["records"] if record["type"] == "NS")


async def serial(model: Model, zone: str) -> int:
    ((found,),) = await model.rows("SELECT serial FROM zone WHERE name = %s", (zone,))
    return int(found)


@pytest_twisted.ensureDeferred
async def test_r358_a_swap_of_master_and_slave_is_make_before_break(model: Model) -> None:
    await hosted(model)
    assert await served(model, "z0.test") == {NS1: "master", NS2: f"from {NS1}"}
    before = await serial(model, "z0.test")
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    assert await step(model) == "idle"  # roles alone move nothing
    begun = await model.approved("dns.apply")
    assert (begun["zones"], begun["change_master"], begun["change_servers"]) == (1, 1, 0)
    assert begun["delegations"] == []

    assert await step(model) == "moved"
    assert await served(model, "z0.test") == {NS1: "master", NS2: "master"}
    assert await serial(model, "z0.test") > before
    for _ in range(3):  # ns2 has not said that it serves: ns1 stays what it is
        assert await step(model) == "waiting"
    await applied(model, "ns1")
    assert await step(model) == "waiting"
    assert await served(model, "z0.test") == {NS1: "master", NS2: "master"}

    await applied(model, "ns2")
    assert await step(model) == "moved"
    assert await served(model, "z0.test") == {NS2: "master", NS1: f"from {NS2}"}
    shown = await model.ask("dns.progress", id=begun["move"])
    assert (shown["moved"], shown["under_way"], shown["state"]) == (0, 1, "running")
    await to_the_end(model)
    shown = await model.ask("dns.progress", id=begun["move"])
    assert (shown["moved"], shown["under_way"], shown["state"]) == (1, 0, "done")
    assert shown["ended_at"] is not None
    assert (await model.approved("dns.apply"))["move"] is None


@pytest_twisted.ensureDeferred
async def test_the_new_master_is_followed_only_when_it_was_seen_to_serve(model: Model) -> None:
    await hosted(model)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    move = (await model.approved("dns.apply"))["move"]
    await step(model)
    await model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome,
                                       message)
           SELECT l.box_id, s.id, 'zone', 'z0.test', s.revision, 'quarantined', 'out of memory'
           FROM logical_server s JOIN lane l ON l.logical_server_id = s.id WHERE s.name = %s""",
        (NS2,),
    )
    await applied(model)
    assert await step(model) == "waiting"
    shown = await model.ask("dns.progress", id=move)
    assert (shown["failed"], shown["under_way"]) == (1, 0)
    assert shown["waiting"] == [
        {"zone": "z0.test", "phase": "promoted", "failed": True, "message": "ns2: out of memory"}
    ]
    assert (await served(model, "z0.test"))[NS1] == "master"
    await model.write("DELETE FROM object_outcome")
    await to_the_end(model)
    assert (await model.ask("dns.progress", id=move))["state"] == "done"


@pytest_twisted.ensureDeferred
async def test_servers_that_a_zone_leaves_answer_until_the_old_ns_records_have_run_out(
    model: Model,
) -> None:
    await hosted(model)
    await name_servers(model, 3, 4)
    await closed(model, NS1, NS2)
    await model.ask("dns.roles", master=NS3, slave1=NS4)
    begun = await model.approved("dns.apply", allow_fewer=False)
    assert begun["delegations"] == ["z0.test"]
    await step(model)
    assert await served(model, "z0.test") == {NS1: "master", NS2: f"from {NS1}", NS3: "master"}
    assert await published(model, "z0.test", NS3) == [f"{NS1}.", f"{NS2}."]
    await applied(model)
    await step(model)
    all_four = {NS3: "master", **dict.fromkeys((NS1, NS2, NS4), f"from {NS3}")}
    assert await served(model, "z0.test") == all_four
    assert await published(model, "z0.test", NS3) == [f"{NS1}.", f"{NS2}."]
    await applied(model, "ns1", "ns2", "ns3")
    assert await step(model) == "waiting"  # ns4 does not answer yet: nobody is told of it
    await applied(model)
    assert await step(model) == "moved"
    assert await published(model, "z0.test", NS3) == [f"{NS3}.", f"{NS4}."]
    await to_the_end(model)
    shown = await model.ask("dns.progress", id=begun["move"])
    assert (shown["leaving"], shown["moved"], shown["state"]) == (1, 0, "running")
    ttl = 3600
    await to_the_end(model, NOW + ttl + GRACE_SECONDS - 1)
    assert await served(model, "z0.test") == all_four
    await to_the_end(model, NOW + ttl + GRACE_SECONDS)
    assert await served(model, "z0.test") == {NS3: "master", NS4: f"from {NS3}"}
    assert (await model.ask("dns.progress", id=begun["move"]))["state"] == "done"


@pytest_twisted.ensureDeferred
async def test_a_third_name_server_is_filled_and_the_master_stays(model: Model) -> None:
    await hosted(model, 2)
    await name_servers(model, 3)
    begun = await model.approved("dns.apply")
    assert (begun["change_master"], begun["change_servers"], begun["others"]) == (0, 2, [NS3])
    await to_the_end(model)
    for zone in ("z0.test", "z1.test"):
        assert await served(model, zone) == {
            NS1: "master",
            NS2: f"from {NS1}",
            NS3: f"from {NS1}",
        }
        assert await published(model, zone, NS1) == [f"{NS1}.", f"{NS2}.", f"{NS3}."]


@pytest_twisted.ensureDeferred
async def test_moves_that_cannot_be_are_refused(model: Model) -> None:
    await hosted(model)
    await name_servers(model, 3)
    await model.approved("dns.apply")
    assert (await model.refused("dns.apply")).id == "dns.apply.running"
    await to_the_end(model)
    await closed(model, NS3)
    error = await model.refused("dns.apply")
    assert (error.id, error.field) == ("dns.apply.fewer", "allow_fewer")
    assert (await model.approved("dns.apply", allow_fewer=True))["zones"] == 1
    await to_the_end(model)
    await model.ask("dns.roles")
    assert (await model.refused("dns.apply")).id == "dns.apply.no-roles"
    assert (await model.refused("dns.progress", id=99)).id == "dns.move.unknown"
    assert (await model.refused("dns.stop", id=99)).id == "dns.move.unknown"


@pytest_twisted.ensureDeferred
async def test_stopped_it_takes_no_more_zones_and_ends_those_on_their_way(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone_mover, "PART", 2)
    await hosted(model, 5)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    move = (await model.approved("dns.apply"))["move"]
    await step(model)
    stopped = await model.ask("dns.stop", id=move)
    assert (stopped["state"], stopped["under_way"]) == ("stopped", 2)
    again = await model.approved("dns.apply")
    assert again["zones"] == 3  # those on their way are not counted again
    await model.ask("dns.stop", id=again["move"])
    await to_the_end(model)
    shown = await model.ask("dns.progress", id=move)
    assert (shown["moved"], shown["state"], shown["under_way"]) == (2, "stopped", 0)
    assert shown["ended_at"] is not None
    swapped = [await served(model, f"z{number}.test") for number in range(5)]
    assert [zone[NS2] == "master" for zone in swapped] == [True, True, False, False, False]


@pytest_twisted.ensureDeferred
async def test_zones_on_their_way_are_left_to_their_own_move(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone_mover, "PART", 1)
    await hosted(model, 2)
    await name_servers(model, 3, 4)
    await closed(model, NS1, NS2)
    await model.ask("dns.roles", master=NS3, slave1=NS4)
    move = (await model.approved("dns.apply"))["move"]
    await step(model)
    await model.ask("dns.stop", id=move)
    again = await model.approved("dns.apply")
    assert (again["zones"], again["on_their_way"]) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_edits_and_deletions_of_zones_on_their_way_hold(model: Model) -> None:
    await hosted(model, 2)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    move = (await model.approved("dns.apply"))["move"]
    await step(model)
    await model.ask("record.add", domain="z0.test", name="new", type="A", values=("192.0.2.77",))
    await model.ask("domain.delete", name="z1.test")
    await to_the_end(model)
    records = (await model.objects(NS2))["zone", "z0.test"]["records"]
    assert "192.0.2.77" in [record["data"] for record in records]
    assert await served(model, "z1.test") == {}
    shown = await model.ask("dns.progress", id=move)
    assert (shown["state"], shown["moved"]) == ("done", 1)


@pytest_twisted.ensureDeferred
async def test_a_retired_box_is_not_waited_for(model: Model) -> None:
    await hosted(model)
    await name_servers(model, 3)
    await closed(model, NS1)
    await model.ask("dns.roles", master=NS2, slave1=NS3)
    move = (await model.approved("dns.apply"))["move"]
    await step(model)
    await applied(model, "ns2", "ns3")
    await step(model)
    await applied(model, "ns2", "ns3")
    assert await step(model) == "waiting"
    await model.write("UPDATE box SET retired_at = now() WHERE name = 'ns1'")
    assert await step(model) == "moved"
    for now in (NOW, NOW, NOW + 10_000, NOW + 10_000, NOW + 10_000):
        await applied(model, "ns2", "ns3")
        await step(model, now)
    assert await served(model, "z0.test") == {NS2: "master", NS3: f"from {NS2}"}
    assert (await model.ask("dns.progress", id=move))["state"] == "done"


@pytest_twisted.ensureDeferred
async def test_the_service_zone_keeps_its_servers(model: Model) -> None:
    await hosted(model)
    before = await served(model, "example.net")
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    await model.approved("dns.apply")
    await to_the_end(model)
    assert await served(model, "example.net") == before


@pytest_twisted.ensureDeferred
async def test_customers_see_no_moves(model: Model) -> None:
    await hosted(model)
    ((account,),) = await model.rows("SELECT id FROM account")
    customer = Principal("account", "account:acme", account=account)
    with pytest.raises(Exception, match="not permitted"):
        await model.run_as(customer, "dns.apply")

    async def read(tx: Transaction) -> list[tuple[Any, ...]]:
        return await tx.rows("SELECT 1 FROM zone_move")

    await model.ask("dns.roles", master=NS2, slave1=NS1)
    await model.approved("dns.apply")
    assert await model.database.transaction(customer, read, name="test") == []
