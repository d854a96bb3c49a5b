"""The probe of a web server: one HEAD request over a bare connection, again until it fits."""

import hashlib
import re
from functools import cache
from typing import cast

from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IReactorTCP,
    IReactorTime,
    ISSLTransport,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    RefusedForNowError,
)
from templates.effects import ProbeHttp
from templates.service_type import Endpoint

DEADLINE = 5.0
"""Seconds until a wrong answer is believed: a reload ends some time after it was asked for."""
SILENCE = 1.0
"""Seconds until a server that takes no connection is called down."""
_PAUSES = (0.001, 0.002, 0.003, 0.005, 0.008, 0.013, 0.021, 0.034, 0.055, 0.089)
_HEAD_LIMIT = 4096
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_WORD = re.compile(r"[!-~]+", re.ASCII)


async def probe_http(
    reactor: IReactorTime,
    endpoint: Endpoint,
    probe: ProbeHttp,
    *,
    timeout: float = DEADLINE,
    once: bool = False,
) -> None:
    """Ask until the answer fits ``probe``, at most ``timeout`` seconds, or ``once``.

    Raises `EffectFailedError` where the server goes on answering otherwise, `RefusedForNowError`
    where that says that it has not taken up its configuration, `BoxUnavailableError` where it does
    not answer at all.
    """
    if not _WORD.fullmatch(probe.host) or not _WORD.fullmatch(probe.path):
        raise EffectFailedError(f"{probe.host!a} {probe.path!a} cannot be asked for")
    begin = reactor.seconds()
    attempt = 0
    timeout = min(timeout, SILENCE) if once else timeout
    while True:
        left = timeout - (reactor.seconds() - begin)
        try:
            words = await _ask(reactor, endpoint, probe, max(left, 0.05))
            if not words:
                return
            failure: Exception = EffectFailedError(words)
            if probe.taken_up:
                failure = RefusedForNowError(f"the configuration is not taken up: {words}")
            limit = timeout
        except BoxUnavailableError as error:
            failure = error
            limit = min(timeout, SILENCE)
        pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
        attempt += 1
        if once or reactor.seconds() - begin + pause >= limit:
            raise failure
        await deferLater(reactor, pause)


async def _ask(reactor: IReactorTime, endpoint: Endpoint, probe: ProbeHttp, seconds: float) -> str:
    """Ask once. The answer is what was wrong, empty where it fits."""
    port = probe.port or endpoint.port
    place = f"{endpoint.address} port {port}"
    request = _Request(probe)
    try:
        await _client(reactor, endpoint.address, port, probe, seconds).connect(
            Factory.forProtocol(lambda: request)
        )
        request.answered.addTimeout(seconds, reactor)
        status = await request.answered
    except (ConnectError, ConnectionClosed, SSL.Error, TimeoutError) as error:
        raise BoxUnavailableError(f"{place} does not answer: {error}") from error
    if probe.certificate and request.certificate != probe.certificate:
        return f"{probe.host} at {place} shows another certificate ({request.certificate})"
    if status not in probe.statuses:
        wanted = ", ".join(map(str, probe.statuses))
        return f"{probe.host}{probe.path} at {place} answers {status}, not {wanted}"
    return ""


def _client(
    reactor: IReactorTime, address: str, port: int, probe: ProbeHttp, timeout: float
) -> IStreamClientEndpoint:
    kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
    client: IStreamClientEndpoint = kind(IReactorTCP(reactor), address, port, timeout=timeout)
    return wrapClientTLS(_Unverified(probe.host), client) if probe.tls else client


class _Request(Protocol):
    """One HEAD request; the connection ends with the status line."""

    def __init__(self, probe: ProbeHttp) -> None:
        self.answered: Deferred[int] = Deferred(lambda _: self._leave())
        self.certificate = ""
        self._probe = probe
        self._head = b""

    def connectionMade(self) -> None:
        transport = self._open_transport()
        transport.write(
            f"HEAD {self._probe.path} HTTP/1.1\r\nHost: {self._probe.host}\r\n"
            "User-Agent: heliosphere\r\nConnection: close\r\n\r\n".encode("ascii")
        )

    def dataReceived(self, data: bytes) -> None:
        if self.answered.called:
            return
        self._head += data
        if b"\n" not in self._head and len(self._head) < _HEAD_LIMIT:
            return
        status = _STATUS.match(self._head)
        if self._probe.tls:
            certificate = cast(
                crypto.X509, ISSLTransport(self._open_transport()).getPeerCertificate()
            )
            der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
            self.certificate = hashlib.sha256(der).hexdigest()
        self._leave()
        self.answered.callback(int(status[1]) if status else 0)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answered.called:
            self.answered.errback(reason)

    def _open_transport(self) -> ITCPTransport:
        assert self.transport is not None
        return cast(ITCPTransport, self.transport)

    def _leave(self) -> None:
        self._open_transport().abortConnection()


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """TLS with a name asked for and nothing believed: the probe is of our own server, over loopback
    or its own address, and compares the certificate itself."""

    def __init__(self, host: str) -> None:
        self._host = host.encode("ascii")

    def clientConnectionForTLS(
        self,
        tlsProtocol: TLSMemoryBIOProtocol,
    ) -> SSL.Connection:
        connection = SSL.Connection(_context(), None)
        connection.set_tlsext_host_name(self._host)
        return connection


@cache
def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    return context
