"""IP addresses: ranges, types, who may have which, and what keeps one (R323 to R357)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList

from controller.refusal import CommandError
from tests.integration.model import Model


@pytest_twisted.async_yield_fixture
async def cluster(model: Model) -> AsyncIterator[Model]:
    """Name servers and a web server, and a mail server on a box of its own."""
    await model.cluster()
    await model.box("mail1", 4, ("mail", "control-panel", "mrtg"))
    await model.server("mail1", "mail", "qmail")
    yield model


async def add(model: Model, server: str, first: str, type_: str, **more: Any) -> Any:
    fields = {"lserver": f"{server}.example.net", "first": first, "mask": "24", "type": type_}
    return await model.ask("ip.add", **{**fields, **more})


async def refused(model: Model, server: str, first: str, type_: str, **more: Any) -> CommandError:
    fields = {"lserver": f"{server}.example.net", "first": first, "mask": "24", "type": type_}
    return await model.refused("ip.add", **{**fields, **more})


async def pool(model: Model, server: str = "web1", **more: Any) -> Any:
    return await add(
        model, server, "198.18.0.0", "dedicated", last="198.18.255.255", mask="15", **more
    )


@pytest_twisted.ensureDeferred
async def test_r325_a_range_of_65536_addresses_is_added_whole_and_listed_by_page(
    cluster: Model,
) -> None:
    answer = await pool(cluster)
    assert (answer["count"], len(answer["added"])) == (65536, 100)
    ((count, lowest, highest),) = await cluster.rows(
        """SELECT count(*), host(min(address)), host(max(address)) FROM ip_address
           WHERE type = 'dedicated'"""
    )
    assert (count, lowest, highest) == (65536, "198.18.0.0", "198.18.255.255")
    page = await cluster.ask("ip.list", lserver="web1.example.net", limit=1000)
    assert len(page["items"]) == 1000
    following = await cluster.ask(
        "ip.list", lserver="web1.example.net", limit=1000, cursor=page["next"]
    )
    assert following["items"][0]["ip"] == "198.18.3.231"


@pytest_twisted.ensureDeferred
async def test_r325_a_range_of_many_addresses_is_one_row_of_its_change(cluster: Model) -> None:
    answer = await cluster.run(
        "ip.add",
        lserver="web1.example.net",
        first="198.18.0.0",
        last="198.18.255.255",
        mask="15",
        type="dedicated",
    )
    rows = await cluster.rows(
        "SELECT row_key, after->>'count' FROM change_row WHERE change_id = %s", (answer.change_id,)
    )
    assert rows == [("198.18.0.0-198.18.255.255 80", "65536")]


@pytest_twisted.ensureDeferred
async def test_r325_a_range_that_is_none_is_refused(cluster: Model) -> None:
    for first, last in (
        ("192.0.2.50", "192.0.2.49"),
        ("192.0.2.50", "2001:db8::50"),
        ("10.0.0.0", "10.1.0.0"),
        ("192.0.2.50", "no address"),
    ):
        assert (await refused(cluster, "web1", first, "dedicated", last=last)).field == "last"


@pytest_twisted.ensureDeferred
async def test_r326_and_m6_a_mask_is_a_netmask_or_a_prefix(cluster: Model) -> None:
    for first, mask, prefix in (
        ("192.0.2.50", "255.255.255.0", 24),
        ("192.0.2.51", "/28", 28),
        ("2001:db8::50", "64", 64),
    ):
        answer = await add(cluster, "web1", first, "dedicated", mask=mask)
        assert answer["added"][0]["prefix"] == prefix


@pytest_twisted.ensureDeferred
async def test_m6_a_range_may_be_of_ipv6(cluster: Model) -> None:
    answer = await add(
        cluster, "web1", "2001:db8::ff", "dedicated", last="2001:db8::102", mask="64"
    )
    assert [row["ip"] for row in answer["added"]] == [
        "2001:db8::ff",
        "2001:db8::100",
        "2001:db8::101",
        "2001:db8::102",
    ]


@pytest_twisted.ensureDeferred
async def test_m6_one_ipv6_address_in_two_spellings_is_one(cluster: Model) -> None:
    await add(cluster, "web1", "2001:db8::50", "dedicated", mask="64")
    error = await refused(cluster, "web1", "2001:0DB8:0:0::0050", "dedicated", mask="64")
    assert error.id == "ip.endpoint.taken"
    assert (await cluster.ask("ip.show", ip="2001:DB8::50"))["ip"] == "2001:db8::50"


async def freebsd(model: Model) -> None:
    await model.ask(
        "pserver.add",
        name="bsd1",
        ip="198.51.100.9",
        mask="24",
        groups=("web",),
        os_family="freebsd",
    )
    await model.server("bsd1", "web", "apache")


@pytest_twisted.ensureDeferred
async def test_r327_a_pool_on_freebsd_has_a_host_mask(cluster: Model) -> None:
    await freebsd(cluster)
    error = await refused(cluster, "bsd1", "192.0.2.50", "dedicated", last="192.0.2.52")
    assert (error.id, error.field) == ("ip.freebsd.pool-mask", "mask")
    assert "255.255.255.255" in error.allowed


@pytest_twisted.ensureDeferred
async def test_r327_on_freebsd_the_first_address_of_a_pool_comes_before_it(cluster: Model) -> None:
    await freebsd(cluster)
    wanted = {"last": "192.0.2.52", "mask": "255.255.255.255"}
    error = await refused(cluster, "bsd1", "192.0.2.51", "dedicated", **wanted)
    assert error.id == "ip.freebsd.pool-first"
    await add(cluster, "bsd1", "192.0.2.50", "dedicated")
    assert (await add(cluster, "bsd1", "192.0.2.51", "dedicated", **wanted))["count"] == 2


@pytest_twisted.ensureDeferred
async def test_r327_on_freebsd_the_boxs_own_address_may_be_the_first(cluster: Model) -> None:
    await freebsd(cluster)
    answer = await add(
        cluster, "bsd1", "198.51.100.51", "dedicated", last="198.51.100.52", mask="32"
    )
    assert answer["count"] == 2


@pytest_twisted.ensureDeferred
async def test_r327_a_second_address_with_the_networks_mask_is_refused_on_freebsd(
    cluster: Model,
) -> None:
    await freebsd(cluster)
    await add(cluster, "bsd1", "192.0.2.50", "dedicated")
    error = await refused(cluster, "bsd1", "192.0.2.51", "dedicated")
    assert error.id == "ip.freebsd.pool-mask"


@pytest_twisted.ensureDeferred
async def test_r330_r332_r338_r343_r345_and_r348_where_each_type_may_be(cluster: Model) -> None:
    for server, type_, row in (
        ("mail1", "dedicated", "R330"),
        ("mail1", "shared", "R332"),
        ("web1", "service", "R338"),
        ("mail1", "dns-reseller", "R343"),
        ("web1", "dns-reseller", "R343"),
        ("ns1", "outgoing", "R345"),
        ("web1", "outgoing", "R345"),
        ("ns1", "bouncing", "R348"),
        ("web1", "bouncing", "R348"),
    ):
        assert (await refused(cluster, server, "192.0.2.50", type_)).id == "ip.type.group", row


@pytest_twisted.ensureDeferred
async def test_r337_a_mail_server_has_a_service_ip(cluster: Model) -> None:
    answer = await add(cluster, "mail1", "192.0.2.50", "service")
    assert answer["added"][0]["port"] == 25


@pytest_twisted.ensureDeferred
async def test_r340_the_control_panel_answers_on_its_boxs_own_address(cluster: Model) -> None:
    for group in ("control-panel", "mrtg"):
        name = f"{group}-1"
        await cluster.ask(
            "lserver.add", name=f"{name}.example.net", group=group, type=group, pserver="mail1"
        )
        error = await refused(cluster, name, "192.0.2.60", "service")
        assert (error.id, error.allowed) == ("ip.service.of-the-box", "198.51.100.4")
        await add(cluster, name, "198.51.100.4", "service")


@pytest_twisted.ensureDeferred
async def test_r341_and_r342_who_brings_a_service_ip_up_is_said(cluster: Model) -> None:
    (warning,) = (await add(cluster, "mail1", "192.0.2.50", "service"))["warnings"]
    assert "not brought up on mail1 by itself" in warning
    assert "primary IP" in warning
    await cluster.ask("ip.delete", ip="192.0.2.50")
    assert (await add(cluster, "mail1", "198.51.100.4", "service"))["warnings"] == []


@pytest_twisted.ensureDeferred
async def test_r343_a_name_server_may_have_addresses_for_resellers(cluster: Model) -> None:
    before = await cluster.objects("ns1.example.net")
    await add(cluster, "ns1", "192.0.2.50", "dns-reseller")
    await add(cluster, "ns1", "192.0.2.51", "dns-reseller")
    assert await cluster.objects("ns1.example.net") == before


@pytest_twisted.ensureDeferred
async def test_r344_the_system_management_ip_is_refused_by_name(cluster: Model) -> None:
    error = await refused(cluster, "mail1", "192.0.2.50", "system")
    assert (error.id, error.field) == ("ip.type.reserved", "type")
    assert "System Management" in str(error)


@pytest_twisted.ensureDeferred
async def test_r347_and_r350_one_outgoing_and_one_bouncing_ip_per_mail_server(
    cluster: Model,
) -> None:
    await add(cluster, "mail1", "192.0.2.50", "service")
    for number, (type_, row) in enumerate((("outgoing", "R347"), ("bouncing", "R350")), start=51):
        await add(cluster, "mail1", f"192.0.2.{number}", type_)
        error = await refused(cluster, "mail1", "192.0.2.60", type_)
        assert (error.id, error.allowed) == (f"ip.{type_}.one", "delete the present one first"), row


@pytest.mark.parametrize(("type_", "row"), [("outgoing", "R347"), ("bouncing", "R350")])
@pytest_twisted.ensureDeferred
async def test_r347_and_r350_the_schema_alone_refuses_a_second_one(
    cluster: Model, type_: str, row: str
) -> None:
    await add(cluster, "mail1", "192.0.2.51", type_)
    with pytest.raises(Exception, match=f"ip_address_one_{type_}"):
        await cluster.write(
            """INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
               SELECT id, '192.0.2.60', 24, 25, %s FROM logical_server
               WHERE name = 'mail1.example.net'""",
            (type_,),
        )


@pytest_twisted.ensureDeferred
async def test_r333_outgoing_addresses_are_no_range(cluster: Model) -> None:
    error = await refused(cluster, "mail1", "192.0.2.50", "outgoing", last="192.0.2.51")
    assert error.id == "ip.range.one-by-one"


@pytest_twisted.ensureDeferred
async def test_r353_another_tag_may_be_taken_but_no_second_time(cluster: Model) -> None:
    await add(cluster, "web1", "192.0.2.50", "shared", tag=7)
    edited = await cluster.ask("ip.edit", ip="192.0.2.50", tag=8)
    assert edited["tag"] == 8
    error = await cluster.refused("ip.edit", ip="192.0.2.50", tag=2)
    assert error.id == "ip.tag.taken"


@pytest_twisted.ensureDeferred
async def test_r354_a_range_over_an_address_that_is_used_is_refused_whole(cluster: Model) -> None:
    error = await refused(cluster, "web1", "192.0.2.0", "dedicated", last="192.0.2.20")
    assert (error.id, error.value) == ("ip.endpoint.taken", "192.0.2.3")


@pytest_twisted.ensureDeferred
async def test_r354_two_servers_of_one_machine_share_an_address_on_their_own_ports(
    cluster: Model,
) -> None:
    answer = await add(cluster, "mail1", "192.0.2.3", "service")
    assert answer["added"][0]["port"] == 25


@pytest_twisted.ensureDeferred
async def test_r354_of_two_operators_who_race_for_an_address_one_wins(cluster: Model) -> None:
    await cluster.box("web2", 8, ("web",))
    await cluster.server("web2", "web", "apache")

    async def take(server: str) -> Any:
        return await add(cluster, server, "192.0.2.50", "dedicated", last="192.0.2.99")

    results = await DeferredList(
        [Deferred.fromCoroutine(take(server)) for server in ("web1", "web2")], consumeErrors=True
    )
    assert sorted(success for success, _ in results) == [False, True]
    (failure,) = [value for success, value in results if not success]
    assert failure.value.id == "ip.endpoint.taken"
    rows = await cluster.rows(
        """SELECT count(*), count(DISTINCT logical_server_id) FROM ip_address
           WHERE type = 'dedicated'"""
    )
    assert rows == [(50, 1)]


@pytest_twisted.ensureDeferred
async def test_a_dedicated_ip_has_the_port_of_the_servers_sites(cluster: Model) -> None:
    error = await refused(cluster, "web1", "192.0.2.50", "dedicated", port=8080)
    assert (error.id, error.allowed) == ("ip.dedicated.port", "80")


@pytest_twisted.ensureDeferred
async def test_r356_addresses_are_listed_by_server_by_type_and_the_free_ones(
    cluster: Model,
) -> None:
    await add(cluster, "web1", "192.0.2.50", "dedicated", last="192.0.2.51")

    async def listed(**fields: Any) -> list[str]:
        page = await cluster.ask("ip.list", **fields)
        assert page["next"] is None
        return [item["ip"] for item in page["items"]]

    assert await listed(lserver="web1.example.net") == ["192.0.2.3", "192.0.2.50", "192.0.2.51"]
    assert await listed(type="service") == ["192.0.2.1", "192.0.2.2"]
    assert await listed(free=True) == ["192.0.2.50", "192.0.2.51"]
    assert (await cluster.refused("ip.list", type="system")).id == "ip.type.invalid"


@pytest_twisted.ensureDeferred
async def test_who_uses_an_address_is_shown(model: Model) -> None:
    await model.shop()
    assert (await model.ask("ip.show", ip="192.0.2.3"))["uses"] == {
        "sites": 1,
        "domains": ["shop.test"],
    }
    assert (await model.ask("ip.show", ip="192.0.2.1"))["uses"] == {
        "zones": 1,
        "domains": ["shop.test"],
    }
    error = await model.refused("ip.delete", ip="192.0.2.3")
    assert (error.id, "shop.test" in str(error)) == ("ip.in-use", True)


@pytest_twisted.ensureDeferred
async def test_r357_the_port_of_an_address_in_use_stays(model: Model) -> None:
    await model.shop()
    assert (await model.refused("ip.edit", ip="192.0.2.3", new_port=8080)).id == "ip.in-use"


@pytest_twisted.ensureDeferred
async def test_r357_mask_and_port_of_an_unused_address_are_edited(cluster: Model) -> None:
    answer = await cluster.ask("ip.edit", ip="192.0.2.3", mask="255.255.255.128", new_port=8080)
    assert (answer["prefix"], answer["port"]) == (25, 8080)
    server = (await cluster.objects("web1.example.net"))["server", ""]
    assert server["endpoints"] == [{"address": "192.0.2.3", "port": 8080}]
    assert (await cluster.refused("ip.edit", ip="192.0.2.1", new_port=70000)).id == (
        "ip.port.invalid"
    )
    assert (await cluster.refused("ip.edit", ip="192.0.2.1", mask="33")).id == "ip.mask.invalid"


@pytest_twisted.ensureDeferred
async def test_an_edit_that_changes_nothing_is_no_change(cluster: Model) -> None:
    answer = await cluster.run("ip.edit", ip="192.0.2.3", mask="24", tag=2)
    assert answer.change_id is None


@pytest_twisted.ensureDeferred
async def test_a_large_deletion_names_its_number(cluster: Model) -> None:
    await add(cluster, "web1", "192.0.2.50", "dedicated", last="192.0.2.99")
    whole = {"ip": "192.0.2.50", "last": "192.0.2.99"}
    for confirm in (None, 49):
        error = await cluster.refused("ip.delete", **whole, confirm=confirm)
        assert (error.id, error.field) == ("ip.delete.unconfirmed", "confirm")
        assert "50" in error.allowed
    assert (await cluster.ask("ip.delete", **whole, confirm=50))["count"] == 50
    assert (await cluster.refused("ip.show", ip="192.0.2.50")).status == 404


@pytest_twisted.ensureDeferred
async def test_a_range_is_deleted_only_where_it_is_of_dedicated_addresses_alone(
    cluster: Model,
) -> None:
    await add(cluster, "web1", "192.0.2.4", "dedicated", last="192.0.2.6")
    for fields in (
        {"ip": "192.0.2.3", "last": "192.0.2.5"},
        {"ip": "192.0.2.1", "last": "192.0.2.6"},
    ):
        assert (await cluster.refused("ip.delete", **fields)).id == "ip.delete.mixed"
    gone = {"ip": "192.0.2.200", "last": "192.0.2.210"}
    assert (await cluster.refused("ip.delete", **gone)).id == "ip.unknown"
    assert (await cluster.ask("ip.delete", ip="192.0.2.4", last="192.0.2.6"))["count"] == 3


@pytest_twisted.ensureDeferred
async def test_a_dry_run_of_a_range_writes_nothing(cluster: Model) -> None:
    before = await cluster.footprint()
    answer = await cluster.run(
        "ip.add",
        lserver="web1.example.net",
        first="192.0.2.50",
        last="192.0.2.60",
        mask="24",
        type="dedicated",
        dry_run=True,
    )
    assert answer.plan is not None
    assert [(row.action, row.key) for row in answer.plan.rows] == [
        ("add", "192.0.2.50-192.0.2.60 80")
    ]
    assert await cluster.footprint() == before
