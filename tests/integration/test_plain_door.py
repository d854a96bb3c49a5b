"""The plain port: browsers are sent to TLS, and nothing that came in clear is taken (R18)."""

import http.client
import socket
from collections.abc import AsyncIterator

import attrs
import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from controller.storage.embedded import EmbeddedPostgres
from controller.web.plain import CONNECTIONS_PER_ADDRESS, PlainDoor
from tests.controller_host import controller_host
from tests.free_ports import free_port


@attrs.frozen
class Answer:
    status: int
    location: str | None


def asked(port: int, method: str, path: str, host: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True)
        if host:
            connection.putheader("Host", host)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        return Answer(answer.status, answer.getheader("Location"))
    finally:
        connection.close()


@pytest_twisted.async_yield_fixture
async def door() -> AsyncIterator[int]:
    plain = PlainDoor(lambda: 8443, ["cp.example.net", "::1"], reactor)
    listening = reactor.listenTCP(0, plain, interface="127.0.0.1")
    yield listening.getHost().port
    await listening.stopListening()
    plain.abort_all()
    while plain.protocols:
        await deferLater(reactor, 0)


@ensureDeferred
async def test_r18_a_browser_is_sent_to_the_panel_over_tls(door: int) -> None:
    for method, path, host, location in (
        ("GET", "/", "cp.example.net:8080", "https://cp.example.net:8443/"),
        ("GET", "/boxes?cursor=x", "CP.example.net", "https://CP.example.net:8443/boxes?cursor=x"),
        ("HEAD", "/boxes", "[::1]:8080", "https://[::1]:8443/boxes"),
        ("GET", "//evil.test/x", "cp.example.net", "https://cp.example.net:8443//evil.test/x"),
    ):
        answer = await deferToThread(asked, door, method, path, host)
        assert answer == Answer(308, location)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/sign-in"),
        ("DELETE", "/boxes"),
        ("GET", "/api/v1/pservers"),
        ("POST", "/api/v1/pservers"),
    ],
)
@ensureDeferred
async def test_r18_what_came_in_clear_is_refused_and_not_passed_on(
    door: int, method: str, path: str
) -> None:
    answer = await deferToThread(asked, door, method, path, "cp.example.net")
    assert answer == Answer(403, None)


@pytest.mark.parametrize("host", ["evil.test", "cp.example.net.evil.test", "", "evil.test:8443"])
@ensureDeferred
async def test_s28_nobody_is_sent_to_another_host(door: int, host: str) -> None:
    answer = await deferToThread(asked, door, "GET", "/", host)
    assert answer.status in (400, 421)
    assert answer.location is None


@ensureDeferred
async def test_s38_one_address_has_so_many_connections(door: int) -> None:
    def fill() -> Answer | None:
        held = [
            socket.create_connection(("127.0.0.1", door)) for _ in range(CONNECTIONS_PER_ADDRESS)
        ]
        try:
            return asked(door, "GET", "/", "cp.example.net")
        except (ConnectionError, http.client.BadStatusLine):
            return None
        finally:
            for each in held:
                each.close()

    assert await deferToThread(fill) is None


def test_r18_a_controller_opens_the_port_that_is_set(postgres: EmbeddedPostgres) -> None:
    port = free_port()
    with controller_host(postgres, f'plain = "127.0.0.1:{port}"') as host:
        assert host.host("init").returncode == 0
        host.start()
        answer = asked(port, "GET", "/", "127.0.0.1")
        assert answer == Answer(308, f"https://127.0.0.1:{host.port}/")
