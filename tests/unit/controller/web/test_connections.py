"""How many connections one address may hold."""

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.task import deferLater

import controller.web.server
from tests.web_site import Site


@ensureDeferred
async def test_one_address_cannot_hold_all_connections(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller.web.server, "CONNECTIONS_PER_ADDRESS", 0)
    with pytest.raises(OSError, match=r".+"):
        await site.ask("GET", "/api/v1/things")
    monkeypatch.setattr(controller.web.server, "CONNECTIONS_PER_ADDRESS", 1)
    for _ in range(3):  # each one's end makes room for the next
        assert (await site.ask("GET", "/api/v1/things")).status == 200
        while site.tls.protocols:
            await deferLater(reactor, 0)
