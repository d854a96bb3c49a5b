"""Questions about zones, to a small name server of the test's own on loopback."""

from collections.abc import AsyncIterator, Callable

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol

from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.effects.zone_probe import probe_zone, zone_serial
from templates.effects import ProbeZone
from templates.service_type import Endpoint

ZONE = "shop.test"
Answer = Callable[[dns.message.Message], dns.message.Message | bytes | None]


class Server(DatagramProtocol):
    """Answers each question by the next of its answers, and at the end by the last."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.questions = 0

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(address="127.0.0.1", port=self.transport.getHost().port)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        answer = self.answers[min(self.questions, len(self.answers) - 1)]
        self.questions += 1
        made = answer(dns.message.from_wire(datagram))
        if made is not None:
            data = made if isinstance(made, bytes) else made.to_wire()
            self.transport.write(data, addr)


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[Server]:
    protocol = Server()
    port = reactor.listenUDP(0, protocol, "127.0.0.1")
    yield protocol
    await port.stopListening()


def soa(serial: int, name: str = ZONE, *, authoritative: bool = True) -> Answer:
    def make(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        if authoritative:
            reply.flags |= dns.flags.AA
        text = f"ns. h. {serial} 1 1 1 1"
        reply.answer.append(dns.rrset.from_text(name + ".", 60, "IN", "SOA", text))
        return reply

    return make


def code(value: dns.rcode.Rcode) -> Answer:
    def make(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.set_rcode(value)
        return reply

    return make


def no_reply(query: dns.message.Message) -> dns.message.Message:
    made = soa(9)(query)
    made.flags &= ~dns.flags.QR
    return made


def silence(query: dns.message.Message) -> None:
    return None


def another_question(query: dns.message.Message) -> dns.message.Message:
    other = dns.message.make_query("other.test", "SOA", id=query.id)
    return soa(9, "other.test")(other)


@pytest_twisted.ensureDeferred
async def test_the_serial_of_an_authoritative_answer_is_given(server: Server) -> None:
    server.answers = [soa(2**32 - 1)]
    assert await zone_serial(reactor, server.endpoint, ZONE) == 2**32 - 1


@pytest.mark.parametrize(
    "answer",
    [
        code(dns.rcode.REFUSED),
        code(dns.rcode.SERVFAIL),
        code(dns.rcode.NXDOMAIN),
        code(dns.rcode.NOERROR),
        soa(1, authoritative=False),
        soa(1, "test"),
        another_question,
        no_reply,
    ],
    ids=[
        "refused",
        "servfail",
        "nxdomain",
        "empty",
        "no authority",
        "parent",
        "another question",
        "no reply",
    ],
)
@pytest_twisted.ensureDeferred
async def test_any_other_answer_is_no_serial(server: Server, answer: Answer) -> None:
    server.answers = [answer]
    assert await zone_serial(reactor, server.endpoint, ZONE) is None


@pytest_twisted.ensureDeferred
async def test_a_lost_question_is_asked_once_more(server: Server) -> None:
    server.answers = [silence, soa(3)]
    assert await zone_serial(reactor, server.endpoint, ZONE, timeout=1.0) == 3


@pytest_twisted.ensureDeferred
async def test_an_answer_with_another_number_is_not_taken(server: Server) -> None:
    def other_number(query: dns.message.Message) -> bytes:
        data = soa(9)(query).to_wire()  # type: ignore[union-attr]
        return bytes([data[0] ^ 1]) + data[1:]

    server.answers = [other_number, soa(3)]
    assert await zone_serial(reactor, server.endpoint, ZONE, timeout=1.0) == 3


@pytest_twisted.ensureDeferred
async def test_silence_is_unavailable(server: Server) -> None:
    server.answers = [silence]
    with pytest.raises(BoxUnavailableError, match="does not answer"):
        await zone_serial(reactor, server.endpoint, ZONE, timeout=0.02)


@pytest_twisted.ensureDeferred
async def test_an_unreadable_answer_is_unavailable(server: Server) -> None:
    server.answers = [lambda query: query.to_wire()[:3]]
    with pytest.raises(BoxUnavailableError, match="readable"):
        await zone_serial(reactor, server.endpoint, ZONE)


@pytest_twisted.ensureDeferred
async def test_a_probe_asks_until_the_serial_is_there(server: Server) -> None:
    server.answers = [code(dns.rcode.REFUSED), soa(1), soa(1), soa(2)]
    await probe_zone(reactor, server.endpoint, ProbeZone(ZONE, 2))
    assert server.questions == 4


@pytest_twisted.ensureDeferred
async def test_a_probe_without_a_serial_takes_any(server: Server) -> None:
    server.answers = [code(dns.rcode.SERVFAIL), soa(1)]
    await probe_zone(reactor, server.endpoint, ProbeZone(ZONE))


@pytest_twisted.ensureDeferred
async def test_a_probe_waits_until_a_removed_zone_is_gone(server: Server) -> None:
    server.answers = [soa(1), soa(1), code(dns.rcode.REFUSED)]
    await probe_zone(reactor, server.endpoint, ProbeZone(ZONE, gone=True))
    assert server.questions == 3


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (ProbeZone(ZONE, 2), "with serial 2, but it has serial 1"),
        (ProbeZone(ZONE, gone=True), "still answered, with serial 1"),
    ],
    ids=["serial", "gone"],
)
@pytest_twisted.ensureDeferred
async def test_the_wrong_answer_at_the_deadline_is_told(
    server: Server, probe: ProbeZone, words: str
) -> None:
    server.answers = [soa(1)]
    with pytest.raises(EffectFailedError, match=words):
        await probe_zone(reactor, server.endpoint, probe, deadline=0.02)


@pytest_twisted.ensureDeferred
async def test_a_zone_that_is_not_served_at_the_deadline_is_told(server: Server) -> None:
    server.answers = [code(dns.rcode.REFUSED)]
    with pytest.raises(EffectFailedError, match="it is not served"):
        await probe_zone(reactor, server.endpoint, ProbeZone(ZONE), deadline=0.02)


@pytest.mark.parametrize("name", ["shop..test", "a" * 64, ".".join(["a" * 60] * 5)])
@pytest_twisted.ensureDeferred
async def test_what_is_no_name_is_refused_and_not_asked(server: Server, name: str) -> None:
    with pytest.raises(EffectFailedError, match="not the name of a zone"):
        await zone_serial(reactor, server.endpoint, name)
    assert server.questions == 0
