"""Dedicated addresses of sites: taken, given back, and what follows (R329, R355)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList

from tests.integration.model import Model

WEB = "web1.example.net"


@pytest_twisted.async_yield_fixture
async def shop(model: Model) -> AsyncIterator[Model]:
    """The domain shop.test on a web server with two free dedicated addresses."""
    await model.shop()
    await model.ask(
        "ip.add", lserver=WEB, first="192.0.2.50", last="192.0.2.51", mask="24", type="dedicated"
    )
    yield model


async def take(model: Model, name: str = "shop.test") -> Any:
    return await model.ask("site.address", name=name, type="dedicated")


async def share(model: Model, name: str = "shop.test", tag: int | None = None) -> Any:
    return await model.ask("site.address", name=name, type="shared", tag=tag)


async def free(model: Model) -> list[str]:
    return [item["ip"] for item in (await model.ask("ip.list", free=True))["items"]]


async def site_records(model: Model) -> set[tuple[str, str, str]]:
    zone = (await model.ask("domain.show", name="shop.test"))["name_servers"]
    master = next(server["name"] for server in zone if server["role"] == "master")
    found = (await model.objects(master))["zone", "shop.test"]["records"]
    return {(r["owner"], r["type"], r["data"]) for r in found if r["type"] in ("A", "AAAA")}


async def requires(model: Model, kind: str, key: str) -> Any:
    ((found,),) = await model.rows(
        "SELECT requires FROM desired_object WHERE kind = %s AND key = %s", (kind, key)
    )
    return found


@pytest_twisted.ensureDeferred
async def test_r355_an_address_is_an_object_from_when_a_site_takes_it_until_it_is_given_back(
    shop: Model,
) -> None:
    before = await shop.objects(WEB)
    assert (await take(shop))["address"] == "192.0.2.50"
    after = await shop.objects(WEB)
    assert after["address", "192.0.2.50"] == {"prefix": 24, "port": 80}
    assert await requires(shop, "site", "shop.test") == [["address", "192.0.2.50"]]
    assert after["server", ""] == before["server", ""]
    assert (await share(shop))["address"] == "192.0.2.3"
    assert await shop.objects(WEB) == before
    assert await requires(shop, "site", "shop.test") == []


@pytest_twisted.ensureDeferred
async def test_r329_a_dedicated_ip_belongs_to_one_site(shop: Model) -> None:
    await shop.ask("domain.add", name="two.test", account="acme")
    await shop.ask("domain.add", name="three.test", account="acme")
    assert (await take(shop))["address"] == "192.0.2.50"
    assert (await take(shop, "two.test"))["address"] == "192.0.2.51"
    error = await shop.refused("site.address", name="three.test", type="dedicated")
    assert (error.id, error.status) == ("site.address.none-free", 409)
    assert await free(shop) == []


@pytest_twisted.ensureDeferred
async def test_r329_of_two_sites_that_race_for_the_last_address_one_gets_it(shop: Model) -> None:
    await shop.ask("domain.add", name="two.test", account="acme")
    await shop.ask("ip.delete", ip="192.0.2.51")
    results = await DeferredList(
        [Deferred.fromCoroutine(take(shop, name)) for name in ("shop.test", "two.test")],
        consumeErrors=True,
    )
    assert sorted(success for success, _ in results) == [False, True]
    (failure,) = [value for success, value in results if not success]
    assert failure.value.id == "site.address.none-free"


@pytest_twisted.ensureDeferred
async def test_r329_the_schema_alone_gives_an_address_to_one_site(shop: Model) -> None:
    await take(shop)
    with pytest.raises(Exception, match="ip_address_one_site"):
        await shop.write(
            """UPDATE ip_address SET site_id = (SELECT id FROM site) WHERE address = '192.0.2.51'"""
        )
    with pytest.raises(Exception, match="ip_address_site_dedicated"):
        await shop.write(
            """UPDATE ip_address SET site_id = (SELECT id FROM site) WHERE address = '192.0.2.3'"""
        )


@pytest_twisted.ensureDeferred
async def test_the_records_of_the_site_follow_and_those_of_people_stay(shop: Model) -> None:
    await shop.ask("record.add", domain="shop.test", name="mail", type="A", values=("192.0.2.3",))
    await take(shop)
    assert await site_records(shop) == {
        ("@", "A", "192.0.2.50"),
        ("www", "A", "192.0.2.50"),
        ("mail", "A", "192.0.2.3"),
    }
    await share(shop)
    assert ("www", "A", "192.0.2.3") in await site_records(shop)


@pytest_twisted.ensureDeferred
async def test_m6_a_dedicated_ip_may_be_of_ipv6(shop: Model) -> None:
    await shop.ask("ip.delete", ip="192.0.2.50", last="192.0.2.51")
    await shop.ask("ip.add", lserver=WEB, first="2001:db8::50", mask="64", type="dedicated")
    await take(shop)
    assert await site_records(shop) == {
        ("@", "AAAA", "2001:db8::50"),
        ("www", "AAAA", "2001:db8::50"),
    }


@pytest_twisted.ensureDeferred
async def test_taking_what_one_has_changes_nothing(shop: Model) -> None:
    await take(shop)
    again = await shop.run("site.address", name="shop.test", type="dedicated")
    assert (again.change_id, again.result["address"]) == (None, "192.0.2.50")
    await share(shop)
    assert (await shop.run("site.address", name="shop.test", type="shared")).change_id is None


@pytest_twisted.ensureDeferred
async def test_r351_a_shared_address_is_chosen_by_its_tag(shop: Model) -> None:
    await shop.ask("ip.add", lserver=WEB, first="192.0.2.60", mask="24", type="shared", tag=7)
    assert (await share(shop, tag=7))["address"] == "192.0.2.60"
    assert (await share(shop))["address"] == "192.0.2.60"
    assert (await share(shop, tag=2))["address"] == "192.0.2.3"
    error = await shop.refused("site.address", name="shop.test", type="shared", tag=9)
    assert (error.id, error.field) == ("site.address.no-shared", "tag")
    error = await shop.refused("site.address", name="shop.test", type="dedicated", tag=2)
    assert error.id == "ip.tag.not-shared"


@pytest_twisted.ensureDeferred
async def test_r293_a_server_may_prohibit_dedicated_addresses(shop: Model) -> None:
    await shop.ask("lserver.set", name=WEB, settings={"prohibit_dedicated_ip": True})
    error = await shop.refused("site.address", name="shop.test", type="dedicated")
    assert error.id == "site.address.prohibited"


@pytest_twisted.ensureDeferred
async def test_r357_an_address_that_a_site_has_is_neither_deleted_nor_edited(shop: Model) -> None:
    await take(shop)
    for command, fields in (
        ("ip.delete", {"ip": "192.0.2.50"}),
        ("ip.delete", {"ip": "192.0.2.50", "last": "192.0.2.51"}),
        ("ip.edit", {"ip": "192.0.2.50", "mask": "25"}),
        ("ip.edit", {"ip": "192.0.2.50", "new_port": 8080}),
        ("ip.delete", {"ip": "192.0.2.3"}),
        ("ip.edit", {"ip": "192.0.2.3", "new_port": 8080}),
    ):
        assert (await shop.refused(command, **fields)).id == "ip.in-use", (command, fields)
    assert (await shop.ask("ip.show", ip="192.0.2.50"))["used_by"] == "shop.test"


@pytest_twisted.ensureDeferred
async def test_a_deleted_domain_gives_its_address_back(shop: Model) -> None:
    await take(shop)
    await shop.ask("domain.delete", name="shop.test")
    assert await free(shop) == ["192.0.2.50", "192.0.2.51"]
    assert ("address", "192.0.2.50") not in await shop.objects(WEB)


@pytest_twisted.ensureDeferred
async def test_a_domain_that_is_not_here_has_no_address(shop: Model) -> None:
    error = await shop.refused("site.address", name="other.test", type="dedicated")
    assert (error.id, error.status) == ("domain.unknown", 404)
