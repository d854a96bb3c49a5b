"""Addresses of logical servers: which are taken, one test for each rule."""

import pytest
import pytest_twisted

from tests.integration.model import Model


async def add_ip(model: Model, server: str, first: str, type_: str, **more: object) -> str:
    """Try to add an address; give the id of the refusal."""
    fields = {"lserver": f"{server}.example.net", "first": first, "mask": "24", "type": type_}
    return (await model.refused("ip.add", **{**fields, **more})).id


@pytest_twisted.ensureDeferred
async def test_r339_exactly_one_service_ip(model: Model) -> None:
    await model.cluster()
    assert await add_ip(model, "ns1", "192.0.2.50", "service") == "ip.service.exactly-one"


@pytest_twisted.ensureDeferred
async def test_r339_the_schema_alone_refuses_a_second_service_ip(model: Model) -> None:
    await model.cluster()
    with pytest.raises(Exception, match="ip_address_one_service"):
        await model.write(
            """INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
               SELECT id, '192.0.2.60', 24, 53, 'service' FROM logical_server
               WHERE name = 'ns1.example.net'"""
        )


@pytest_twisted.ensureDeferred
async def test_r330_and_r332_dedicated_and_shared_ips_are_for_web_servers(model: Model) -> None:
    await model.cluster()
    assert await add_ip(model, "ns1", "192.0.2.50", "dedicated") == "ip.type.group"
    assert await add_ip(model, "ns1", "192.0.2.50", "shared") == "ip.type.group"


@pytest_twisted.ensureDeferred
async def test_r338_a_service_ip_is_never_for_a_web_server(model: Model) -> None:
    await model.cluster()
    assert await add_ip(model, "web1", "192.0.2.50", "service") == "ip.type.group"


@pytest_twisted.ensureDeferred
async def test_r328_an_unknown_type_of_address_is_refused(model: Model) -> None:
    await model.cluster()
    assert await add_ip(model, "web1", "192.0.2.50", "floating") == "ip.type.invalid"


@pytest_twisted.ensureDeferred
async def test_r333_shared_ips_are_added_one_at_a_time(model: Model) -> None:
    await model.cluster()
    refusal = await add_ip(model, "web1", "192.0.2.50", "shared", last="192.0.2.52", tag=3)
    assert refusal == "ip.range.one-by-one"


@pytest_twisted.ensureDeferred
async def test_r324_a_range_of_dedicated_ips_is_added_whole(model: Model) -> None:
    await model.cluster()
    answer = await model.ask(
        "ip.add",
        lserver="web1.example.net",
        first="192.0.2.50",
        last="192.0.2.52",
        mask="255.255.255.0",
        type="dedicated",
    )
    assert [row["ip"] for row in answer["added"]] == ["192.0.2.50", "192.0.2.51", "192.0.2.52"]


@pytest_twisted.ensureDeferred
async def test_r355_a_dedicated_ip_is_not_bound_before_a_site_uses_it(model: Model) -> None:
    await model.cluster()
    before = await model.objects("web1.example.net")
    answer = await model.run(
        "ip.add", lserver="web1.example.net", first="192.0.2.50", mask="24", type="dedicated"
    )
    assert await model.objects("web1.example.net") == before
    touched = await model.rows(
        "SELECT kind, key FROM change_object WHERE change_id = %s", (answer.change_id,)
    )
    assert touched == []


@pytest_twisted.ensureDeferred
async def test_r335_the_default_tag_is_two(model: Model) -> None:
    await model.cluster()
    assert (await model.ask("ip.show", ip="192.0.2.3"))["tag"] == 2


@pytest_twisted.ensureDeferred
async def test_r334_a_web_server_without_a_default_shared_ip_is_warned_of(model: Model) -> None:
    await model.box("web1", 1, ("web",))
    await model.server("web1", "web", "apache")
    assert (await model.ask("lserver.show", name="web1.example.net"))["warnings"]
    await model.ask(
        "ip.add", lserver="web1.example.net", first="192.0.2.3", mask="24", type="shared"
    )
    assert (await model.ask("lserver.show", name="web1.example.net"))["warnings"] == []


@pytest_twisted.ensureDeferred
async def test_r353_a_shared_ip_tag_is_unique_within_a_server(model: Model) -> None:
    await model.cluster()
    assert await add_ip(model, "web1", "192.0.2.50", "shared", tag=2) == "ip.tag.taken"
    await model.ask(
        "ip.add", lserver="web1.example.net", first="192.0.2.50", mask="24", type="shared", tag=3
    )


@pytest_twisted.ensureDeferred
async def test_r351_only_a_shared_ip_has_a_tag(model: Model) -> None:
    await model.cluster()
    assert await add_ip(model, "web1", "192.0.2.50", "dedicated", tag=3) == "ip.tag.not-shared"


@pytest_twisted.ensureDeferred
async def test_r354_an_endpoint_is_used_by_one_server_of_the_cluster(model: Model) -> None:
    await model.cluster()
    await model.ask("pserver.add", name="web2", ip="198.51.100.8", mask="24", groups=("web",))
    await model.server("web2", "web", "apache")
    assert await add_ip(model, "web2", "192.0.2.3", "shared") == "ip.endpoint.taken"
    answer = await model.ask(
        "ip.add",
        lserver="web2.example.net",
        first="192.0.2.3",
        mask="24",
        type="shared",
        port=8080,
    )
    assert answer["added"][0]["port"] == 8080
    error = await model.refused("ip.show", ip="192.0.2.3")
    assert (error.id, error.field) == ("ip.ambiguous", "port")


@pytest_twisted.ensureDeferred
async def test_r354_the_schema_alone_refuses_a_second_use(model: Model) -> None:
    await model.cluster()
    with pytest.raises(Exception, match="ip_address_address_port_key"):
        await model.write(
            """INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
               SELECT id, '192.0.2.3', 24, 80, 'dedicated' FROM logical_server
               WHERE name = 'web1.example.net'"""
        )


@pytest_twisted.ensureDeferred
async def test_r357_an_ip_in_use_is_not_deleted(model: Model) -> None:
    await model.shop()
    assert (await model.refused("ip.delete", ip="192.0.2.3")).id == "ip.in-use"
    assert (await model.refused("ip.delete", ip="192.0.2.1")).id == "ip.in-use"


@pytest_twisted.ensureDeferred
async def test_a_server_has_an_object_only_while_it_has_an_endpoint(model: Model) -> None:
    await model.box("web1", 1, ("web",))
    await model.server("web1", "web", "apache")
    assert await model.objects("web1.example.net") == {}
    await model.ask(
        "ip.add", lserver="web1.example.net", first="192.0.2.3", mask="24", type="shared"
    )
    server = (await model.objects("web1.example.net"))["server", ""]
    assert server["endpoints"] == [{"address": "192.0.2.3", "port": 80}]
