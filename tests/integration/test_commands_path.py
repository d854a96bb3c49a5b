"""The narrow path from an empty cluster to a served domain."""

import pytest_twisted

from tests.integration.model import Model


@pytest_twisted.ensureDeferred
async def test_a_domain_reaches_both_name_servers_and_the_web_server(model: Model) -> None:
    answer = await model.shop()
    assert answer["site"]["logical_server"] == "web1.example.net"
    roles = {server["role"]: server["name"] for server in answer["name_servers"]}
    master = (await model.objects(roles["master"]))["zone", "shop.test"]
    secondary = (await model.objects(roles["secondary"]))["zone", "shop.test"]
    site = (await model.objects("web1.example.net"))["site", "shop.test"]
    assert master["role"] == "master"
    assert {(r["owner"], r["type"], r["data"]) for r in master["records"]} == {
        ("@", "NS", "ns1.example.net."),
        ("@", "NS", "ns2.example.net."),
        ("@", "A", "192.0.2.3"),
        ("www", "A", "192.0.2.3"),
    }
    assert secondary["role"] == "secondary"
    assert site["settings"] is None
