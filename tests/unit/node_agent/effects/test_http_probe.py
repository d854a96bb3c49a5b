"""The probe of a web server, against one that answers as each test says."""

from collections.abc import AsyncIterator

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.effects.http_probe import probe_http
from templates.effects import ProbeHttp
from templates.service_type import Endpoint


class _Connection(Protocol):
    def __init__(self, server: "Server") -> None:
        self._server = server
        self._asked = b""

    def dataReceived(self, data: bytes) -> None:
        self._asked += data
        if not self._asked.endswith(b"\r\n\r\n"):
            return
        self._server.asked.append(self._asked)
        answers = self._server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.transport.write(answer)
        if self._server.hangs_up:
            self.transport.loseConnection()


@attrs.define
class Server:
    """Gives its answers one by one, the last one again and again."""

    answers: list[bytes] = attrs.field(factory=list)
    asked: list[bytes] = attrs.field(factory=list)
    hangs_up: bool = False
    port: int = 0

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(address="127.0.0.1", port=self.port)


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        Factory.forProtocol(lambda: _Connection(made))
    )
    made.port = listening.getHost().port
    yield made
    await listening.stopListening()


@pytest_twisted.ensureDeferred
async def test_fitting_answer_is_taken_at_once(server: Server) -> None:
    server.answers = [b"HTTP/1.1 204 No Content\r\n\r\n"]
    await probe_http(reactor, server.endpoint, ProbeHttp("shop.test", "/x", (200, 204)))
    assert len(server.asked) == 1
    assert server.asked[0].startswith(b"HEAD /x HTTP/1.1\r\nHost: shop.test\r\n")


@pytest_twisted.ensureDeferred
async def test_answer_that_comes_to_fit_is_waited_for(server: Server) -> None:
    server.answers = [b"HTTP/1.1 404 \r\n", b"HTTP/1.1 404 \r\n", b"HTTP/1.1 200 OK\r\n"]
    await probe_http(reactor, server.endpoint, ProbeHttp("shop.test"))
    assert len(server.asked) == 3


@pytest_twisted.ensureDeferred
async def test_answer_that_stays_wrong_fails_with_what_was_answered(server: Server) -> None:
    for answer, told in ((b"HTTP/1.1 503 Busy\r\n", "503"), (b"SSH-2.0-x\r\n", "answers 0")):
        server.answers = [answer]
        with pytest.raises(EffectFailedError, match=told):
            await probe_http(reactor, server.endpoint, ProbeHttp("shop.test"), timeout=1.0)


@pytest_twisted.ensureDeferred
async def test_endless_answer_is_not_read_to_its_end(server: Server) -> None:
    server.answers = [b"x" * 100_000]
    with pytest.raises(EffectFailedError, match="answers 0"):
        await probe_http(reactor, server.endpoint, ProbeHttp("shop.test"), once=True)


@pytest_twisted.ensureDeferred
async def test_silent_or_absent_server_is_unavailable(server: Server) -> None:
    probe = ProbeHttp("shop.test")
    server.answers = [b""]
    with pytest.raises(BoxUnavailableError):
        await probe_http(reactor, server.endpoint, probe, timeout=0.1)
    server.hangs_up = True
    with pytest.raises(BoxUnavailableError):
        await probe_http(reactor, server.endpoint, probe, timeout=0.1)
    with pytest.raises(BoxUnavailableError, match="port 1 "):
        await probe_http(reactor, Endpoint(address="127.0.0.1", port=1), probe, timeout=0.1)


@pytest_twisted.ensureDeferred
async def test_port_of_the_probe_goes_before_the_endpoints(server: Server) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\n"]
    elsewhere = Endpoint(address="127.0.0.1", port=1)
    await probe_http(reactor, elsewhere, ProbeHttp("shop.test", port=server.port))


@pytest_twisted.ensureDeferred
async def test_server_without_tls_is_unavailable_over_tls(server: Server) -> None:
    server.answers = [b"HTTP/1.1 400 Bad Request\r\n\r\n"]
    server.hangs_up = True
    with pytest.raises(BoxUnavailableError):
        await probe_http(reactor, server.endpoint, ProbeHttp("shop.test", tls=True), timeout=0.2)


@pytest_twisted.ensureDeferred
async def test_host_and_path_cannot_write_a_request_of_their_own(server: Server) -> None:
    for probe in (
        ProbeHttp("a\r\nX: y"),
        ProbeHttp("a b"),
        ProbeHttp("a", "/ HTTP/1.1\r\n"),
        ProbeHttp(""),
    ):
        with pytest.raises(EffectFailedError, match="cannot be asked"):
            await probe_http(reactor, server.endpoint, probe)
    assert server.asked == []
