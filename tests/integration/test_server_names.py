"""A logical server gets another name, and what names it follows (R264)."""

import pytest
import pytest_twisted

from tests.integration.model import Model

WEB, NEW = "web1.example.net", "www1.example.net"


async def addresses_of(model: Model, name: str) -> list[str]:
    found = await model.rows(
        """SELECT r.data FROM record r JOIN zone z ON z.id = r.zone_id
           WHERE z.name = 'example.net' AND r.name = %s AND r.type = 'A'""",
        (name,),
    )
    return [data for (data,) in found]


@pytest_twisted.ensureDeferred
async def test_r264_a_web_servers_records_and_object_follow_its_name(model: Model) -> None:
    await model.shop()
    hand = {"name": "ftp", "type": "CNAME", "values": (f"{WEB}.",)}
    await model.ask("record.add", domain="shop.test", **hand)
    mail = {"name": "@", "type": "MX", "values": (f"10 {WEB}.",)}
    await model.ask("record.add", domain="shop.test", **mail)
    answer = await model.ask("lserver.rename", name=WEB, to="WWW1.example.net.")
    assert (answer["name"], answer["was"], answer["parents"]) == (NEW, WEB, [])
    assert [(one["name"], one["type"]) for one in answer["by_hand"]] == [
        ("@", "MX"),
        ("ftp", "CNAME"),
    ]
    assert await addresses_of(model, "www1") == ["192.0.2.3"]
    assert await addresses_of(model, "web1") == []
    assert (await model.objects(NEW))["server", ""]["name"] == NEW
    assert (await model.ask("site.show", name="shop.test"))["logical_server"] == NEW
    assert (await model.refused("lserver.show", name=WEB)).id == "lserver.unknown"
    again = await model.run("lserver.rename", name=NEW, to=NEW)
    assert again.change_id is None


@pytest_twisted.ensureDeferred
async def test_the_certificate_that_any_name_is_shown_is_of_the_new_name(model: Model) -> None:
    await model.cluster()
    await model.ask("lserver.set", name=WEB, settings={"tls_port": 443})
    before = (await model.objects(WEB))["server", ""]["fallback"]
    await model.ask("lserver.rename", name=WEB, to=NEW)
    assert (await model.objects(NEW))["server", ""]["fallback"] != before
    assert await model.rows("SELECT count(*) FROM secret WHERE name LIKE 'fallback:%%'") == [(2,)]


@pytest_twisted.ensureDeferred
async def test_settings_that_name_a_server_follow(model: Model) -> None:
    await model.cluster()
    await model.box("db1", 9, ("mysql",))
    await model.server("db1", "mysql", "mysql")
    await model.ask("lserver.set", name=WEB, settings={"horde_db_server": "db1.example.net"})
    answer = await model.ask("lserver.rename", name="db1.example.net", to="sql1.example.net")
    assert answer["settings"] == [{"server": WEB, "setting": "horde_db_server"}]
    shown = await model.ask("lserver.show", name=WEB)
    assert shown["settings"]["horde_db_server"] == "sql1.example.net"


@pytest_twisted.ensureDeferred
async def test_r20_a_name_server_without_customers_zones_is_renamed(model: Model) -> None:
    await model.cluster()
    renamed = {"name": "ns1.example.net", "to": "dns1.example.net"}
    assert "root-ns" in (await model.held("lserver.rename", **renamed)).message
    answer = await model.approved("lserver.rename", **renamed)
    assert answer["parents"] == ["example.net"]
    records = await model.rows(
        """SELECT r.name, r.type, r.data FROM record r JOIN zone z ON z.id = r.zone_id
           WHERE z.name = 'example.net' AND (r.type = 'NS' OR r.name IN ('ns1', 'dns1'))
           ORDER BY r.type, r.data"""
    )
    assert records == [
        ("dns1", "A", "192.0.2.1"),
        ("@", "NS", "dns1.example.net."),
        ("@", "NS", "ns2.example.net."),
    ]
    zone = (await model.objects("dns1.example.net"))["zone", "example.net"]
    assert zone["soa"]["primary"] == "dns1.example.net."


@pytest_twisted.ensureDeferred
async def test_names_that_cannot_be_are_refused(model: Model) -> None:
    await model.shop()
    for id_, name, to in (
        ("lserver.rename.zones", "ns1.example.net", "dns1.example.net"),
        ("lserver.name.taken", WEB, "ns1.example.net"),
        ("lserver.name.invalid", WEB, "no name"),
        ("lserver.unknown", "web9.example.net", NEW),
    ):
        error = await model.refused("lserver.rename", name=name, to=to)
        assert (error.id, error.field) == (id_, "name" if id_ == "lserver.unknown" else "to")


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_renumbered_may_be_renamed_meanwhile(model: Model) -> None:
    await model.cluster()
    move = (await model.ask("ip.move", ip="192.0.2.3", new="192.0.2.103"))["move"]
    await model.ask("lserver.rename", name=WEB, to=NEW)
    assert (await model.ask("ip.progress", id=move))["logical_server"] == NEW


@pytest_twisted.ensureDeferred
async def test_r261_a_modelled_server_moves_to_another_box_with_its_addresses(
    model: Model,
) -> None:
    await model.cluster()
    for number, name in ((8, "db1"), (9, "db2")):
        await model.box(name, number, ("mysql",))
    await model.server("db1", "mysql", "mysql")
    await model.ask(
        "ip.add", lserver="db1.example.net", first="192.0.2.9", mask="24", type="service"
    )
    await model.ask("lserver.move", name="db1.example.net", to="db2")
    shown = await model.ask("lserver.show", name="db1.example.net")
    assert [lane["pserver"] for lane in shown["lanes"]] == ["db2"]
    assert [one["ip"] for one in shown["ips"]] == ["192.0.2.9"]
    assert await addresses_of(model, "db1") == ["192.0.2.9"]


@pytest_twisted.ensureDeferred
async def test_r340_the_control_panel_does_not_leave_the_address_of_its_box(model: Model) -> None:
    await model.cluster()
    for number, name in ((8, "cp1"), (9, "cp2")):
        await model.box(name, number, ("control-panel",))
    await model.server("cp1", "control-panel", "control-panel")
    await model.ask(
        "ip.add", lserver="cp1.example.net", first="198.51.100.8", mask="24", type="service"
    )
    error = await model.refused("lserver.move", name="cp1.example.net", to="cp2")
    assert error.id == "ip.service.of-the-box"


@pytest.mark.parametrize(("name", "way"), [("ns1", "dns apply"), ("web1", "files of sites")])
@pytest_twisted.ensureDeferred
async def test_a_server_that_answers_is_told_the_way_out(model: Model, name: str, way: str) -> None:
    await model.cluster()
    await model.box("spare", 9, ("dns", "web"))
    error = await model.refused("lserver.move", name=f"{name}.example.net", to="spare")
    assert (error.id, way in error.allowed) == ("lserver.move.serving", True)
