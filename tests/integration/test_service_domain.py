"""What the service domain is for beside names of servers: customers' names, and an own site."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred, DeferredList

from controller.hosting import names_below
from controller.hosting.instant_access import alias_labels
from controller.hosting.third_level import is_reserved, third_level_label
from tests.form_walk import SeenPage
from tests.integration.address_moves import until
from tests.integration.applying import applied
from tests.integration.hosted import NS1, NS2, NS3, closed, name_servers
from tests.integration.model import Model
from tests.integration.test_panel_shared_ssl import sent
from tests.integration.zone_moves import to_the_end
from tests.panel_site import PanelSite, panel_site

pytest_plugins = ("tests.integration.model",)

BELOW = "shop.example.net"


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    await third_level(model)
    async with panel_site(model, tmp_path) as running:
        yield running


async def third_level(model: Model) -> None:
    """Make the cluster, whose service domain is for customers too."""
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.ask("service.set", third_level=True)


async def served(model: Model, *names: str) -> set[tuple[str, str, str]]:
    """Give what the service zone's master serves at these names, by its object and by its rows."""
    ((master,),) = await model.rows(
        """SELECT s.name FROM zone z JOIN zone_server n ON n.zone_id = z.id AND n.role = 'master'
           JOIN logical_server s ON s.id = n.logical_server_id WHERE z.name = 'example.net'"""
    )
    spec = (await model.objects(master))["zone", "example.net"]
    sent = {(each["owner"], each["type"], each["data"]) for each in spec["records"]}
    rows = await model.rows(
        """SELECT r.name, r.type, r.data, r.generated FROM record r JOIN zone z ON z.id = r.zone_id
           WHERE z.name = 'example.net'"""
    )
    assert sent == {row[:3] for row in rows}
    assert all(row[3] for row in rows)
    return {record for record in sent if record[0] in names}


@ensureDeferred
async def test_r21_an_account_has_a_zone_of_its_own_below_the_service_domain(model: Model) -> None:
    await third_level(model)
    told = await model.ask("domain.add", name=BELOW, account="acme")
    servers = {(server["name"], server["role"]) for server in told["name_servers"]}
    assert await served(model, "shop") == {("shop", "NS", f"{name}.") for name, _ in servers}
    (master,) = [name for name, role in servers if role == "master"]
    zone = (await model.objects(master))["zone", BELOW]
    assert ("@", "A", "192.0.2.3") in {(r["owner"], r["type"], r["data"]) for r in zone["records"]}
    assert ("site", BELOW) in await model.objects("web1.example.net")
    assert (await model.ask("service.show"))["third_level_domains"] == 1
    await model.ask("domain.delete", name=BELOW)
    assert await served(model, "shop") == set()


@ensureDeferred
async def test_r21_is_off_until_the_operator_switches_it_on(model: Model) -> None:
    await model.shop()
    assert (await model.ask("service.show"))["third_level"] is False
    error = await model.refused("domain.add", name=BELOW, account="acme")
    assert (error.id, "hsctl service set --third-level on" in error.allowed) == (
        "domain.service",
        True,
    )
    await model.ask("service.set", third_level=True)
    await model.ask("domain.add", name=BELOW, account="acme")
    told = await model.ask("service.set", third_level=False)
    assert told["warnings"] == ["one domain below example.net stays"]
    await model.refused("domain.add", name="b.example.net", account="acme")
    assert len(await served(model, "shop")) == 2


@ensureDeferred
async def test_r21_names_of_servers_are_not_for_customers(model: Model) -> None:
    await third_level(model)
    await model.box("more", 9, ("mail", "mysql"))
    await model.server("silver", "mail", "qmail", "more")
    await model.server("a.deep", "mysql", "mysql", "more")
    for name in ("cp", "www", "ns1", "ns7", "web", "web12", "mail3", "silver", "deep"):
        error = await model.refused("domain.add", name=f"{name}.example.net", account="acme")
        assert error.id == "domain.reserved", name
    for name in ("example.net", "a.shop.example.net"):
        error = await model.refused("domain.add", name=name, account="acme")
        assert error.id == "domain.service", name


@ensureDeferred
async def test_r21_no_server_gets_a_name_that_a_customer_has(model: Model) -> None:
    await third_level(model)
    await model.ask("domain.add", name=BELOW, account="acme")
    await model.box("more", 9, ("mail",))
    for name in (BELOW, f"mail.{BELOW}"):
        error = await model.refused(
            "lserver.add", name=name, group="mail", type="qmail", pserver="more"
        )
        assert (error.id, error.field) == ("lserver.name.hosted", "name")
        error = await model.refused("lserver.rename", name="web1.example.net", to=name)
        assert (error.id, error.field) == ("lserver.name.hosted", "to")


@ensureDeferred
async def test_r21_of_a_server_and_a_customer_at_once_one_gets_the_name(model: Model) -> None:
    await third_level(model)
    await model.box("more", 9, ("mail",))
    asked = (
        model.ask("domain.add", name=BELOW, account="acme"),
        model.ask("lserver.add", name=BELOW, group="mail", type="qmail", pserver="more"),
    )
    told = await DeferredList([Deferred.fromCoroutine(one) for one in asked], consumeErrors=True)
    assert sorted(done for done, _ in told) == [False, True]


@ensureDeferred
async def test_r21_the_delegation_follows_a_zone_to_other_name_servers(model: Model) -> None:
    await third_level(model)
    await model.ask("dns.roles", master=NS1, slave1=NS2)
    await model.ask("domain.add", name=BELOW, account="acme")
    await name_servers(model, 3)
    await applied(model)
    await closed(model, NS1)
    await model.ask("dns.roles", master=NS3, slave1=NS2)
    assert (await model.approved("dns.apply"))["delegations"] == []
    await to_the_end(model)
    assert await served(model, "shop") == {("shop", "NS", f"{NS3}."), ("shop", "NS", f"{NS2}.")}


@ensureDeferred
async def test_r21_what_is_undone_is_delegated_as_before(model: Model) -> None:
    await third_level(model)
    added = await model.run("domain.add", name=BELOW, account="acme")
    before = await served(model, "shop")
    gone = await model.run("domain.delete", name=BELOW)
    await model.ask("change.undo", id=gone.change_id)
    assert await served(model, "shop") == before
    assert added.change_id is not None
    switched = await model.run("service.set", third_level=False)
    await model.ask("change.undo", id=switched.change_id)
    assert (await model.ask("service.show"))["third_level"] is True


async def stray(model: Model, name: str) -> None:
    """Give the service zone a record that its object does not hold: it is then written whole."""
    await model.write(
        """INSERT INTO record (zone_id, name, type, ttl, data, generated)
           SELECT id, %s, 'A', 3600, '192.0.2.99', true FROM zone WHERE name = 'example.net'""",
        (name,),
    )


@ensureDeferred
async def test_a_service_zone_that_is_written_whole_has_all_delegations(model: Model) -> None:
    await third_level(model)
    await model.ask("domain.add", name=BELOW, account="acme")
    before = await served(model, "shop")
    await stray(model, "first")
    await model.ask("domain.add", name="other.example.net", account="acme")
    assert len(await served(model, "shop", "other")) == 4
    await model.box("more", 9, ("mail",))
    await model.server("silver", "mail", "qmail", "more")
    await stray(model, "second")
    await model.ask(
        "ip.add", lserver="silver.example.net", first="192.0.2.9", mask="24", type="service"
    )
    assert await served(model, "shop") == before


@ensureDeferred
async def test_r23_the_providers_own_site_is_at_the_service_domain(model: Model) -> None:
    await model.cluster()
    await model.ask("account.add", name="provider")
    told = await model.ask("service.host", account="provider", on="web1.example.net")
    assert told["site"]["logical_server"] == "web1.example.net"
    own = {("@", "A", "192.0.2.3"), ("www", "A", "192.0.2.3")}
    assert own <= await served(model, "@", "www")
    assert ("site", "example.net") in await model.objects("web1.example.net")
    assert (await model.refused("service.host", account="provider")).id == "service.hosted"
    assert (await model.ask("domain.list"))["items"] == []
    kept = await model.refused("account.delete", name="provider")
    assert (kept.id, "hsctl service unhost" in kept.allowed) == ("account.in-use", True)
    await model.ask("service.unhost")
    assert not own & await served(model, "@", "www")
    assert ("site", "example.net") not in await model.objects("web1.example.net")
    assert (await model.refused("service.unhost")).id == "service.not-hosted"


@ensureDeferred
async def test_r23_the_own_site_stands_in_no_customers_way(model: Model) -> None:
    await third_level(model)
    await model.ask("account.add", name="provider")
    await model.ask("service.host", account="provider")
    await model.ask("domain.add", name=BELOW, account="acme")
    assert len(await served(model, "shop")) == 2
    settings = {"name": "example.net", "redirect_to": "https://promo.test/"}
    assert (await model.ask("site.set", **settings))["settings"]["redirect_to"]


@ensureDeferred
@pytest.mark.parametrize("seed", range(3))
async def test_r23_a_server_named_www_goes_before_the_own_site(model: Model, seed: int) -> None:
    await model.cluster()
    await model.ask("account.add", name="provider")
    await model.box("more", 9, ("mail",))
    address = {"lserver": "www.example.net", "first": "192.0.2.77", "mask": "24"}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("service.host", {"account": "provider"}),
        ("lserver.add", {"name": "www.example.net", "group": "mail", "type": "qmail"}),
    ]
    Random(seed).shuffle(steps)
    for command, fields in steps:
        await model.ask(command, **fields, **({"pserver": "more"} if "type" in fields else {}))
        if "type" in fields:
            await model.ask("ip.add", **address, type="service")
    assert await served(model, "www") == {("www", "A", "192.0.2.77")}
    await model.ask("ip.delete", ip="192.0.2.77")
    assert await served(model, "www") == {("www", "A", "192.0.2.3")}


async def instant(model: Model) -> None:
    """Make the cluster with shop.test, whose site has an alias."""
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.ask("service.set", instant_access=True)
    await model.ask("domain.add", name="shop.test", account="acme")


@ensureDeferred
async def test_r22_the_site_of_a_new_domain_has_an_alias_below_the_service_domain(
    model: Model,
) -> None:
    await model.shop()
    await model.ask("service.set", instant_access=True)
    told = await model.ask("domain.add", name="fish.test", account="acme")
    assert told["site"]["alias"] == "fish-test.example.net"
    assert (await model.ask("site.show", name="shop.test"))["alias"] == ""
    assert await served(model, "fish-test", "shop-test") == {("fish-test", "A", "192.0.2.3")}
    spec = (await model.objects("web1.example.net"))["site", "fish.test"]
    assert spec["aliases"] == ["fish-test.example.net"]
    await model.ask("service.set", instant_access=False)
    await model.ask("domain.add", name="fowl.test", account="acme")
    assert len(await served(model, "fish-test", "fowl-test")) == 1
    await model.ask("domain.delete", name="fish.test")
    assert await served(model, "fish-test") == set()


@ensureDeferred
async def test_r22_an_alias_is_nobody_elses(model: Model) -> None:
    await instant(model)
    await model.ask("service.set", third_level=True)
    error = await model.refused("domain.add", name="shop-test.example.net", account="acme")
    assert error.id == "domain.reserved"
    await model.box("more", 9, ("mail",))
    for name in ("shop-test.example.net", "mail.shop-test.example.net"):
        error = await model.refused(
            "lserver.add", name=name, group="mail", type="qmail", pserver="more"
        )
        assert error.id == "lserver.name.hosted"
    await model.ask("domain.add", name="a-b.test", account="acme")
    told = await model.ask("domain.add", name="a.b.test", account="acme")
    assert told["site"]["alias"] == f"{alias_labels('a.b.test')[1]}.example.net"
    await model.ask("domain.add", name="x-test.example.net", account="acme")
    told = await model.ask("domain.add", name="x.test", account="acme")
    assert told["site"]["alias"] == f"{alias_labels('x.test')[1]}.example.net"


@ensureDeferred
async def test_r22_r23_alias_and_own_site_follow_the_web_servers_address(
    model: Model,
) -> None:
    await instant(model)
    await model.ask(
        "ip.add", lserver="web1.example.net", first="192.0.2.90", mask="24", type="dedicated"
    )
    await model.ask("site.address", name="shop.test", type="dedicated")
    assert await served(model, "shop-test") == {("shop-test", "A", "192.0.2.90")}
    await model.ask("site.address", name="shop.test", type="shared")
    await applied(model)
    await model.ask("service.host", account="acme")
    await applied(model)
    move = (await model.approved("ip.move", ip="192.0.2.3", new="192.0.2.33"))["move"]
    await until(model, move, "outlasting")
    assert await served(model, "shop-test", "www") == {
        ("shop-test", "A", "192.0.2.33"),
        ("www", "A", "192.0.2.33"),
    }


@ensureDeferred
async def test_r22_a_domain_that_comes_back_has_its_alias(model: Model) -> None:
    await instant(model)
    gone = await model.run("domain.delete", name="shop.test")
    await model.ask("change.undo", id=gone.change_id)
    assert await served(model, "shop-test") == {("shop-test", "A", "192.0.2.3")}
    gone = await model.run("domain.delete", name="shop.test")
    await model.ask("service.set", third_level=True)
    await model.ask("domain.add", name="shop-test.example.net", account="acme")
    error = await model.refused("change.undo", id=gone.change_id)
    assert (error.id, "alias" in error.message) == ("undo.place-gone", True)


@ensureDeferred
async def test_r22_a_redirect_to_the_alias_goes_in_circles(model: Model) -> None:
    await instant(model)
    error = await model.refused(
        "site.set", name="shop.test", redirect_to="https://shop-test.example.net/"
    )
    assert error.id == "site.redirect.loop"


@ensureDeferred
async def test_the_service_zone_takes_as_many_names_as_fit(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    await instant(model)
    ((records,),) = await model.rows(
        """SELECT count(*) FROM record r JOIN zone z ON z.id = r.zone_id
           WHERE z.name = 'example.net'"""
    )
    monkeypatch.setattr(names_below, "MOST", records)
    error = await model.refused("domain.add", name="fish.test", account="acme")
    assert (error.id, "--instant-access off" in error.allowed) == ("service.full", True)
    await model.ask("domain.delete", name="shop.test")
    await model.ask("domain.add", name="fish.test", account="acme")


def test_the_label_of_an_alias_is_one_that_dns_takes() -> None:
    assert alias_labels("shop.test")[0] == "shop-test"
    assert alias_labels("xn--bcher-kva.test")[0] == "bcher-kva-test"
    (label,) = alias_labels(f"{'a' * 60}.test")
    assert (len(label), label.startswith("aaa")) == (63, True)
    assert alias_labels(f"{'a' * 60}.test") != alias_labels(f"{'a' * 60}.example")


@ensureDeferred
async def test_r21_r23_on_the_page_of_the_service_domain(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    page = await visitor.text(SeenPage(await visitor.text("/")).links["Service domain"])
    page = await sent(
        visitor, page, "Host the site", {"Account": "acme", "Web server": "web1.example.net"}
    )
    assert "on web1.example.net, 192.0.2.3" in page
    page = await visitor.text(SeenPage(page).links["Take it away"])
    page = await sent(visitor, page, "Take it away", {})
    assert SeenPage(page).form("Host the site", {"Account": "acme"})
    page = await sent(
        visitor,
        page,
        "Save",
        {"Domains below the service domain": "not for customers"},
    )
    assert (await panel.model.ask("service.show"))["third_level"] is False


def test_labels_of_servers_are_reserved() -> None:
    assert third_level_label("shop.example.net", "example.net") == "shop"
    assert third_level_label("a.shop.example.net", "example.net") == ""
    assert third_level_label("shop.test", "example.net") == ""
    assert not is_reserved("webshop")
    assert is_reserved("postgresql2")
