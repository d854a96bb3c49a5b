"""A server is renumbered phase by phase, and no phase too early (R357)."""

from typing import Any

import pytest
import pytest_twisted

from controller.hosting.moves import GRACE_SECONDS
from controller.principal import Principal
from controller.storage.database import Transaction
from tests.integration.address_moves import (
    LATER,
    NEW,
    OLD,
    WEB1,
    WEB_NEW,
    WEB_OLD,
    listening,
    peers,
    phase,
    published,
    step,
    to_the_end,
    until,
)
from tests.integration.applying import applied
from tests.integration.hosted import NS1, NS2, hosted
from tests.integration.model import NOW, Model


@pytest_twisted.ensureDeferred
async def test_r357_a_name_server_is_renumbered_make_before_break(model: Model) -> None:
    await hosted(model)
    begun = await model.ask("ip.move", ip=OLD, new=NEW)
    assert (begun["zones"], begun["sites"], begun["parents"]) == (2, 0, ["example.net"])
    move = begun["move"]
    assert await listening(model, NS1) == [OLD]
    assert await step(model) == "moved"
    assert await listening(model, NS1) == [OLD, NEW]
    for _ in range(3):  # the box has not said that it listens: nobody else is told
        assert await step(model) == "waiting"
    assert await peers(model, "z0.test") == {NS1: ["192.0.2.2"], NS2: [OLD]}

    await until(model, move, "announced")
    await applied(model, "ns1")
    while await step(model) == "moved":
        pass
    assert await peers(model, "z0.test") == {NS1: ["192.0.2.2"], NS2: [OLD, NEW]}
    for _ in range(3):  # ns2 does not know the new one yet: nothing leaves from there
        assert await step(model) == "waiting"
    assert await listening(model, NS1) == [OLD, NEW]
    assert await published(model, "example.net", "ns1") == [OLD]

    await until(model, move, "switched")
    assert await listening(model, NS1) == [NEW, OLD]
    assert await published(model, "example.net", "ns1") == [NEW]
    assert await peers(model, "z0.test") == {NS1: ["192.0.2.2"], NS2: [OLD, NEW]}
    assert (await model.ask("lserver.records", name=NS1))["missing"] == []

    await until(model, move, "outlasting")
    assert await peers(model, "z0.test") == {NS1: ["192.0.2.2"], NS2: [NEW]}
    assert await peers(model, "example.net") == {NS1: ["192.0.2.2"], NS2: [NEW]}
    await to_the_end(model, LATER - 1)
    assert await listening(model, NS1) == [NEW, OLD]
    await to_the_end(model, LATER)
    assert await listening(model, NS1) == [NEW]
    shown = await model.ask("ip.progress", id=move)
    assert (shown["state"], shown["phase"], shown["old_until"]) == ("done", "ended", None)
    assert shown["ended_at"] is not None
    assert [row["ip"] for row in (await model.ask("ip.list", lserver=NS1))["items"]] == [NEW]
    assert await step(model, LATER) == "idle"


@pytest_twisted.ensureDeferred
async def test_a_slave_is_renumbered_and_its_master_lets_it_transfer_all_the_time(
    model: Model,
) -> None:
    await hosted(model)
    move = (await model.ask("ip.move", ip="192.0.2.2", new="192.0.2.102"))["move"]
    await until(model, move, "switched")
    assert (await peers(model, "z0.test"))[NS1] == ["192.0.2.102", "192.0.2.2"]
    await until(model, move, "outlasting")
    assert (await peers(model, "z0.test"))[NS1] == ["192.0.2.102"]
    await to_the_end(model, LATER)
    assert await listening(model, NS2) == ["192.0.2.102"]


@pytest_twisted.ensureDeferred
async def test_r17_to_r27_a_web_servers_records_follow_and_nothing_else(model: Model) -> None:
    names = await hosted(model, 3)
    await model.ask("record.set", domain="z1.test", name="www", type="A", values=(WEB_OLD,))
    await model.ask("record.add", domain="z2.test", name="ftp", type="A", values=(WEB_OLD,))
    before = await model.rows(
        "SELECT z.name, r.name, r.type, r.data FROM record r JOIN zone z ON z.id = r.zone_id"
    )
    begun = await model.ask("ip.move", ip=WEB_OLD, new=WEB_NEW)
    assert (begun["zones"], begun["sites"], begun["parents"]) == (0, 3, [])
    by_hand = [{"zone": "z1.test", "name": "www"}, {"zone": "z2.test", "name": "ftp"}]
    assert begun["by_hand"] == [{**one, "type": "A", "data": WEB_OLD} for one in by_hand]
    await until(model, begun["move"], "listening")
    assert await listening(model, WEB1) == [WEB_OLD, WEB_NEW]
    assert await published(model, "z0.test", "@") == [WEB_OLD]
    await until(model, begun["move"], "switched")
    assert await published(model, "example.net", "web1") == [WEB_NEW]
    assert await published(model, "z0.test", "@") == [WEB_OLD]
    await model.ask("domain.add", name="new.test", account="acme")
    assert await published(model, "new.test", "@") == [WEB_NEW]
    await until(model, begun["move"], "outlasting")
    await to_the_end(model, LATER - 1)
    assert await listening(model, WEB1) == [WEB_NEW, WEB_OLD]
    await to_the_end(model, LATER)
    assert await listening(model, WEB1) == [WEB_NEW]
    kept = {("z1.test", "www"), ("z2.test", "ftp")}
    followed = {
        (zone, name, kind, WEB_NEW if data == WEB_OLD and (zone, name) not in kept else data)
        for zone, name, kind, data in before
    }
    after = await model.rows(
        """SELECT z.name, r.name, r.type, r.data FROM record r JOIN zone z ON z.id = r.zone_id
           WHERE z.name <> 'new.test'"""
    )
    assert set(after) == followed
    assert (await model.ask("site.show", name=names[0]))["address"] == WEB_NEW


@pytest_twisted.ensureDeferred
async def test_the_old_address_answers_until_the_last_record_has_run_out(model: Model) -> None:
    await hosted(model)
    await model.write("UPDATE record SET ttl = 86400 WHERE generated AND data = %s", (WEB_OLD,))
    move = (await model.ask("ip.move", ip=WEB_OLD, new=WEB_NEW))["move"]
    await until(model, move, "outlasting")
    await to_the_end(model, NOW + 86400 + GRACE_SECONDS - 1)
    assert await listening(model, WEB1) == [WEB_NEW, WEB_OLD]
    await to_the_end(model, NOW + 86400 + GRACE_SECONDS)
    assert await listening(model, WEB1) == [WEB_NEW]


@pytest_twisted.ensureDeferred
async def test_the_old_address_is_kept_as_long_as_was_asked_for(model: Model) -> None:
    await hosted(model)
    begun = await model.ask("ip.move", ip=OLD, new=NEW, keep_hours=48)
    assert begun["old_answers_seconds"] == 48 * 3600
    await until(model, begun["move"], "outlasting")
    await to_the_end(model, NOW + 48 * 3600 - 1)
    assert await listening(model, NS1) == [NEW, OLD]
    await to_the_end(model, NOW + 48 * 3600)
    assert await listening(model, NS1) == [NEW]


@pytest_twisted.ensureDeferred
async def test_a_name_servers_own_address_in_a_customers_zone_follows(model: Model) -> None:
    await hosted(model)
    await model.write(
        """INSERT INTO record (zone_id, owner_id, name, type, ttl, data, generated)
           SELECT id, owner_id, made, 'A', 7200, %s, true
           FROM zone, unnest(ARRAY['ns1', 'other']) AS made WHERE zone.name = 'z0.test'""",
        (OLD,),
    )
    await model.write("UPDATE logical_server SET name = 'ns1.z0.test' WHERE name = %s", (NS1,))
    begun = await model.ask("ip.move", ip=OLD, new=NEW)
    assert begun["parents"] == ["z0.test"]
    assert begun["name_by_hand"] == ""
    await until(model, begun["move"], "outlasting")
    assert await published(model, "z0.test", "ns1") == [NEW]
    assert await published(model, "z0.test", "other") == [OLD]
    await to_the_end(model, NOW + 7200 + GRACE_SECONDS - 1)
    assert await phase(model, begun["move"]) == "outlasting"
    await to_the_end(model, NOW + 7200 + GRACE_SECONDS)
    assert await phase(model, begun["move"]) == "ended"


@pytest_twisted.ensureDeferred
async def test_a_modelled_server_is_renumbered_in_model_and_records(model: Model) -> None:
    await hosted(model)
    await model.box("db1", 9, ("mysql",))
    await model.server("db1", "mysql", "mysql")
    await model.ask(
        "ip.add", lserver="db1.example.net", first="192.0.2.9", mask="24", type="service"
    )
    move = (await model.ask("ip.move", ip="192.0.2.9", new="192.0.2.109", mask="32"))["move"]
    await until(model, move, "outlasting")
    assert await published(model, "example.net", "db1") == ["192.0.2.109"]
    (own, second) = (await model.ask("ip.list", lserver="db1.example.net"))["items"]
    assert (own["ip"], own["prefix"], own["type"], own["move"]) == (
        "192.0.2.109",
        32,
        "service",
        move,
    )
    assert (second["ip"], second["type"]) == ("192.0.2.9", "second")
    await to_the_end(model, LATER)
    assert len((await model.ask("ip.list", lserver="db1.example.net"))["items"]) == 1


@pytest_twisted.ensureDeferred
async def test_a_dedicated_address_is_up_beside_the_old_one(model: Model) -> None:
    await hosted(model)
    old, new = "192.0.2.50", "192.0.2.60"
    await model.ask("ip.add", lserver=WEB1, first=old, mask="24", type="dedicated")
    await model.ask("site.address", name="z0.test", type="dedicated")
    move = (await model.ask("ip.move", ip=old, new=new))["move"]
    await until(model, move, "listening")
    objects = await model.objects(WEB1)
    assert {key for kind, key in objects if kind == "address"} == {old, new}
    assert await listening(model, WEB1) == [WEB_OLD]
    await until(model, move, "outlasting")
    assert await published(model, "z0.test", "@") == [new]
    await to_the_end(model, LATER)
    objects = await model.objects(WEB1)
    assert {key for kind, key in objects if kind == "address"} == {new}
    ((requires,),) = await model.rows(
        "SELECT requires FROM desired_object WHERE kind = 'site' AND key = 'z0.test'"
    )
    assert requires == [["address", new]]


@pytest_twisted.ensureDeferred
async def test_moves_that_cannot_be_are_refused(model: Model) -> None:
    await hosted(model)
    ids = {
        "ip.unknown": {"ip": "192.0.2.200", "new": NEW},
        "ip.endpoint.taken": {"ip": OLD, "new": "192.0.2.2"},
        "ip.move.same": {"ip": OLD, "new": OLD},
        "ip.move.family": {"ip": OLD, "new": "2001:db8::1"},
        "ip.address.invalid": {"ip": OLD, "new": "nonsense"},
        "ip.mask.invalid": {"ip": OLD, "new": NEW, "mask": "99"},
        "ip.move.keep": {"ip": OLD, "new": NEW, "keep_hours": 100_000},
    }
    for id_, fields in ids.items():
        assert (await model.refused("ip.move", **fields)).id == id_
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    for command, fields in (
        ("ip.move", {"ip": OLD, "new": "192.0.2.111"}),
        ("ip.move", {"ip": NEW, "new": "192.0.2.111"}),
        ("ip.delete", {"ip": NEW}),
        ("ip.delete", {"ip": OLD}),
        ("ip.edit", {"ip": OLD, "mask": "32"}),
        ("ip.edit", {"ip": NEW, "mask": "32"}),
    ):
        error = await model.refused(command, **fields)
        assert (error.id, str(move) in error.allowed) == ("ip.moving", True)
    taken = await model.refused("ip.add", lserver=NS2, first=NEW, mask="24", type="service")
    assert taken.id == "ip.endpoint.taken"
    for command in ("ip.progress", "ip.stop"):
        assert (await model.refused(command, id=99)).id == "ip.move.unknown"


@pytest_twisted.ensureDeferred
async def test_r340_the_control_panel_stays_at_the_address_of_its_box(model: Model) -> None:
    await model.cluster()
    await model.box("cp", 9, ("control-panel",))
    await model.server("cp", "control-panel", "control-panel")
    await model.ask(
        "ip.add", lserver="cp.example.net", first="198.51.100.9", mask="24", type="service"
    )
    error = await model.refused("ip.move", ip="198.51.100.9", new="198.51.100.10")
    assert error.id == "ip.service.of-the-box"


@pytest.mark.parametrize("stopped_in", ["begun", "listening", "announced"])
@pytest_twisted.ensureDeferred
async def test_stopped_before_the_switch_all_is_as_it_was(model: Model, stopped_in: str) -> None:
    await hosted(model)
    everything = "SELECT kind, key, spec FROM desired_object ORDER BY logical_server_id, kind, key"
    before = await model.rows(everything), await model.ask("ip.list")
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    await until(model, move, stopped_in)
    await step(model)
    await model.ask("ip.stop", id=move)
    assert (await model.ask("ip.stop", id=move))["state"] == "stopped"
    await to_the_end(model)
    shown = await model.ask("ip.progress", id=move)
    assert (shown["state"], shown["phase"]) == ("stopped", "ended")
    assert (await model.rows(everything), await model.ask("ip.list")) == before


@pytest_twisted.ensureDeferred
async def test_after_the_switch_it_is_not_stopped_but_moved_back(model: Model) -> None:
    await hosted(model)
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    await until(model, move, "switched")
    error = await model.refused("ip.stop", id=move)
    assert (error.id, f"hsctl ip move {NEW} {OLD}" in error.allowed) == ("ip.move.switched", True)
    await to_the_end(model, LATER)
    await to_the_end(model, LATER + LATER)
    await model.ask("ip.move", ip=NEW, new=OLD)
    await to_the_end(model, LATER + LATER)
    await to_the_end(model, LATER + LATER + LATER)
    assert await listening(model, NS1) == [OLD]


@pytest_twisted.ensureDeferred
async def test_customers_neither_move_addresses_nor_see_moves(model: Model) -> None:
    await hosted(model)
    ((account,),) = await model.rows("SELECT id FROM account")
    customer = Principal("account", "account:acme", account=account)
    with pytest.raises(Exception, match="not permitted"):
        await model.run_as(customer, "ip.move", ip=OLD, new=NEW)

    async def read(tx: Transaction) -> list[tuple[Any, ...]]:
        return await tx.rows("SELECT 1 FROM address_move")

    await model.ask("ip.move", ip=OLD, new=NEW)
    assert await model.database.transaction(customer, read, name="test") == []


@pytest_twisted.ensureDeferred
async def test_an_export_has_the_address_that_people_know(model: Model) -> None:
    await hosted(model)
    before = await model.ask("model.export")
    await model.ask("ip.move", ip=OLD, new=NEW)
    assert await model.ask("model.export") == before
    await to_the_end(model)
    after = str(await model.ask("model.export"))
    assert (f"{NEW}" in after, f"'{OLD}'" in after) == (True, False)
    assert (await model.ask("health.list"))["counts"]["refuse"] == 0


@pytest_twisted.ensureDeferred
async def test_moves_are_listed_the_newest_first(model: Model) -> None:
    await hosted(model)
    first = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    last = (await model.ask("ip.move", ip=WEB_OLD, new=WEB_NEW))["move"]
    listed = (await model.ask("ip.moves"))["items"]
    assert [(one["id"], one["old"]) for one in listed] == [(last, WEB_OLD), (first, OLD)]
    (own,) = (await model.ask("ip.moves", lserver=NS1))["items"]
    assert (own["id"], own["may_stop"]) == (first, True)
