"""Zones that exist go where the roles want them, phase by phase, and no phase too early."""

from random import Random
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.hosting import zone_mover
from controller.hosting.job import REHEARSED
from controller.hosting.zone_mover import PART, ZoneMover, advance
from controller.hosting.zone_phases import GRACE_SECONDS
from controller.principal import Principal, system
from controller.storage.database import Rollback, Transaction
from tests.integration.applying import applied, name_servers
from tests.integration.model import NOW, Model
from tests.integration.rehearsals import rehearse

NS1, NS2, NS3, NS4 = (f"ns{number}.example.net" for number in range(1, 5))


async def closed(model: Model, *servers: str) -> None:
    """Have name servers take no new zones: roles then want none on them."""
    for server in servers:
        await model.ask("lserver.signup", name=server, signup=False)


async def zones(model: Model, count: int = 1) -> list[str]:
    """Make the cluster, with ``count`` zones that have ns1 as master and ns2 as slave."""
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.ask("dns.roles", master=NS1, slave1=NS2)
    names = [f"z{number}.test" for number in range(count)]
    for name in names:
        await model.ask("domain.add", name=name, account="acme")
    await applied(model)
    return names


async def step(model: Model, now: float = NOW) -> str:
    async def work(tx: Transaction) -> str:
        return await advance(tx, now=now, draw=Random(3))

    outcome: str = await model.database.transaction(system("test"), work, name="test")
    return outcome


async def to_the_end(model: Model, now: float = NOW) -> None:
    """Let the boxes apply each phase, until nothing is left to do now."""
    for _ in range(100):
        await applied(model)
        if await step(model, now) != "moved":
            return
    raise AssertionError("the move does not end")


async def served(model: Model, zone: str) -> dict[str, str]:
    """Give what each server has of a zone: ``master``, or whom it takes the zone from."""
    found = {}
    names = {
        address: name
        for name, address in await model.rows(
            """SELECT s.name, host(i.address) FROM logical_server s
           JOIN ip_address i ON i.logical_server_id = s.id AND s.group_name = 'dns'"""
        )
    }
    for server in names.values():
        spec = (await model.objects(server)).get(("zone", zone))
        if spec is not None:
            masters = [names[master["address"]] for master in spec.get("masters", ())]
            found[server] = "master" if spec["role"] == "master" else f"from {masters[0]}"
    return found


async def published(model: Model, zone: str, server: str) -> list[str]:
    spec = (await model.objects(server))["zone", zone]
    return sorted(record["data"] for record in spec["records"] if record["type"] == "NS")


async def serial(model: Model, zone: str) -> int:
    ((found,),) = await model.rows("SELECT serial FROM zone WHERE name = %s", (zone,))
    return int(found)


@pytest_twisted.ensureDeferred
async def test_r358_a_swap_of_master_and_slave_is_make_before_break(model: Model) -> None:
    await zones(model)
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
    await zones(model)
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
    await zones(model)
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
    await zones(model, 2)
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
async def test_a_dry_run_counts_and_writes_nothing(model: Model) -> None:
    await zones(model, 3)
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
    await zones(model, 2)
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
    await zones(model, 0)
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
    await zones(model)
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
    await zones(model, REHEARSED + 1)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    rehearsal = await rehearse(model, "dns.apply")
    assert [len(told) for told in rehearsal.told.values()] == [REHEARSED, REHEARSED]
    words = f"boxes can tell what becomes of the first {REHEARSED} of these zones"
    assert words in rehearsal.plan.words
    assert rehearsal.plan.differences is not None
    notes = " ".join(words for lane in rehearsal.plan.differences for words in lane.words)
    assert "too many" not in notes


@pytest_twisted.ensureDeferred
async def test_moves_that_cannot_be_are_refused(model: Model) -> None:
    await zones(model)
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
async def test_a_wide_move_goes_in_parts_of_a_bounded_size(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PART * 6 <= 500
    monkeypatch.setattr(zone_mover, "PART", 2)
    await zones(model, 5)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    begun = await model.approved("dns.apply")
    await step(model)
    assert await step(model) == "waiting"  # no more than a part is on its way
    assert (await model.ask("dns.progress", id=begun["move"]))["under_way"] == 2
    await to_the_end(model)
    shown = (await model.ask("dns.moves"))["items"]
    assert [(one["id"], one["moved"], one["state"]) for one in shown] == [
        (begun["move"], 5, "done")
    ]
    parts = await model.rows(
        """SELECT request->>'phase', (request->>'zones')::int FROM change
           WHERE command = 'dns.move' AND request->>'move' = %s ORDER BY id""",
        (str(begun["move"]),),
    )
    assert parts == [(phase, n) for n in (2, 2, 1) for phase in ("promoted", "following")]


@pytest_twisted.ensureDeferred
async def test_zones_that_a_box_refuses_do_not_hold_back_the_others(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone_mover, "PART", 2)
    await zones(model, 5)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    move = (await model.approved("dns.apply"))["move"]
    await step(model)
    await model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome)
           SELECT l.box_id, s.id, 'zone', zone, 1000000, 'quarantined'
           FROM unnest(ARRAY['z0.test', 'z1.test']) AS zone, logical_server s
           JOIN lane l ON l.logical_server_id = s.id WHERE s.name = %s""",
        (NS2,),
    )
    await applied(model)
    assert await step(model) == "waiting"  # it is noted now
    await to_the_end(model)
    shown = await model.ask("dns.progress", id=move)
    assert (shown["moved"], shown["failed"], shown["state"]) == (3, 2, "running")


@pytest_twisted.ensureDeferred
async def test_stopped_it_takes_no_more_zones_and_ends_those_on_their_way(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone_mover, "PART", 2)
    await zones(model, 5)
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
    await zones(model, 2)
    await name_servers(model, 3, 4)
    await closed(model, NS1, NS2)
    await model.ask("dns.roles", master=NS3, slave1=NS4)
    move = (await model.approved("dns.apply"))["move"]
    await step(model)
    await model.ask("dns.stop", id=move)
    again = await model.approved("dns.apply")
    assert (again["zones"], again["on_their_way"]) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_a_part_that_was_not_committed_never_was(model: Model) -> None:
    """What a kill -9 within a part leaves: the transaction is rolled back, and done anew."""
    await zones(model, 2)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    move = (await model.approved("dns.apply"))["move"]
    for _ in range(3):  # each of the phases, and the end

        async def killed(tx: Transaction) -> None:
            await advance(tx, now=NOW, draw=Random(3))
            raise Rollback(None)

        tables = "SELECT * FROM zone_move_zone ORDER BY zone_id"
        before = (await model.footprint(), await model.rows(tables))
        await model.database.transaction(system("test"), killed, name="test")
        assert (await model.footprint(), await model.rows(tables)) == before
        assert await step(model) == "moved"
        await applied(model)
    await to_the_end(model)
    assert (await model.ask("dns.progress", id=move))["moved"] == 2


@pytest_twisted.ensureDeferred
async def test_edits_and_deletions_of_zones_on_their_way_hold(model: Model) -> None:
    await zones(model, 2)
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
    await zones(model)
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
    await zones(model)
    before = await served(model, "example.net")
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    await model.approved("dns.apply")
    await to_the_end(model)
    assert await served(model, "example.net") == before


@pytest_twisted.ensureDeferred
async def test_customers_see_no_moves(model: Model) -> None:
    await zones(model)
    ((account,),) = await model.rows("SELECT id FROM account")
    customer = Principal("account", "account:acme", account=account)
    with pytest.raises(Exception, match="not permitted"):
        await model.run_as(customer, "dns.apply")

    async def read(tx: Transaction) -> list[tuple[Any, ...]]:
        return await tx.rows("SELECT 1 FROM zone_move")

    await model.ask("dns.roles", master=NS2, slave1=NS1)
    await model.approved("dns.apply")
    assert await model.database.transaction(customer, read, name="test") == []


# --- the job --------------------------------------------------------------------------------------


async def until(condition: Any) -> None:
    while not await condition():
        await deferLater(reactor, 0.01, lambda: None)


@pytest_twisted.ensureDeferred
async def test_another_controller_goes_on_where_the_first_was_killed(model: Model) -> None:
    await zones(model)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    move = (await model.approved("dns.apply"))["move"]
    assert await step(model) == "moved"  # the one that is killed now
    await applied(model)
    second = ZoneMover(model.database, reactor, lambda: float(NOW), Random(4))
    await second.start()
    try:

        async def followed() -> bool:
            return (await served(model, "z0.test"))[NS1] == f"from {NS2}"

        await until(followed)
        await applied(model)

        async def ended() -> bool:
            return bool((await model.ask("dns.progress", id=move))["ended_at"])

        await until(ended)
    finally:
        await second.stop()


@pytest_twisted.ensureDeferred
async def test_one_controller_moves_at_a_time(model: Model, database_url: str) -> None:
    await zones(model)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    await model.approved("dns.apply")
    other = psycopg2.connect(database_url)  # as another controller that writes a part now
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (zone_mover.LOCK,))
        before = await model.footprint()
        assert await step(model) == "idle"
        assert await model.footprint() == before
    finally:
        other.close()
    while await step(model) != "moved":  # once the server has noticed the end of that connection
        pass
