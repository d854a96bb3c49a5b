"""Sites and their servers: commands refuse what a box would have refused, and say what is."""

import pytest_twisted

from tests.integration.key_pairs import pair
from tests.integration.model import Model


@pytest_twisted.ensureDeferred
async def test_a_redirect_to_a_name_of_the_site_itself_is_refused(model: Model) -> None:
    await model.shop()
    for host in ("shop.test", "www.shop.test", "SHOP.test:80"):
        error = await model.refused("site.set", name="shop.test", redirect_to=f"http://{host}/x")
        assert error.id == "site.redirect.loop"
    await model.ask("domain.add", name="www.shop.test", account="acme")
    await model.ask("site.set", name="shop.test", redirect_to="http://www.shop.test/")


@pytest_twisted.ensureDeferred
async def test_the_host_of_a_redirect_is_stored_as_a_labels(model: Model) -> None:
    await model.shop()
    for given, stored in (
        ("https://bücher.test:8443/a?b=%20#c", "https://xn--bcher-kva.test:8443/a?b=%20#c"),
        ("http://192.0.2.7/", "http://192.0.2.7/"),
        ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]:80/"),
    ):
        shown = await model.ask("site.set", name="shop.test", redirect_to=given)
        assert shown["settings"]["redirect_to"] == stored


@pytest_twisted.ensureDeferred
async def test_settings_that_a_box_would_refuse_are_refused(model: Model) -> None:
    await model.shop()
    for fields, error_id in (
        ({"redirect_to": "http://x.test/$1"}, "site.redirect.invalid"),
        ({"redirect_to": "http://x.test/%20"}, "site.redirect.invalid"),
        ({"redirect_to": "http://x.test/\tx"}, "site.redirect.invalid"),
        ({"redirect_to": "http://u@x.test/"}, "site.redirect.invalid"),
        ({"redirect_to": "http://x.test:0/"}, "site.redirect.invalid"),
        ({"redirect_to": "http://"}, "site.redirect.invalid"),
        ({"redirect_to": "//x.test/"}, "site.redirect.invalid"),
        ({"index": ("disabled",)}, "site.index.invalid"),
        ({"index": tuple(f"{number}.html" for number in range(21))}, "site.index.invalid"),
        ({"key": "a key alone"}, "certificate.invalid"),
        ({"key": "a key", "certificate": ""}, "certificate.invalid"),
    ):
        assert (await model.refused("site.set", name="shop.test", **fields)).id == error_id, fields


@pytest_twisted.ensureDeferred
async def test_names_of_the_web_servers_own_are_refused(model: Model) -> None:
    await model.shop()
    for name in ("heliosphere.invalid", "health.heliosphere.invalid"):
        error = await model.refused("domain.add", name=name, account="acme")
        assert error.id == "domain.reserved"


@pytest_twisted.ensureDeferred
async def test_a_mail_address_with_more_in_it_is_refused(model: Model) -> None:
    await model.cluster()
    await model.box("web2", 9, ("web",))
    for text in ("x", "a@b", 'a@b.test"', "a@b.test\nServerAlias x", "a@b.test\n"):
        error = await model.refused(
            "lserver.add",
            name="web2.example.net",
            group="web",
            type="apache",
            pserver="web2",
            settings={"server_admin": text},
        )
        assert error.id == "lserver.settings.invalid", text


@pytest_twisted.ensureDeferred
async def test_ports_for_tls_are_of_one_server_alone(model: Model) -> None:
    await model.cluster()
    for name, port in (("web2", 8443), ("web3", 80), ("web4", 8443)):
        await model.ask(
            "lserver.add",
            name=f"{name}.example.net",
            group="web",
            type="apache",
            pserver="web1",
            settings={"tls_port": port},
        )

    async def refusal(name: str, port: int, first: str = "192.0.2.3") -> str:
        fields = {"lserver": f"{name}.example.net", "first": first, "mask": "24", "type": "shared"}
        return (await model.refused("ip.add", **fields, port=port)).id

    assert await refusal("web2", 8443) == "ip.port.tls"
    assert await refusal("web3", 81) == "ip.endpoint.taken"  # its TLS port is web1's plain one
    await model.ask(
        "ip.add", lserver="web2.example.net", first="192.0.2.3", mask="24", type="shared", port=8080
    )
    assert await refusal("web4", 8081) == "ip.endpoint.taken"  # both want 8443 for TLS
    assert await refusal("web1", 8443) == "ip.endpoint.taken"  # web2 has it for TLS
    await model.ask(
        "ip.add", lserver="web4.example.net", first="192.0.2.4", mask="24", type="shared", port=8081
    )


@pytest_twisted.ensureDeferred
async def test_a_site_says_where_it_answers_tls_and_warns_where_nobody_sees_a_certificate(
    model: Model,
) -> None:
    await model.shop()
    assert (await model.ask("site.show", name="shop.test"))["tls_port"] == 0
    assert (await model.ask("site.set", name="shop.test", indexes=True))["warnings"] == []
    chain, key = pair("shop.test")
    (warning,) = (await model.ask("site.set", name="shop.test", certificate=chain, key=key))[
        "warnings"
    ]
    assert "web1.example.net has no TLS port" in warning
