"""Roles of name servers for new zones are given in one change, judged and told (R358 to R370)."""

import pytest_twisted

from tests.integration.logical_servers import set_one
from tests.integration.model import Model


async def shown_roles(model: Model) -> dict[str, str]:
    shown = await model.ask("dns.show")
    return {server["name"]: server["role"] for server in shown["name_servers"]}


@pytest_twisted.ensureDeferred
async def test_r363_roles_are_assigned_in_one_change_and_new_zones_follow_them(
    model: Model,
) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    plain = await model.run("domain.add", name="a.test", account="acme", dry_run=True)
    assert plain.plan is not None
    assert "master name server" in plain.plan.drawn
    done = await model.run("dns.roles", master="ns2.example.net", slave1="NS1.example.net.")
    assert (done.change_id is not None, done.result["warnings"]) == (True, [])
    assert await shown_roles(model) == {"ns1.example.net": "slave1", "ns2.example.net": "master"}
    for number in range(5):
        domain = await model.run("domain.add", name=f"a{number}.test", account="acme", dry_run=True)
        assert domain.plan is not None
        assert "master name server" not in domain.plan.drawn
        assert domain.result["name_servers"] == [
            {"name": "ns2.example.net", "role": "master"},
            {"name": "ns1.example.net", "role": "secondary"},
        ]
    await model.ask("dns.roles")
    assert set((await shown_roles(model)).values()) == {"none"}


@pytest_twisted.ensureDeferred
async def test_roles_touch_no_box_and_leave_zones_where_they_are(model: Model) -> None:
    await model.shop()
    before = (await model.ask("domain.show", name="shop.test"))["name_servers"]
    for server in (await model.ask("dns.show"))["name_servers"]:
        assert server["zones_as_master"] + server["zones_as_slave"] == 2
    done = await model.run(
        "dns.roles", master="ns2.example.net", slave1="ns1.example.net", dry_run=True
    )
    assert done.plan is not None
    assert done.plan.objects == ()
    await model.ask("dns.roles", master="ns2.example.net", slave1="ns1.example.net")
    assert (await model.ask("domain.show", name="shop.test"))["name_servers"] == before


@pytest_twisted.ensureDeferred
async def test_roles_that_cannot_be_are_refused(model: Model) -> None:
    await model.cluster()
    for fields, error_id in (
        ({"master": "ns9.example.net"}, "dns.roles.unknown"),
        ({"master": "web1.example.net"}, "dns.roles.unknown"),
        ({"slave1": "ns1.example.net"}, "dns.roles.no-master"),
        ({"master": "ns1.example.net", "slave1": "ns1.example.net"}, "dns.roles.twice"),
    ):
        assert (await model.refused("dns.roles", **fields)).id == error_id
    await set_one(model, "ns1", used_by="resellers")
    await set_one(model, "ns2", used_by="master-admin")
    error = await model.refused("dns.roles", master="ns1.example.net", slave1="ns2.example.net")
    assert error.id == "dns.roles.audience"
    assert set((await shown_roles(model)).values()) == {"none"}


@pytest_twisted.ensureDeferred
async def test_roles_of_servers_for_other_customers_stay(model: Model) -> None:
    await model.cluster()
    await model.box("ns3", 8, ("dns",))
    await model.server("ns3", "dns", "bind")
    await set_one(model, "ns3", used_by="resellers", role="master")
    for server in ("ns1", "ns2"):
        await set_one(model, server, used_by="master-admin")
    await model.ask("dns.roles", master="ns1.example.net", slave1="ns2.example.net")
    assert await shown_roles(model) == {
        "ns1.example.net": "master",
        "ns2.example.net": "slave1",
        "ns3.example.net": "master",
    }
    assert [each["by_role"] for each in (await model.ask("dns.show"))["audiences"]] == [True, True]


@pytest_twisted.ensureDeferred
async def test_r364_a_second_master_is_warned_of_at_the_moment_of_the_change(
    model: Model,
) -> None:
    await model.cluster()
    await model.ask("dns.roles", master="ns1.example.net", slave1="ns2.example.net")
    dry = await model.run(
        "lserver.set", name="ns2.example.net", settings={"role": "master"}, dry_run=True
    )
    assert any("both have the role master" in words for words in dry.result["warnings"])


@pytest_twisted.ensureDeferred
async def test_a7_a_change_that_leaves_a_group_without_name_servers_says_so(model: Model) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    first = await set_one(model, "ns1", used_by="resellers")
    assert first["warnings"] == []
    dry = await model.run(
        "lserver.set", name="ns2.example.net", settings={"used_by": "resellers"}, dry_run=True
    )
    assert any("their signups fail" in words for words in dry.result["warnings"])
    await set_one(model, "ns2", used_by="resellers")
    found = (await model.ask("health.list", rule="dns.audience.none"))["items"]
    assert [finding["name"] for finding in found] == ["dns for master-admin"]
    error = await model.refused("domain.add", name="a.test", account="acme")
    assert error.id == "dns.none-for-audience"


@pytest_twisted.ensureDeferred
async def test_r370_zones_that_stay_on_a_server_for_others_are_named(model: Model) -> None:
    await model.shop()
    dry = await model.run(
        "lserver.set", name="ns1.example.net", settings={"used_by": "resellers"}, dry_run=True
    )
    assert "zones of the provider's own customers stay on it: shop.test" in dry.result["warnings"]
    assert (await set_one(model, "ns1", used_by="master-admin"))["warnings"] == []
