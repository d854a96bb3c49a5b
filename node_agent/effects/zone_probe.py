"""Questions to a name server: does it answer for a zone, and with which serial.

A reload ends after named has answered the command for it, so a probe asks again after 1, 2, 3, 5, 8
... ms until the answer is the expected one or a deadline passes.
"""

import random
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.SOA import SOA
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IReactorUDP, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    RefusedForNowError,
)
from templates.effects import ProbeZone
from templates.service_type import Endpoint

DEADLINE = 5.0
"""Seconds until a probe gives up."""
_LONGEST_WAIT = 0.25
_SOURCE = random.SystemRandom()
_PATIENCE = 0.5
"""Seconds that a probe waits for the answer to one question."""
_MAX_ANSWER = 4096
_UNREACHABLE = 1.0
"""Seconds that a probe waits for a name server that gives no answer at all."""


class _Asker(DatagramProtocol):
    """One UDP socket for one question to one name server."""

    noisy = False  # of each start and stop a line would be made for a log that drops it
    transport: IUDPTransport | None

    def __init__(self, reactor: IReactorTime, endpoint: Endpoint) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._waiting: Deferred[bytes] | None = None
        self._number = -1
        self._question = b""

    def startProtocol(self) -> None:
        assert self.transport is not None
        self.transport.connect(self._endpoint.address, self._endpoint.port)

    def stopProtocol(self) -> None:
        """The socket is closed, by us or because nobody listens at the other end."""
        self.connectionRefused()

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """Take the reply to the present question; anything else is dropped."""
        waiting = self._waiting
        if waiting is not None and datagram[:2] == self._number.to_bytes(2, "big"):
            self._waiting = None
            waiting.callback(datagram)

    def connectionRefused(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(BoxUnavailableError(f"{self._where()} refuses questions"))

    async def serial(self, zone: dns.name.Name, timeout: float) -> int | None:
        query = dns.message.make_query(zone, dns.rdatatype.SOA, use_edns=False)
        query.flags = dns.flags.Flag(0)
        query.id = self._number = _SOURCE.randrange(1 << 16)
        packet = query.to_wire()
        waiting: Deferred[bytes] = Deferred()
        self._waiting = waiting
        again = self._reactor.callLater(timeout / 2, self._send, packet)
        late = self._reactor.callLater(timeout, self._expired)
        self._send(packet)
        try:
            reply = dns.message.from_wire(await waiting, ignore_trailing=True)
        except dns.exception.DNSException as error:
            raise BoxUnavailableError(f"{self._where()} gives no readable answer") from error
        finally:
            self._waiting = None
            for call in (again, late):
                if call.active():
                    call.cancel()
        return _authoritative_serial(query, reply)

    def _send(self, packet: bytes) -> None:
        if self.transport is not None:
            self.transport.write(packet, None)

    def _expired(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(BoxUnavailableError(f"{self._where()} does not answer"))

    def _where(self) -> str:
        return f"the name server at {self._endpoint.address} port {self._endpoint.port}"


def _authoritative_serial(query: dns.message.Message, reply: dns.message.Message) -> int | None:
    if not query.is_response(reply) or not reply.flags & dns.flags.AA:
        return None
    zone = query.question[0].name
    for rrset in reply.answer:
        if rrset.name == zone and rrset.rdtype == dns.rdatatype.SOA:
            return cast(SOA, rrset[0]).serial
    return None


class _Asking:
    """A socket for questions that is closed when the block ends."""

    def __init__(self, reactor: IReactorTime, endpoint: Endpoint) -> None:
        self._asker = _Asker(reactor, endpoint)
        self._port = cast(IReactorUDP, reactor).listenUDP(
            0, self._asker, "::" if ":" in endpoint.address else "", _MAX_ANSWER
        )

    async def __aenter__(self) -> _Asker:
        return self._asker

    async def __aexit__(self, *failure: object) -> None:
        stopped = self._port.stopListening()
        if isinstance(stopped, Deferred):
            await stopped


async def zone_serial(
    reactor: IReactorTime, endpoint: Endpoint, zone: str, *, timeout: float = 1.0
) -> int | None:
    """Give the serial that the name server answers for ``zone`` with authority, else None.

    ``timeout`` in seconds; the question is sent a second time after half of it. Raises
    `BoxUnavailableError` where no answer comes, `EffectFailedError` where ``zone`` is no name.
    """
    try:
        name = dns.name.from_text(zone)
    except dns.exception.DNSException as error:
        raise EffectFailedError(f"{zone!a} is not the name of a zone: {error}") from error
    async with _Asking(reactor, endpoint) as asker:
        return await asker.serial(name, timeout)


async def probe_zone(
    reactor: IReactorTime,
    endpoint: Endpoint,
    probe: ProbeZone,
    *,
    deadline: float = DEADLINE,
    once: bool = False,
) -> None:
    """Ask until the name server answers as ``probe`` expects, ``deadline`` seconds, or ``once``.

    Raises `RefusedForNowError` where it answers otherwise at the end, `BoxUnavailableError` where
    it does not answer. An object of which named would not load everything is refused while it is
    planned (ADR 3): one that named took, and does not serve, is not to blame.
    """
    started = reactor.seconds()
    wait, following = 0.001, 0.002
    while True:
        serial: int | None = None
        silent: BoxUnavailableError | None = None
        try:
            serial = await zone_serial(reactor, endpoint, probe.zone, timeout=_PATIENCE)
        except BoxUnavailableError as error:
            silent = error
        else:
            if _as_expected(probe, serial):
                return
        passed = reactor.seconds() - started
        if silent is not None and (once or passed >= min(_UNREACHABLE, deadline)):
            raise silent
        if once or passed >= deadline:
            raise RefusedForNowError(_difference(probe, serial))
        await _pause(reactor, wait)
        wait, following = following, min(wait + following, _LONGEST_WAIT)


def _as_expected(probe: ProbeZone, serial: int | None) -> bool:
    if probe.gone:
        return serial is None
    return serial is not None and probe.serial in (None, serial)


def _difference(probe: ProbeZone, serial: int | None) -> str:
    if probe.gone:
        return f"{probe.zone} is still answered, with serial {serial}"
    expected = "" if probe.serial is None else f" with serial {probe.serial}"
    found = "it is not served" if serial is None else f"it has serial {serial}"
    return f"{probe.zone} should be answered{expected}, but {found}"


def _pause(reactor: IReactorTime, seconds: float) -> "Deferred[None]":
    pause: Deferred[None] = Deferred(lambda _: call.cancel())
    call = reactor.callLater(seconds, pause.callback, None)
    return pause
