"""Logical servers: their groups, types, deletion and moves, one test for each rule."""

import pytest_twisted

from controller.cluster.servers.groups import GROUPS
from templates.registry import KNOWN_TYPES, SERVICE_TYPES
from tests.integration.logical_servers import TYPES, one_of_each
from tests.integration.model import Model


@pytest_twisted.ensureDeferred
async def test_a16_every_group_has_a_type_and_a_server_of_each_can_be_added(model: Model) -> None:
    assert {group for group, _ in TYPES.values()} == set(GROUPS)
    assert set(TYPES) == set(KNOWN_TYPES)
    await one_of_each(model)
    for type_ in TYPES:
        shown = await model.ask("lserver.show", name=f"{type_}.example.net")
        assert (shown["signup"], shown["modelled"]) == (False, type_ not in SERVICE_TYPES)
        (lane,) = shown["lanes"]
        assert (lane["condition"] == "modelled") == shown["modelled"]
        assert ("no box runs" in lane["message"]) == shown["modelled"]
    lanes = (await model.ask("status.show"))["lanes"]
    assert {lane["type"]: lane["condition"] == "modelled" for lane in lanes} == {
        type_: type_ not in SERVICE_TYPES for type_ in TYPES
    }


@pytest_twisted.ensureDeferred
async def test_a_modelled_server_has_an_address_and_a_name_but_no_object(model: Model) -> None:
    await model.cluster()
    await model.box("mail1", 7, ("mail",))
    await model.server("mail1", "mail", "qmail")
    done = await model.run(
        "ip.add", lserver="mail1.example.net", first="192.0.2.7", mask="24", type="service"
    )
    assert done.result["added"][0]["port"] == 25
    assert await model.objects("mail1.example.net") == {}
    zone = (await model.objects("ns1.example.net"))["zone", "example.net"]
    assert {"owner": "mail1", "ttl": 3600, "type": "A", "data": "192.0.2.7"} in zone["records"]


@pytest_twisted.ensureDeferred
async def test_groups_are_listed_with_their_types_and_what_they_hold(model: Model) -> None:
    await model.cluster()
    listed = {group["name"]: group for group in (await model.ask("group.list"))["items"]}
    assert set(listed) == set(GROUPS)
    dns, web, mail = listed["dns"], listed["web"], listed["mail"]
    assert (dns["boxes"], dns["logical_servers"], dns["open_for_signup"]) == (2, 2, 2)
    assert (web["boxes"], web["logical_servers"], web["open_for_signup"]) == (1, 1, 1)
    assert (mail["boxes"], mail["logical_servers"]) == (0, 0)
    assert [(t["name"], t["modelled"]) for t in mail["types"]] == [("qmail", True)]
    assert (web["addresses"], mail["addresses"]) == ("shared and dedicated", "service")
    first = await model.ask("group.list", limit=4)
    second = await model.ask("group.list", limit=100, cursor=first["next"])
    names = [group["name"] for group in (*first["items"], *second["items"])]
    assert names == sorted(GROUPS)


@pytest_twisted.ensureDeferred
async def test_r266_a_type_does_not_stand_on_a_system_that_it_does_not_run_on(
    model: Model,
) -> None:
    await model.box("b1", 1, ("windows",))
    error = await model.refused(
        "lserver.add", name="w.example.net", group="windows", type="iis", pserver="b1"
    )
    assert (error.id, error.field) == ("lserver.type.platform", "pserver")


# --- settings -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_r288_a_refused_deletion_lists_what_uses_the_server(model: Model) -> None:
    await model.shop()
    error = await model.refused("lserver.delete", name="web1.example.net")
    assert error.message == "the server has 1 site, 1 address"
    error = await model.refused("lserver.delete", name="ns1.example.net")
    assert error.message == "the server has 2 zones, 1 address"


@pytest_twisted.ensureDeferred
async def test_r268_a_description_is_edited(model: Model) -> None:
    await model.cluster()
    first = await model.run("lserver.edit", name="web1.example.net", description="for shops")
    again = await model.run("lserver.edit", name="web1.example.net", description="for shops")
    shown = await model.ask("lserver.show", name="web1.example.net")
    assert (shown["description"], first.change_id is None, again.change_id) == (
        "for shops",
        False,
        None,
    )
    error = await model.refused("lserver.edit", name="web1.example.net", description="two\nlines")
    assert error.id == "text.invalid"


# --- moves ----------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_r261_a_name_server_without_an_address_moves_to_the_second_box(model: Model) -> None:
    await model.box("b1", 1, ("dns",))
    await model.server("ns1", "dns", "bind", "b1")
    await model.server("ns2", "dns", "bind", "b1")
    await model.box("b2", 2, ("dns",))
    answer = await model.ask("lserver.move", name="ns2.example.net", to="b2")
    assert answer["pserver"] == "b2"
    shown = await model.ask("lserver.show", name="ns2.example.net")
    assert [lane["pserver"] for lane in shown["lanes"]] == ["b2"]
    again = await model.run("lserver.move", name="ns2.example.net", to="b2")
    assert again.change_id is None


@pytest_twisted.ensureDeferred
async def test_a_server_that_answers_is_not_moved(model: Model) -> None:
    await model.cluster()
    await model.box("ns3", 9, ("dns",))
    error = await model.refused("lserver.move", name="ns1.example.net", to="ns3")
    assert (error.id, error.status) == ("lserver.move.serving", 409)
    shown = await model.ask("lserver.show", name="ns1.example.net")
    assert [lane["pserver"] for lane in shown["lanes"]] == ["ns1"]


@pytest_twisted.ensureDeferred
async def test_a_move_obeys_the_rules_of_the_box(model: Model) -> None:
    await model.box("b1", 1, ("dns",))
    await model.box("b2", 2, ("web",))
    await model.server("ns1", "dns", "bind", "b1")
    error = await model.refused("lserver.move", name="ns1.example.net", to="b2")
    assert error.id == "lserver.group.not-on-box"


# --- roles ----------------------------------------------------------------------------------------


# --- records --------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_r273_the_records_of_a_server_are_generated_and_shown(model: Model) -> None:
    await model.cluster()
    shown = await model.ask("lserver.records", name="web1.example.net")
    assert (shown["in_service_zone"], shown["missing"]) == (True, [])
    (record,) = shown["records"]
    assert (record["fqdn"], record["type"], record["data"], record["generated"]) == (
        "web1.example.net",
        "A",
        "192.0.2.3",
        True,
    )


@pytest_twisted.ensureDeferred
async def test_r276_records_of_a_name_outside_the_service_domain_are_told(model: Model) -> None:
    await model.cluster()
    await model.box("web2", 9, ("web",))
    await model.ask(
        "lserver.add", name="web2.other.test", group="web", type="apache", pserver="web2"
    )
    await model.ask(
        "ip.add", lserver="web2.other.test", first="2001:db8::9", mask="64", type="shared"
    )
    shown = await model.ask("lserver.records", name="web2.other.test")
    assert (shown["in_service_zone"], shown["records"]) == (False, [])
    assert shown["missing"] == [
        {"fqdn": "web2.other.test", "type": "AAAA", "ttl": 3600, "data": "2001:db8::9"}
    ]
